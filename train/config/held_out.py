"""The keys of the evaluation while training: how often, on how many prompts, and what follows from it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from adhere.rewards.config import Strict


class HeldOutConfig(Strict):
    """The policy is measured on a slice of ``data.evaluation``: before the first step, every so many steps, at the end.

    Training is the same with it and without it, to the last bit, unless ``stop_when`` or ``hand_over`` uses it.
    """

    every: int | None = Field(default=None, ge=1)
    """Optimizer steps between two evaluations; ``None`` makes none."""

    items: int = Field(default=64, ge=2)
    """Prompts of an evaluation, the same each time: spread evenly over ``data.evaluation``, every source in turn."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    """Length limit of a response, which is greedy; ``None`` is that of the rollouts, or of the evaluation after SFT."""

    batch_size: int = Field(default=64, ge=1)
    """Prompts of one rank that are generated together."""

    stop_when: Literal["accuracy", "hacc", "joint"] | None = None
    """End training once this figure has not risen above its highest value for ``patience`` evaluations in a row."""

    patience: int = Field(default=3, ge=1)
    """Evaluations without a higher value that ``stop_when`` waits for."""

    @model_validator(mode="after")
    def _consistent(self) -> HeldOutConfig:
        if self.stop_when and not self.every:
            raise ValueError("stop_when: nothing is measured while every is null; set every to a number of steps")
        return self
