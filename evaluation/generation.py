"""What a generation back end is given, and what it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError
from adhere.rewards.segments import THINK_OPEN

OVER_CONTEXT = "skipped, over the model's context"
"""How the error of a response begins that was not drawn because its prompt is too long."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn.

    ``temperature`` 0 is greedy; ``max_new_tokens`` counts completion tokens; ``samples`` counts responses a
    prompt. ``seed`` fixes every draw: a sample depends on the seed, the item's id and its own number, not on
    the batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 1024
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0.0:
            raise ConfigError(f"sampling.temperature: {self.temperature} is below 0; use 0 for greedy decoding")
        if not 0.0 < self.top_p <= 1.0:
            raise ConfigError(f"sampling.top_p: {self.top_p} lies outside (0, 1]; use 1 to switch it off")
        if self.max_new_tokens < 1 or self.samples < 1:
            raise ConfigError(
                f"sampling: max_new_tokens ({self.max_new_tokens}) and samples ({self.samples}) start at 1"
            )
        if self.samples > 1 and self.temperature == 0.0:
            raise ConfigError(
                f"sampling.samples: {self.samples} greedy samples are all the same; set a temperature above 0"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Generation:
    """One response of a model.

    ``tokens`` counts completion tokens including the end token (``None`` where the back end does not say),
    and ``finished`` is false when the response was cut at the length limit. ``prefilled`` says that the chat
    template opened ``<think>`` in the prompt. ``error`` is set when the response is missing: such a row is not
    scored.

    ``spent`` counts the tokens that were generated for it, where these are not ``tokens``: fewer, where the response
    was begun for the model, or more, where a remedy took several passes. A remedy also sets ``seconds``, the
    response's share of their time, and ``applied``: whether it had anything to change.
    """

    text: str
    tokens: int | None
    finished: bool
    prefilled: bool = False
    error: str | None = None
    spent: int | None = None
    seconds: float | None = None
    applied: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def over_context(tokens: int, room: int, context: int | None) -> Generation | None:
    """Return the missing response of a prompt that has no room in the model's context; ``None`` where it fits.

    Args:
        tokens: of the prompt.
        room: tokens that its response needs.
        context: of the model, in tokens; ``None`` where it has no limit.
    """
    if context is None or tokens + room <= context:
        return None
    reason = f"{OVER_CONTEXT}: {tokens} tokens of the prompt and {room} for its response exceed {context}"
    return Generation("", None, False, error=reason)


@dataclass(frozen=True, slots=True)
class Start:
    """How a response begins before the model goes on with it.

    ``text`` is the beginning; with ``reasons`` it stands in a reasoning block, which is opened before it unless the
    chat template has opened it. Beginning and addition together have at most ``within`` tokens,
    and never more than the sampling's ``max_new_tokens``; without room a response is returned as it begins, unfinished.
    """

    text: str = ""
    reasons: bool = False
    within: int | None = None

    def room(self, held: int, most: int) -> int:
        """Return how many tokens may be added to a beginning of ``held`` tokens, in a response of at most ``most``."""
        return (most if self.within is None else min(most, self.within)) - held

    def after(self, prompt: str) -> str:
        """Return the beginning as it follows ``prompt``."""
        opens = self.reasons and not prompt.rstrip().endswith(THINK_OPEN)
        return f"{THINK_OPEN}\n{self.text}" if opens else self.text


class Generator(Protocol):
    """A model that answers prompt items."""

    name: str

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in the order of ``items``.

        Where ``starts`` is given, one for each item, text and ``tokens`` of a generation are those of its beginning and
        of what the model added; ``spent`` counts what was added.
        """
        ...


def draw_seed(seed: int, *of: str | int) -> int:
    """Return a 63-bit seed that belongs to what ``of`` names, such as an item and a sample, whatever its batch."""
    digest = hashlib.sha256("\0".join(map(str, (seed, *of))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
