"""The suite ``ifeval``: the 541 prompts of IFEval (arXiv 2311.07911), as google-research publishes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score
from adhere.evaluation.suites.base import SuiteKind, SuiteSource, suite
from adhere.evaluation.suites.following import following_score, judged_text, missing_score
from adhere.evaluation.suites.rows import instructions_of, source_rows
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Decider, Requirement, RuleCheck
from adhere.rewards.constraints import CONSTRAINTS, Mode, follow, prepare
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError

FAULTY = "the prompt and its checker disagree (repaired in IFEval++, arXiv 2512.14754)"
FAULTS = Path(__file__).with_name("ifeval_faults.txt")
"""The 74 keys whose rows IFEval++ repaired, each with eight digits of the SHA-256 of the prompt as it was."""


@suite("ifeval")
class IFEval(SuiteKind):
    """IFEval's file, or the hub's ``google/IFEval``: strict and loose, by prompt and by instruction."""

    twins = False
    headline = "prompt_strict"
    hub: ClassVar[str] = "google/IFEval"

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        for row in source_rows(source, self.hub, split="train"):
            names, arguments = instructions_of(row, "IFEval")
            for name in names:
                if name not in CONSTRAINTS:
                    raise DataError(
                        f"{row.where}: IFEval has no instruction '{name}'; for a file of IFBench use suite=ifbench"
                    )
            checks = [
                RuleCheck.of(prepare(name, kwargs, f"{row.where}: kwargs[{i}]"))
                for i, (name, kwargs) in enumerate(zip(names, arguments, strict=True))
            ]
            yield PromptItem.asking(
                row.values["prompt"],
                item_id=str(row.values["key"]),
                source="ifeval",
                checklist=(
                    Requirement(f"{i}:{check.constraint}", check.checker.describe(), check)
                    for i, check in enumerate(checks)
                ),
                meta={"key": row.values["key"]},
            )

    def flags(self, items: Sequence[PromptItem]) -> Mapping[str, tuple[str, ...]]:
        faults = dict(line.split() for line in FAULTS.read_text(encoding="utf-8").splitlines())
        marks = {item.id: hashlib.sha256(item.question.strip().encode()).hexdigest()[:8] for item in items}
        found = tuple(key for key, mark in marks.items() if faults.get(key) == mark)
        return {FAULTY: found} if found else {}

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = []
        for item, generation in pairs:
            text = None if generation.error else judged_text(generation, mode)
            if text is None:
                scores.append(missing_score(item, generation))
                continue
            found = follow(text, [rule.checker for r in item.checklist for rule in r.rules], mode)
            scores.append(following_score(item, found.strict, found.loose))
        return scores
