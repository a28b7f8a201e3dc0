"""The suite ``muldimif``: the 1,200 prompts of MulDimIF's test split (arXiv 2505.07591), decided by rules alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import UNFINISHED, Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites.base import SuiteSource, suite
from adhere.evaluation.suites.following import NO_GOLD, judged_text
from adhere.evaluation.suites.muldimif_numbers import MissingPackage
from adhere.evaluation.suites.muldimif_rules import RULES, rule_kind
from adhere.evaluation.suites.rows import FileSuite, file_of
from adhere.prompts.item import PromptItem, Row, read_rows
from adhere.rewards.checklist import Decider, Requirement, SuiteCheck
from adhere.rewards.constraints import Mode, decided
from adhere.rewards.engine import Engine, as_unmet, default_engine
from adhere.rewards.errors import DataError
from adhere.rewards.verdict import Status, Verdict, failed, unscored

WORKER = "adhere.evaluation.suites.muldimif:check_constraint"
FORM = "a row of MulDimIF is {id, conversations, constraints: [[category, kind, text]], constraint_pattern, difficulty}"


@suite("muldimif")
class MulDimIF(FileSuite):
    """MulDimIF's ``test.json``: whole prompts, constraints, and both by pattern and level."""

    twins = False
    modes = ("compat",)
    headline = "prompt_accuracy"

    def problems(self, source: SuiteSource) -> list[str]:
        return (
            [] if source.path else ["evaluation.path: name MulDimIF's test.json (Junjie-Ye/MulDimIF, Data/test.json)"]
        )

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        for row in read_rows(file_of(source.path or Path())):
            yield _item(row)

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        texts = [None if generation.error else judged_text(generation, mode) for _, generation in pairs]
        calls = [
            (check.kwargs["rule"], check.kwargs["constraint"], text)
            for (item, _), text in zip(pairs, texts, strict=True)
            for requirement in (item.checklist if text is not None else ())
            if isinstance(check := requirement.check, SuiteCheck)
        ]
        found = iter((engine or default_engine()).map(WORKER, calls))
        scores = []
        for (item, generation), text in zip(pairs, texts, strict=True):
            if text is None:
                lost = unscored(Status.ERROR, generation.error) if generation.error else failed(UNFINISHED)
                verdicts = [lost for _ in item.checklist]
            else:
                verdicts = [as_unmet(next(found)) for _ in item.checklist]
            values = tuple(verdict.score for verdict in verdicts)
            known = [value for value in values if value is not None]
            whole = float(all(known)) if len(known) == len(values) else None
            share = None if whole is None else sum(known) / len(known)
            measures = {"prompt_accuracy": (whole,), "constraint_accuracy": values}
            nothing = unscored(Status.NOT_APPLICABLE, NO_GOLD)
            scores.append(Score(nothing, tuple(verdicts), whole, share, None, measures=measures))
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        groups: dict[str, list[ScoredRow]] = {}
        for row in rows:
            for name in (row.item.meta["constraint_pattern"], row.item.meta["difficulty"]):
                groups.setdefault(f"prompt_accuracy_{name.lower().replace(' ', '_')}", []).append(row)
        return {
            name: bootstrap.estimate([row.score.hacc for row in group], [row.item.id for row in group]).to_dict()
            for name, group in sorted(groups.items())
        }


def check_constraint(rule: str, constraint: str, text: str) -> Verdict:
    """Decide one constraint in a worker process; see ``muldimif_rules``.

    Args:
        rule: a key of ``RULES``.
        constraint: its text, which holds the numbers and keywords.
        text: the response; a blank one meets nothing.
    """
    if not text.strip():
        return failed("the text is empty")
    try:
        return decided(RULES[rule](constraint, text), rule)
    except MissingPackage as error:
        return unscored(Status.NOT_APPLICABLE, str(error))


def _item(row: Row) -> PromptItem:
    values = row.values
    wanted = ("id", "conversations", "constraints", "constraint_pattern", "difficulty")
    if missing := [name for name in wanted if name not in values]:
        raise DataError(f"{row.where}: lacks {', '.join(missing)}; {FORM}; is it a file of another benchmark?")
    turns, constraints = values["conversations"], values["constraints"]
    asked = [turn for turn in turns if isinstance(turn, Mapping)] if isinstance(turns, list) else []
    if not asked or asked[0].get("role") != "user" or not isinstance(asked[0].get("content"), str):
        raise DataError(f"{row.where}: conversations does not begin with a turn of the user; {FORM}")
    checklist = []
    if not isinstance(constraints, list) or not constraints:
        raise DataError(f"{row.where}: constraints is not a list of one or more; {FORM}")
    for i, constraint in enumerate(constraints):
        place = f"{row.where}: constraints[{i}]"
        if not isinstance(constraint, list) or len(constraint) != 3 or not all(isinstance(p, str) for p in constraint):
            raise DataError(f"{place}: is {constraint!r:.80}; a constraint is [category, kind, text]")
        category, kind, text = constraint
        rule = rule_kind(category, kind)
        if rule is None:
            raise DataError(f"{place}: no rule decides {category}, {kind}; is it a row of MulDimIF?")
        checklist.append(Requirement(f"{i}:{rule}", text, SuiteCheck(rule, {"rule": rule, "constraint": text})))
    return PromptItem.asking(
        asked[0]["content"],
        item_id=str(values["id"]),
        source="muldimif",
        checklist=checklist,
        meta={"constraint_pattern": str(values["constraint_pattern"]), "difficulty": str(values["difficulty"])},
    )
