"""What a judge is asked, and what decides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from adhere.rewards.verdict import Status, Verdict, unscored


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """Does ``response``, an answer to ``prompt``, meet ``requirement``?"""

    prompt: str
    requirement: str
    response: str


@dataclass(frozen=True, slots=True)
class OverallQuestion:
    """How well does ``response`` meet all ``items`` together? Each is a requirement's text and its weight."""

    prompt: str
    items: tuple[tuple[str, float], ...]
    response: str


class Decider(Protocol):
    """Whatever turns questions into verdicts, in order."""

    def decide(self, questions: Sequence[JudgeQuestion]) -> list[Verdict]:
        """Return one verdict per question."""

    def decide_overall(self, questions: Sequence[OverallQuestion]) -> list[Verdict]:
        """Return one verdict per response over all its items at once (RaR's implicit aggregation)."""


class Unasked:
    """A :class:`Decider` that asks nobody: every verdict is ``not_applicable``, with the reason ``why``."""

    def __init__(self, why: str) -> None:
        self.why = why

    def decide(self, questions: Sequence[JudgeQuestion]) -> list[Verdict]:
        """Return one verdict per question, none of them asked."""
        return [unscored(Status.NOT_APPLICABLE, self.why) for _ in questions]

    def decide_overall(self, questions: Sequence[OverallQuestion]) -> list[Verdict]:
        """Return one verdict per response, none of them asked about."""
        return [unscored(Status.NOT_APPLICABLE, self.why) for _ in questions]

    def touched(self, verdict: Verdict) -> bool:
        """Whether ``verdict``, or a part of it, was left to this."""
        return verdict.detail == self.why or any(map(self.touched, verdict.parts))
