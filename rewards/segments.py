"""Which part of a response is scored: the reasoning, the answer after it, or all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"

UNFINISHED = "the reasoning block was never closed"
NO_REASONING = "no reasoning block"

Scope = Literal["answer", "response", "reasoning"]


@dataclass(frozen=True, slots=True)
class Segments:
    """A response cut at its reasoning block.

    ``answer`` is ``None`` when a block was opened and never closed: an unfinished thought is not an answer.
    ``reasoning`` is ``None`` when the response has no block at all.
    """

    response: str
    reasoning: str | None
    answer: str | None

    @property
    def finished_reasoning(self) -> str | None:
        """The reasoning, or ``None`` where there is none or it never ended: what has no end meets no demand on it."""
        return None if self.answer is None else self.reasoning

    def scoped(self, scope: Scope) -> str | None:
        """Return the text that ``scope`` names, or ``None`` where the response has no such part."""
        return {"answer": self.answer, "response": self.response, "reasoning": self.reasoning}[scope]


def split_response(response: str, *, prefilled: bool = False) -> Segments:
    """Cut ``response`` at its last ``</think>``.

    With ``prefilled`` the chat template has already opened the block in the prompt (as DeepSeek-R1's does), so a
    response without ``</think>`` is all unfinished reasoning. A closing tag alone also ends a block, whoever opened it.
    A block that is opened again after it and not closed leaves no answer.
    """
    head, closed, tail = response.rpartition(THINK_CLOSE)
    if closed and THINK_OPEN in tail:
        return Segments(response, response.replace(THINK_OPEN, "", 1).strip(), None)
    if closed:
        return Segments(response, head.replace(THINK_OPEN, "", 1).strip(), tail.strip())
    _, opened, rest = response.partition(THINK_OPEN)
    if opened or prefilled:
        return Segments(response, (rest if opened else response).strip(), None)
    return Segments(response, None, response.strip())


def missing(scope: Scope) -> str:
    """Say why a response has no part ``scope``."""
    return UNFINISHED if scope == "answer" else NO_REASONING
