"""The suite ``reasonif``: ReasonIF (arXiv 2510.15211), 300 problems whose constraint holds inside the reasoning.

The official figure is the share of traces that follow (``trace_ifs``). Beside it stand the same constraint on the
answer (``answer_ifs``), accuracy and joint. A response without a reasoning block, or with one that never ended, does
not follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score, score_responses
from adhere.evaluation.suites.base import SuiteSource, suite
from adhere.evaluation.suites.following import judged_text
from adhere.evaluation.suites.rows import FileSuite, file_of
from adhere.prompts.item import Message, PromptItem, Row, read_rows
from adhere.rewards.checklist import Decider, Requirement, RuleCheck
from adhere.rewards.constraints import Mode, prepare
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError, nearest
from adhere.rewards.math.gold import normalise_gold

FORM = "a row of ReasonIF is {source, question, answer, constraint_name, constraint_args, prompt}"
RULES: Mapping[str, str] = {
    "language:reasoning_language": "reasoning:language",
    "length_constraint_checkers:number_words": "reasoning:number_words",
    "startend:end_checker": "reasoning:end_checker",
    "detectable_format:json_format": "reasoning:json_format",
    "change_case:english_capital": "reasoning:english_capital",
    "punctuation:no_comma": "reasoning:no_comma",
}
"""ReasonIF's names of its six constraints, and ours."""

ON_ANSWERS: Mapping[str, str] = {
    "reasoning:language": "language:response_language",
    "reasoning:number_words": "length_constraint_checkers:number_words",
    "reasoning:end_checker": "startend:end_checker",
    "reasoning:json_format": "detectable_format:json_format",
    "reasoning:english_capital": "change_case:english_capital",
    "reasoning:no_comma": "punctuation:no_comma",
}
"""The same constraints on answers."""


@suite("reasonif")
class ReasonIF(FileSuite):
    """ReasonIF's ``reasonIF_dataset.json``."""

    twins = False
    headline = "trace_ifs"

    def problems(self, source: SuiteSource) -> list[str]:
        return [] if source.path else ["evaluation.path: name ReasonIF's reasonIF_dataset.json (ykwon0407/reasonIF)"]

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        for number, row in enumerate(read_rows(file_of(source.path or Path()))):
            yield _item(row, number)

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = []
        for (item, generation), score in zip(pairs, score_responses(pairs, mode, engine, judge), strict=True):
            answer = None if generation.error else judged_text(generation, mode)
            met: list[float | None] = []
            for requirement in item.checklist:
                for rule in requirement.rules:
                    more = {"relation": "less than"} if rule.constraint == "reasoning:number_words" else {}
                    twin = prepare(ON_ANSWERS[rule.constraint], {**rule.kwargs, **more})
                    met.append(None if generation.error else twin(answer or "", mode).score)
            followed = None if None in met else float(all(value == 1.0 for value in met))
            scores.append(replace(score, measures={"trace_ifs": (score.hacc,), "answer_ifs": (followed,)}))
        return scores


def _item(row: Row, number: int) -> PromptItem:
    wanted = ("source", "question", "answer", "constraint_name", "constraint_args", "prompt")
    if missing := [name for name in wanted if name not in row.values]:
        raise DataError(f"{row.where}: lacks {', '.join(missing)}; {FORM}; is it a file of another benchmark?")
    source, question, answer, names, arguments, prompt = (row.values[name] for name in wanted)
    if not all(isinstance(text, str) and text.strip() for text in (question, prompt)):
        raise DataError(f"{row.where}: question or prompt is not a text; {FORM}")
    if not isinstance(names, list) or not names or not isinstance(arguments, list) or len(names) != len(arguments):
        raise DataError(f"{row.where}: constraint_name and constraint_args are not two lists of one length; {FORM}")
    checks = []
    for i, (name, given) in enumerate(zip(names, arguments, strict=True)):
        if name not in RULES:
            raise DataError(f"{row.where}: ReasonIF has no constraint '{name}'{nearest(str(name), RULES)}")
        if not isinstance(given, Mapping | None):
            raise DataError(f"{row.where}: constraint_args[{i}] is {given!r}; write an object or null")
        kept = {key: value for key, value in (given or {}).items() if value is not None}
        checks.append(RuleCheck.of(prepare(RULES[name], kept, f"{row.where}: constraint_args[{i}]")))
    gold = normalise_gold(str(answer))
    return PromptItem(
        id=f"reasonif/{number}",
        messages=(Message(role="user", content=prompt),),
        answer=gold or None,
        checklist=tuple(
            Requirement(f"{i}:{check.constraint}", check.checker.describe(), check) for i, check in enumerate(checks)
        ),
        source=f"reasonif/{source}",
        question=question,
    )
