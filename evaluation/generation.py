"""What a generation back end is given, and what it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError


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
    """

    text: str
    tokens: int | None
    finished: bool
    prefilled: bool = False
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


class Generator(Protocol):
    """A model that answers prompt items."""

    name: str

    def generate(self, items: Sequence[PromptItem], sampling: Sampling) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in the order of ``items``."""
        ...


def draw_seed(seed: int, *of: str | int) -> int:
    """Return a 63-bit seed that belongs to what ``of`` names, such as an item and a sample, whatever its batch."""
    digest = hashlib.sha256("\0".join(map(str, (seed, *of))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
