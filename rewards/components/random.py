"""The component that pays at random: a control, for what training does to a model whatever it is paid for."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from adhere.rewards.components.base import COMPONENTS, Component, Context
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Verdict


@COMPONENTS.register("random")
class RandomComponent(Component):
    """1.0 with probability ``rate``, whatever the response says (the control of "spurious rewards", arXiv 2506.10947).

    A draw depends on ``seed``, the prompt's id, the response, and on how many equal responses to the same prompt come
    before it in the batch: a run can be repeated and resumed, and equal responses still differ.
    """

    kind: Literal["random"] = "random"
    rate: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Probability of 1.0."""

    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return True

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Draw for each rollout."""
        seen: Counter[tuple[str, str]] = Counter()
        verdicts = []
        for rollout in rollouts:
            text = (rollout.id or rollout.prompt, rollout.response)
            drawn = hashlib.sha256(repr((self.seed, *text, seen[text])).encode()).digest()
            seen[text] += 1
            verdicts.append(Verdict(float(int.from_bytes(drawn[:8], "big") < self.rate * 2**64), detail="at random"))
        return verdicts
