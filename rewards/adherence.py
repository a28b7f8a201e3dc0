"""The headline figures of a response, for training and evaluation alike: correct, followed (HAcc), SAcc, joint."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from adhere.rewards.verdict import Status, Verdict


@dataclass(frozen=True, slots=True)
class Adherence:
    """What the verdicts on one response come to; each figure is ``None`` where it does not apply or was not decided.

    ``correct``: the answer is right. ``followed``: every constraint that applies is fully met, HAcc; ``sacc``: the
    share that is met, in [0, 1] (MathIF, arXiv 2505.14810).
    """

    correct: bool | None
    followed: bool | None
    sacc: float | None

    @property
    def joint(self) -> bool | None:
        """Whether the answer is right *and* every constraint is met."""
        return None if self.correct is None or self.followed is None else self.correct and self.followed


def adherence(answer: Verdict | None, checklist: Verdict | None) -> Adherence:
    """Return the figures of one response.

    Args:
        answer: the verdict on its answer; ``None`` where nothing checks it.
        checklist: the verdict on its constraints, whose ``parts`` are one verdict each; without parts it was decided as
            a whole. ``None`` where nothing checks them. One that could not be decided leaves all of them undecided.
    """
    correct = None if answer is None or answer.score is None else answer.passed
    if checklist is None or checklist.score is None:
        return Adherence(correct, None, None)
    applicable = [part for part in checklist.parts if part.status is not Status.NOT_APPLICABLE] or [checklist]
    scores = [part.score for part in applicable if part.score is not None]
    if len(scores) < len(applicable):
        return Adherence(correct, None, None)
    return Adherence(correct, all(score == 1.0 for score in scores), sum(scores) / len(scores))


def rate(flags: Iterable[bool | float | None]) -> float:
    """Return the mean over the responses that ``flags`` decide; NaN where that is none."""
    known = [flag for flag in flags if flag is not None]
    return sum(known) / len(known) if known else math.nan
