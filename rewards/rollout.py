"""What a reward sees: one response to one prompt item."""

from __future__ import annotations

from dataclasses import dataclass

from adhere.rewards.checklist.requirement import Requirement


@dataclass(frozen=True, slots=True)
class Rollout:
    """A response and everything needed to judge it.

    ``prompt`` is the question with its instructions (the last message of the prompt), which a judge reads.
    ``finished`` is false when generation was cut at the length limit; ``tokens`` counts the completion's tokens.
    ``prefilled`` says that the chat template opened ``<think>`` in the prompt.
    """

    prompt: str
    response: str
    answer: str | None
    checklist: tuple[Requirement, ...] = ()
    finished: bool = True
    tokens: int = 0
    prefilled: bool = False
