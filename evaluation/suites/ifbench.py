"""The suite ``ifbench``: IFBench's prompts (arXiv 2507.02833), with 58 kinds of instructions that training never sees.

The package ``if-verifiable`` decides them (extra ``ifbench``). It needs NLTK's ``punkt_tab``, ``stopwords`` and
``averaged_perceptron_tagger_eng``, which lie in a folder that NLTK_DATA names; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score
from adhere.evaluation.suites.base import SuiteKind, SuiteSource, suite
from adhere.evaluation.suites.following import following_score, judged_text, missing_score
from adhere.evaluation.suites.rows import instructions_of, source_rows
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Decider, Requirement, SuiteCheck
from adhere.rewards.constraints import CONSTRAINTS, Mode, loose_variants
from adhere.rewards.engine import Engine, as_unmet, default_engine
from adhere.rewards.errors import ConfigError, DataError, nearest
from adhere.rewards.verdict import Verdict

WORKER = "adhere.evaluation.suites.ifbench_worker:check_instructions"
DEADLINE_S = 20.0
"""Seconds of processor time for one check of one response."""

PACKAGES = ("if_verifiable", "nltk", "emoji", "syllapy", "immutabledict", "langdetect")
NLTK_PARTS = (
    "tokenizers/punkt_tab/english",
    "corpora/stopwords",
    "taggers/averaged_perceptron_tagger_eng",
)


@suite("ifbench")
class IFBench(SuiteKind):
    """IFBench's file, or the hub's ``allenai/IFBench_test``: strict and loose, by prompt and by instruction."""

    twins = False
    headline = "prompt_loose"
    modes = ("compat",)
    hub: ClassVar[str] = "allenai/IFBench_test"

    def problems(self, source: SuiteSource) -> list[str]:
        return list(_lacking())

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        if problems := _lacking():
            raise ConfigError("\n".join(problems))
        from adhere.evaluation.suites.ifbench_worker import INSTRUCTION_DICT

        for row in source_rows(source, self.hub, split="train"):
            names, arguments = instructions_of(row, "IFBench")
            for name in names:
                if name not in INSTRUCTION_DICT:
                    hint = "; a file of IFEval is measured by suite=ifeval" if name in CONSTRAINTS else ""
                    raise DataError(
                        f"{row.where}: IFBench has no instruction '{name}'{nearest(name, INSTRUCTION_DICT)}{hint}"
                    )
            yield PromptItem.asking(
                row.values["prompt"],
                item_id=str(row.values["key"]),
                source="ifbench",
                checklist=(
                    Requirement(f"{i}:{name}", name, SuiteCheck(name, _clean(kwargs)))
                    for i, (name, kwargs) in enumerate(zip(names, arguments, strict=True))
                ),
                meta={"key": row.values["key"]},
            )

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        engine = engine or default_engine()
        texts = [None if generation.error else judged_text(generation, mode) for _, generation in pairs]
        judged = [i for i, text in enumerate(texts) if text is not None]
        places = [(i, j) for i in judged for j in range(len(pairs[i][0].checklist))]
        found = self._check(pairs, places, [[texts[i] or ""] for i, _ in places], engine)
        strict = dict(zip(places, found, strict=True))
        # A response that follows an instruction as it stands does so in a looser reading too.
        again = [place for place in places if not strict[place].passed]
        readings = [list(loose_variants(texts[i] or "")) for i, _ in again]
        loose = strict | dict(zip(again, self._check(pairs, again, readings, engine), strict=True))
        return [
            missing_score(item, generation)
            if texts[i] is None
            else following_score(
                item,
                [strict[i, j] for j in range(len(item.checklist))],
                [loose[i, j] for j in range(len(item.checklist))],
            )
            for i, (item, generation) in enumerate(pairs)
        ]

    def _check(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        places: Sequence[tuple[int, int]],
        readings: Sequence[Sequence[str]],
        engine: Engine,
    ) -> list[Verdict]:
        calls = []
        for (i, j), texts in zip(places, readings, strict=True):
            item = pairs[i][0]
            check = item.checklist[j].check
            assert isinstance(check, SuiteCheck)
            calls.append((check.name, dict(check.kwargs), item.question, list(texts)))
        return [as_unmet(found) for found in engine.map(WORKER, calls, deadline=DEADLINE_S)]


def _clean(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments without padding, and with whole floats as integers: parquet makes both."""
    given = {key: value for key, value in (kwargs or {}).items() if value is not None}
    return {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in given.items()}


@cache
def _lacking() -> tuple[str, ...]:
    """Return what the checkers need and do not find, each with what to do."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return (
            f"evaluation.suite: ifbench needs {', '.join(missing)}, which are not installed; run "
            f"`pip install 'adhere[ifbench]'`",
        )
    import nltk

    absent = []
    for part in NLTK_PARTS:
        try:
            nltk.data.find(part)
        except LookupError:
            absent.append(part)
    if not absent:
        return ()
    return (
        f"evaluation.suite: ifbench needs NLTK's data {', '.join(absent)}, and it is in none of its folders; run "
        f"`python -m nltk.downloader punkt_tab stopwords averaged_perceptron_tagger_eng -d FOLDER` where there is a "
        f"network, and set NLTK_DATA=FOLDER",
    )
