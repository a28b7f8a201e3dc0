"""The component that pays short responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from adhere.rewards.components.base import COMPONENTS, Component, Context
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Verdict


@COMPONENTS.register("length")
class LengthComponent(Component):
    """1.0 up to ``target`` tokens, falling linearly to 0.0 at ``maximum`` (DAPO's soft overlong, arXiv 2503.14476)."""

    kind: Literal["length"] = "length"
    target: int = Field(default=512, ge=0)
    """Completion length in tokens up to which nothing is lost."""

    maximum: int = Field(default=1024, ge=1)
    """Completion length in tokens from which the score is 0.0."""

    rescorable: ClassVar = frozenset({"target", "maximum"})

    @model_validator(mode="after")
    def _ordered(self) -> LengthComponent:
        if self.target >= self.maximum:
            raise ValueError(f"target {self.target} must be below maximum {self.maximum}")
        return self

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Score the number of tokens."""
        span = self.maximum - self.target
        return [
            Verdict(min(1.0, max(0.0, (self.maximum - r.tokens) / span)), detail=f"{r.tokens} tokens") for r in rollouts
        ]

    def rescored(self, scores: np.ndarray, tokens: np.ndarray, parts: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """Return the scores of recorded rollouts: of their ``tokens``; see :meth:`Component.rescored`."""
        return np.clip((self.maximum - tokens) / (self.maximum - self.target), 0.0, 1.0)
