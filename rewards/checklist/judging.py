"""What a judge is asked, and what decides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rewards.verdict import Verdict


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """Does ``response`` meet ``requirement``? ``prompt`` is the user's question with its instructions."""

    prompt: str
    requirement: str
    response: str


@dataclass(frozen=True, slots=True)
class OverallQuestion:
    """How well does ``response`` meet all ``items`` together? An item is (text, weight in [0, 100]).

    The implicit aggregation of Rubrics as Rewards (arXiv 2507.17746): the judge weighs the items itself.
    """

    prompt: str
    items: tuple[tuple[str, float], ...]
    response: str


class Decider(Protocol):
    """Whatever answers questions about responses, one verdict per question, in order.

    A question that could not be answered gets a verdict without a score (``error``, ``timeout`` or ``unparsed``).
    """

    def decide(self, questions: Sequence[JudgeQuestion]) -> list[Verdict]:
        """Decide single requirements."""
        ...

    def decide_overall(self, questions: Sequence[OverallQuestion]) -> list[Verdict]:
        """Rate responses against all their items at once."""
        ...
