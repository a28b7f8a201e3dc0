"""The component that compares the committed answer with the gold answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from adhere.rewards.components.base import COMPONENTS, Component, Context
from adhere.rewards.math import verify_batch
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import UNFINISHED
from adhere.rewards.verdict import Verdict, failed


@COMPONENTS.register("math")
class MathComponent(Component):
    """1.0 where the committed answer equals the gold answer."""

    kind: Literal["math"] = "math"
    timeout: float = Field(default=10.0, gt=0.0)
    """Seconds of processor time that one comparison may take. An answer that takes longer is wrong; a gold answer that
    does so by itself is ``unparsed``."""

    decides: ClassVar = "correctness"

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return True

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Verify the answers; a reasoning block that was never closed is wrong where a gold answer can be verified."""
        answers = [rollout.segments.answer for rollout in rollouts]
        pairs = [(rollout.answer, answer or "") for rollout, answer in zip(rollouts, answers, strict=True)]
        verdicts = verify_batch(pairs, context.engine, timeout=self.timeout)
        return [
            failed(UNFINISHED) if answer is None and verdict.score is not None else verdict
            for answer, verdict in zip(answers, verdicts, strict=True)
        ]
