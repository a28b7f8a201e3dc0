"""The component that checks the form of a response."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from adhere.rewards.components.base import COMPONENTS, Component, Context
from adhere.rewards.math.extract import extract_answer
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import NO_REASONING, UNFINISHED
from adhere.rewards.verdict import Verdict, failed, passed

FILLED_BOX = re.compile(r"\\boxed\s*\{\s*[^\s}]", re.IGNORECASE)


@COMPONENTS.register("format")
class FormatComponent(Component):
    """1.0 where the response ended by itself, closed its reasoning if it opened one, and committed one boxed answer."""

    kind: Literal["format"] = "format"
    require_reasoning: bool = False
    """Also require a non-empty ``<think>`` block."""

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return True

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Check each response; a box is asked for only where there is a gold answer."""
        return [self._one(rollout) for rollout in rollouts]

    def _one(self, rollout: Rollout) -> Verdict:
        segments = rollout.segments
        if segments.answer is None:
            return failed(UNFINISHED)
        if not rollout.finished:
            return failed("cut at the length limit")
        if self.require_reasoning and not segments.reasoning:
            return failed(NO_REASONING)
        boxes = len(FILLED_BOX.findall(segments.answer))
        if rollout.answer is not None and (boxes != 1 or extract_answer(segments.answer) is None):
            return failed(f"{boxes} boxed answers, not one")
        return passed("well formed")
