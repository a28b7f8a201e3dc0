"""The suite ``complexbench``: ComplexBench (arXiv 2407.03978), scoring questions that hang on one another.

DRFR is the share of scoring questions that are met, over all questions of all prompts. A question counts as met only
if those in its ``dep`` are met: by their own verdict (``drfr``, the official code's one hop), or by theirs and what
they hang on in turn (``drfr_transitive``). ``coherent`` is the share of groups, prompts that differ only in which
branch is right, whose every question is met. All questions go to the judge: the official rules work on parts that a
model has cut out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites.base import SuiteSource, suite
from adhere.evaluation.suites.following import NO_GOLD
from adhere.evaluation.suites.judged import is_met, judged_verdicts
from adhere.evaluation.suites.rows import FileSuite, file_of
from adhere.prompts.item import Message, PromptItem, Row, read_rows
from adhere.rewards.checklist import Decider, JudgeCheck, Requirement
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError
from adhere.rewards.verdict import Status, unscored

FORM = "a row of ComplexBench is {main_id, instruction or instruction_en, category, scoring_questions}"
QUESTION = "a scoring question is {point_id, question or question_en, dep}"
LANGUAGES = ("en", "zh")
Met = float | None


@suite("complexbench")
class ComplexBench(FileSuite):
    """ComplexBench's ``data_final.json``, in English where it has that; ``subsets: [zh]`` takes the Chinese."""

    twins = False
    modes = ("compat",)
    headline = "drfr"

    def problems(self, source: SuiteSource) -> list[str]:
        found = [] if source.path else ["evaluation.path: name ComplexBench's data_final.json (thu-coai/ComplexBench)"]
        if source.subsets is not None and (len(source.subsets) != 1 or source.subsets[0] not in LANGUAGES):
            found.append(f"evaluation.subsets: name one language of complexbench, {' or '.join(LANGUAGES)}")
        return found

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        chinese = source.subsets is not None and "zh" in source.subsets
        for row in read_rows(file_of(source.path or Path())):
            yield _item(row, "" if chinese else "_en")

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = []
        for (item, _), verdicts in zip(pairs, judged_verdicts(pairs, mode, engine, judge), strict=True):
            own = [is_met(verdict) for verdict in verdicts]
            near = one_hop(own, item.meta["dep"])
            far = transitive(own, item.meta["dep"])
            known = [met for met in near if met is not None]
            whole = len(known) == len(near)
            hacc = float(all(known)) if whole else 0.0 if 0.0 in known else None
            scores.append(
                Score(
                    unscored(Status.NOT_APPLICABLE, NO_GOLD),
                    verdicts,
                    hacc,
                    sum(known) / len(known) if whole else None,
                    None,
                    measures={"drfr": tuple(near), "drfr_transitive": tuple(far)},
                )
            )
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        # A group is answered once a sample, and met where all of its prompts are.
        groups: dict[tuple[str, int], list[Met]] = {}
        kinds: dict[str, tuple[list[Met], list[str]]] = {}
        for row in rows:
            if row.item.meta["group"] is not None:
                groups.setdefault((row.item.meta["group"], row.sample), []).append(row.score.hacc)
            values, owners = kinds.setdefault(row.item.meta["kind"], ([], []))
            values.extend(row.score.measures["drfr"])
            owners.extend(row.item.id for _ in row.score.measures["drfr"])
        met = [0.0 if 0.0 in found else None if None in found else 1.0 for found in groups.values()]
        coherent = bootstrap.estimate(met, [group for group, _ in groups]).to_dict()
        by_kind = {
            f"drfr_{kind}": bootstrap.estimate(values, owners).to_dict()
            for kind, (values, owners) in sorted(kinds.items())
        }
        return ({"coherent": coherent} if groups else {}) | by_kind


def one_hop(own: Sequence[Met], dep: Sequence[Sequence[int]]) -> list[Met]:
    """Return which questions count as met where each needs the verdicts on those that it names.

    Args:
        own: (Q,) the verdict on each question alone, 0, 1 or ``None`` where there is none.
        dep: (Q,) the places of the questions that each hangs on.
    """
    return [_all([own[i], *(own[d] for d in after)]) for i, after in enumerate(dep)]


def transitive(own: Sequence[Met], dep: Sequence[Sequence[int]]) -> list[Met]:
    """Return the same where each needs those that it names, and what these need in turn; ``dep`` has no circle."""
    found: list[Met] = []
    for i in range(len(own)):
        seen, open_ = {i}, [i]
        while open_:
            new = [d for d in dep[open_.pop()] if d not in seen]
            seen.update(new)
            open_ += new
        found.append(_all([own[j] for j in seen]))
    return found


def _all(values: Sequence[Met]) -> Met:
    return 0.0 if 0.0 in values else None if None in values else 1.0


def _item(row: Row, language: str) -> PromptItem:
    wanted = ("main_id", "category", "scoring_questions")
    missing = [name for name in wanted if name not in row.values]
    instruction = row.values.get(f"instruction{language}") or row.values.get("instruction")
    if missing or not isinstance(instruction, str) or not instruction.strip():
        lacks = ", ".join([*missing, *([] if instruction else ["instruction"])])
        raise DataError(f"{row.where}: lacks {lacks}; {FORM}; is it a file of another benchmark?")
    questions = row.values["scoring_questions"]
    if not isinstance(questions, list) or not questions or not all(isinstance(q, Mapping) for q in questions):
        raise DataError(f"{row.where}: scoring_questions is not a list of one or more objects; {QUESTION}")
    texts, deps = [], []
    for i, question in enumerate(questions):
        text = question.get(f"question{language}") or question.get("question")
        dep = question.get("dep")
        if not isinstance(text, str) or not text.strip() or not isinstance(dep, list):
            raise DataError(f"{row.where}: scoring_questions[{i}] has no question, or dep is not a list; {QUESTION}")
        if wrong := [d for d in dep if not isinstance(d, int) or not 0 <= d < len(questions) or d == i]:
            raise DataError(f"{row.where}: scoring_questions[{i}].dep names {wrong[0]!r}, which is no other question")
        texts.append(text)
        deps.append(list(dep))
    done: set[int] = set()
    while len(done) < len(deps):
        free = {i for i, after in enumerate(deps) if i not in done and done.issuperset(after)}
        if not free:
            raise DataError(f"{row.where}: the dep of its scoring questions go round in a circle")
        done |= free
    group = row.values.get("group")
    return PromptItem(
        id=f"complexbench/{row.values['main_id']}",
        messages=(Message(role="user", content=instruction),),
        answer=None,
        checklist=tuple(Requirement(str(i), text, JudgeCheck()) for i, text in enumerate(texts)),
        source=f"complexbench/{row.values['category']}",
        question=instruction,
        meta={
            "dep": deps,
            "group": None if group is None or "Selection" not in str(row.values["category"]) else str(group),
            "kind": str(row.values["category"]).split("_")[0].lower(),
        },
    )
