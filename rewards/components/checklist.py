"""The component that scores a response against its prompt's checklist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from adhere.rewards.checklist import score_batch, shared_sandbox
from adhere.rewards.checklist.sandbox import SandboxLimits
from adhere.rewards.checklist.scoring import ChecklistScoring
from adhere.rewards.components.base import COMPONENTS, Component, Context
from adhere.rewards.constraints import Mode
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import Scope, missing
from adhere.rewards.strict import Strict
from adhere.rewards.verdict import Status, Verdict, failed, unscored


class ProgramConfig(Strict):
    """What a generated ``verify_requirement`` program may use for one text, in its sandbox."""

    timeout: float = Field(default=2.0, gt=0.0)
    """Seconds of wall time before it is killed and the verdict is ``timeout``."""

    memory_mb: int = Field(default=256, ge=64)
    """MiB of address space, the interpreter's included."""

    allow_unisolated: bool = False
    """Run programs even where this machine can keep them neither from the network nor from files: only for programs
    that you have read. Without it every such verdict is ``error``."""

    @property
    def limits(self) -> SandboxLimits:
        """The limits as the sandbox takes them."""
        return SandboxLimits(self.timeout, self.memory_mb, self.allow_unisolated)


@COMPONENTS.register("checklist")
class ChecklistComponent(Component):
    """The share of the prompt's requirements that the response meets."""

    kind: Literal["checklist"] = "checklist"
    scoring: ChecklistScoring = "weighted_mean"
    """``weighted_mean`` (RLCF; Rubrics as Rewards calls it explicit), ``mean``, ``all`` (every requirement or nothing),
    or ``implicit`` (one question to the judge about all requirements together)."""

    grading: Literal["binary", "graded"] = "binary"
    """``graded`` gives a requirement that a rule refuses exp(-``steepness`` · deviation / scale) of its credit, where
    the rule says how far off the text is, as counts, lengths and positions do (arXiv 2609.32189). An ``and`` is as far
    off as its worst part, where every part that is not met says so, and a ``select`` as its branch; a ``chain`` counts
    its steps instead. The rates of a run, HAcc, SAcc and joint, stay binary. Needs ``scoring`` ``weighted_mean`` or
    ``mean``."""

    steepness: float = Field(default=5.0, ge=0.1, le=1000.0)
    """How fast graded credit falls: a text that is off by the whole number asked for keeps exp(-``steepness``)."""

    programs: ProgramConfig = ProgramConfig()
    """Limits of the sandbox, for requirements that a program decides."""

    mode: Mode = "hardened"
    """``hardened`` closes the official checkers' holes; ``compat`` agrees with them."""

    scope: Scope = "answer"
    """Which part is checked: the answer after the reasoning, the whole response, or the reasoning. Constraints
    ``reasoning:...`` are decided on the reasoning whatever stands here."""

    judge: JudgeConfig | None = None
    """The model that decides the requirements which no rule decides; needed where the data has such requirements."""

    decides: ClassVar = "requirements"
    rescorable: ClassVar = frozenset({"scoring"})

    @model_validator(mode="after")
    def _grades_means(self) -> ChecklistComponent:
        if self.grading == "graded" and self.scoring not in ("weighted_mean", "mean"):
            raise ValueError(f"grading: graded needs scoring weighted_mean or mean, got '{self.scoring}'")
        return self

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1."""
        return self.scoring == "all"

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Score the part that ``scope`` names; a response that lacks this part meets no requirement."""
        texts = [rollout.segments.scoped(self.scope) for rollout in rollouts]
        there = [i for i, text in enumerate(texts) if text is not None]
        found = score_batch(
            [texts[i] or "" for i in there],
            [rollouts[i].checklist for i in there],
            [rollouts[i].prompt for i in there],
            self.scoring,
            self.mode,
            context.judge,
            shared_sandbox(self.programs.limits),
            reasonings=[rollouts[i].segments.finished_reasoning for i in there],
            engine=context.engine,
            steepness=self.steepness if self.grading == "graded" else None,
        )
        scored = dict(zip(there, found, strict=True))
        for i in set(range(len(rollouts))) - scored.keys():
            parts = tuple(failed(missing(self.scope)) for _ in rollouts[i].checklist)
            nothing = unscored(Status.NOT_APPLICABLE, "no requirement")
            scored[i] = Verdict(0.0, detail=missing(self.scope), parts=parts) if parts else nothing
        return [scored[i] for i in range(len(rollouts))]

    def rescored(self, scores: np.ndarray, tokens: np.ndarray, parts: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """Return ``mean`` or ``all`` of the requirements with a score; see :meth:`Component.rescored`.

        A rollout keeps its recorded score where it has none: it was not decided, or failed as a whole.
        """
        strict, known = self.scoring == "all", ~np.isnan(parts)
        counts = np.bincount(owners[known], minlength=scores.size)
        met = parts[known] == 1.0 if strict else parts[known]
        means = np.bincount(owners[known], weights=met, minlength=scores.size) / np.maximum(1, counts)
        joined = ((means == 1.0).astype(float) if strict else means).reshape(scores.shape)
        return np.where(np.isnan(scores) | (counts == 0).reshape(scores.shape), scores, joined)
