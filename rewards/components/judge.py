"""The component whose score is a judge's rating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from adhere.rewards.checklist.judge_protocol import OverallQuestion
from adhere.rewards.components.base import COMPONENTS, Component, Context
from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import Scope, missing
from adhere.rewards.verdict import Verdict, failed


@COMPONENTS.register("judge")
class JudgeComponent(Component):
    """One rating of the whole response by a judge, without a checklist (RLAIF, arXiv 2309.00267)."""

    kind: Literal["judge"] = "judge"
    judge: JudgeConfig
    """The model that rates, always on its scale of 0–100 (``samples`` counts, ``scoring`` does not)."""

    scope: Scope = "answer"
    """Which part is rated: the answer after the reasoning, the whole response, or the reasoning."""

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Ask for one rating a response; a response that lacks the part to rate scores 0.0.

        Raises:
            ConfigError: the context has no judge.
        """
        if context.judge is None:
            raise ConfigError(f"{context.key}: needs its judge; score it by Composite, or pass load_judge(judge)")
        texts = [rollout.segments.scoped(self.scope) for rollout in rollouts]
        asked = [OverallQuestion(r.prompt, (), text or "") for r, text in zip(rollouts, texts, strict=True)]
        rated = context.judge.decide_overall(asked)
        return [failed(missing(self.scope)) if text is None else v for text, v in zip(texts, rated, strict=True)]
