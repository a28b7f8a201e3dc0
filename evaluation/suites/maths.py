"""What the suites of maths problems share: a problem and its gold answer a row, judged by the maths verifier."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score, score_responses
from adhere.evaluation.suites.base import SuiteKind, SuiteSource
from adhere.evaluation.suites.rows import source_rows
from adhere.prompts.item import Message, PromptItem, Row
from adhere.prompts.sources import PromptStyle
from adhere.rewards.checklist import Decider
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError
from adhere.rewards.math.gold import normalise_gold

CONTESTS = Path(__file__).with_name("contests.txt")
"""Fingerprints of the problems of contests that look alike, so that a year is not taken for another."""

QUESTIONS = ("problem", "question")
ANSWERS = ("answer", "expected_answer", "final_answer")
ALTERNATIVES = "gold_answers"


class MathsSuite(SuiteKind):
    """A benchmark of problems with gold answers; several golds of a row are alternatives."""

    twins = False
    modes = ("hardened", "compat")
    split: ClassVar[str] = "test"
    config: ClassVar[str | None] = None

    size: ClassVar[int]
    """Problems that the benchmark has: a file with more is another one, such as the training split."""

    def answer_problem(self, answer: str) -> str | None:
        """Return why ``answer`` cannot be a gold answer of this benchmark, or ``None``."""
        return None

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        rows = list(source_rows(source, self.hub or "", split=self.split, name=self.config))
        if len(rows) > self.size:
            raise DataError(
                f"{rows[0].where}: {self.name} has {self.size} problems, and there are {len(rows)} rows; is it another "
                f"split or benchmark?"
            )
        shots = self.shots(source) if source.few_shot else ()
        ids: set[str] = set()
        for number, row in enumerate(rows):
            question, golds = self._read(row)
            given = next(
                (row.values[key] for key in ("unique_id", "id", "ID") if row.values.get(key) is not None), None
            )
            item_id = str(number if given is None or str(given) in ids else given)
            ids.add(item_id)
            yield PromptItem(
                id=f"{self.name}/{item_id}",
                messages=(*shots, *PromptStyle().messages(question)),
                answer=golds[0],
                source=self.name,
                question=question,
                meta={} if len(golds) == 1 else {ALTERNATIVES: golds},
            )

    def shots(self, source: SuiteSource) -> tuple[Message, ...]:
        """Return the turns of ``source.few_shot`` examples; a suite with ``examples`` says where they are."""
        raise NotImplementedError

    def _read(self, row: Row) -> tuple[str, list[str]]:
        form = f"a row of {self.name} is {{problem, answer}}"
        question = next((row.values[key] for key in QUESTIONS if isinstance(row.values.get(key), str)), None)
        answer = next((row.values[key] for key in ANSWERS if row.values.get(key) is not None), None)
        if question is None or not question.strip():
            raise DataError(f"{row.where}: has no problem; {form}; is it a file of another benchmark?")
        if answer is None:
            raise DataError(f"{row.where}: has no answer; {form}; is it a file of another benchmark?")
        given = answer if isinstance(answer, list | tuple) else [answer]
        golds = []
        for gold in given:
            if isinstance(gold, bool) or not isinstance(gold, str | int | float):
                raise DataError(f"{row.where}: answer is {gold!r}; write the gold answer as text or a number")
            whole = isinstance(gold, float) and math.isfinite(gold) and gold.is_integer()
            golds.append(normalise_gold(str(int(gold) if whole else gold)))
        if not golds or not all(golds):
            raise DataError(f"{row.where}: the gold answer is empty; {form}")
        for gold in golds:
            if problem := self.answer_problem(gold):
                raise DataError(f"{row.where}: the answer {gold!r} {problem}; is it a file of another benchmark?")
        if other := other_benchmark(self.name, question):
            raise DataError(f"{row.where}: is a problem of {other}; is it the file of {other}? then use suite={other}")
        return question.strip(), list(dict.fromkeys(golds))

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = score_responses(pairs, mode, engine, judge)
        # A response is right if it agrees with any of the golds of its row.
        further = [
            (i, replace(item, answer=gold))
            for i, (item, _) in enumerate(pairs)
            for gold in item.meta.get(ALTERNATIVES, [])[1:]
            if not scores[i].correct.passed
        ]
        again = score_responses([(item, pairs[i][1]) for i, item in further], mode, engine, judge)
        for (i, _), score in zip(further, again, strict=True):
            if score.correct.passed and not scores[i].correct.passed:
                scores[i] = score
        return scores


def integer_answer(answer: str, most: int) -> str | None:
    """Return why ``answer`` is not a whole number from 0 to ``most``, or ``None`` where it is one."""
    digits = answer.replace("^\\circ", "").strip()
    return None if digits.isdecimal() and int(digits) <= most else f"is not a whole number from 0 to {most}"


def other_benchmark(name: str, question: str) -> str | None:
    """Return the contest of another year that ``question`` is a problem of, or ``None``."""
    mark = suite_fingerprint(question)
    return next((other for other, marks in _contests().items() if other != name and mark in marks), None)


@cache
def _contests() -> dict[str, frozenset[str]]:
    lines = CONTESTS.read_text(encoding="utf-8").splitlines()
    return {name: frozenset(marks) for name, *marks in map(str.split, lines)}


def suite_fingerprint(question: str) -> str:
    """Return eight hex digits of a problem's letters and digits: equal however its LaTeX is spaced."""
    plain = "".join(char for char in question.casefold() if char.isalnum())
    return hashlib.sha256(plain[:120].encode()).hexdigest()[:8]
