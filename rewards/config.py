"""The configuration of a composite reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from adhere.rewards.aggregation import AGGREGATIONS, Aggregation
from adhere.rewards.arithmetic import try_aggregation
from adhere.rewards.checklist.sandbox import SandboxLimits
from adhere.rewards.checklist.scoring import ChecklistScoring
from adhere.rewards.constraints import Mode
from adhere.rewards.errors import nearest
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.schedules import Weight, WeightSchedule, peak_weight, weight_at
from adhere.rewards.segments import Scope
from adhere.rewards.strict import Strict

Scaling = Literal["group", "batch", "none"]

COMBINED = "composite"
"""Name of the extra column that carries the reward where the aggregation is not a sum."""


class _Component(Strict):
    weight: Weight = 1.0
    """How much the component counts, at least 0, used as written: a number, or a schedule over training. 0 makes it a
    metric: scored and logged, never trained on."""

    gate: str | None = None
    """Name of another component. This one counts only where that one passed, and where that one does not apply."""


class MathComponent(_Component):
    """1.0 where the committed answer equals the gold answer."""

    kind: Literal["math"] = "math"
    timeout: float = Field(default=5.0, gt=0.0)
    """Seconds one comparison may take before its worker is killed and the verdict is ``timeout``."""


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


class ChecklistComponent(_Component):
    """The share of the prompt's requirements that the response meets."""

    kind: Literal["checklist"] = "checklist"
    scoring: ChecklistScoring = "weighted_mean"
    """``weighted_mean`` (RLCF; Rubrics as Rewards calls it explicit), ``mean``, ``all`` (every requirement or nothing),
    or ``implicit`` (one question to the judge about all requirements together)."""

    programs: ProgramConfig = ProgramConfig()
    """Limits of the sandbox, for requirements that a program decides."""

    mode: Mode = "hardened"
    """``hardened`` closes the official checkers' holes; ``compat`` agrees with them."""

    scope: Scope = "answer"
    """Which part is checked: the answer after the reasoning, the whole response, or the reasoning. Constraints
    ``reasoning:...`` are decided on the reasoning whatever stands here."""

    judge: JudgeConfig | None = None
    """The model that decides the requirements which no rule decides; needed where the data has such requirements."""


class JudgeComponent(_Component):
    """One rating of the whole response by a judge, without a checklist (RLAIF, arXiv 2309.00267)."""

    kind: Literal["judge"] = "judge"
    judge: JudgeConfig
    """The model that rates, always on its scale of 0–100 (``samples`` counts, ``scoring`` does not)."""

    scope: Scope = "answer"
    """Which part is rated: the answer after the reasoning, the whole response, or the reasoning."""


class FormatComponent(_Component):
    """1.0 where the response ended by itself, closed its reasoning if it opened one, and committed one boxed answer."""

    kind: Literal["format"] = "format"
    require_reasoning: bool = False
    """Also require a non-empty ``<think>`` block."""


class LengthComponent(_Component):
    """1.0 up to ``target`` tokens, falling linearly to 0.0 at ``maximum`` (DAPO's soft overlong, arXiv 2503.14476)."""

    kind: Literal["length"] = "length"
    target: int = Field(default=512, ge=0)
    """Completion length in tokens up to which nothing is lost."""

    maximum: int = Field(default=1024, ge=1)
    """Completion length in tokens from which the score is 0.0."""

    @model_validator(mode="after")
    def _ordered(self) -> LengthComponent:
        if self.target >= self.maximum:
            raise ValueError(f"target {self.target} must be below maximum {self.maximum}")
        return self


ComponentConfig = Annotated[
    MathComponent | ChecklistComponent | FormatComponent | LengthComponent | JudgeComponent,
    Field(discriminator="kind"),
]


def _default_components() -> dict[str, Any]:
    return {"math": MathComponent(), "checklist": ChecklistComponent(gate="math")}


class RewardConfig(Strict):
    """Named components and how they become one advantage."""

    components: dict[str, ComponentConfig] = Field(default_factory=_default_components, min_length=1)
    """Component configurations by name; the name is the one in logs, files and tables."""

    aggregation: str = "weighted_sum"
    """The name of a registered aggregation, a plug-in's among them. ``weighted_sum``: Σ w·r, then scaled.
    ``normalize_then_sum``: each component standardised in its group, then Σ w·z (GDPO). ``saturation_aware``:
    Σ w·(1 − s)^γ·z, s the component's mean in the group (SA-MRPO). ``gated``: a weighted sum whose every other
    component counts only where the primary passed. ``product``: Π r^w. ``all``: 1.0 only where every weighted component
    passed. ``lexicographic``: ranked by the primary, ties by the next component."""

    primary: str | None = None
    """The component that ``gated`` gates on and ``lexicographic`` ranks by first, and that ``plan`` takes ratios to;
    ``None`` is the first one."""

    scale: Scaling = "group"
    """What the advantage is divided by: the group's standard deviation, the batch's, or nothing (Dr. GRPO)."""

    std_floor: float = Field(default=0.05, ge=0.0)
    """Smallest deviation that ``normalize_then_sum`` and ``saturation_aware`` divide by, so that near-constant
    components stay small."""

    saturation_gamma: float = Field(default=0.5, ge=0.0)
    """``saturation_aware``: the exponent γ of 1 − s. 0 is ``normalize_then_sum``, more turns away sooner from what the
    group does already."""

    max_error_share: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of rollouts whose reward timed out or failed, over one step, above which training stops."""

    @field_validator("aggregation")
    @classmethod
    def _known(cls, name: str) -> str:
        AGGREGATIONS[name]
        return name

    @property
    def aggregator(self) -> Aggregation:
        """The aggregation itself."""
        return AGGREGATIONS[self.aggregation]()

    @property
    def primary_name(self) -> str:
        """Name of the primary component: ``primary``, or the first one."""
        return self.primary if self.primary is not None else next(iter(self.components))

    @property
    def scheduled(self) -> bool:
        """Whether a weight is written as a schedule."""
        return any(isinstance(component.weight, WeightSchedule) for component in self.components.values())

    def weights(self, step: int | None = None, total: int | None = None) -> dict[str, float]:
        """Return every component's weight at optimizer ``step`` (from 0) of ``total``, in order.

        Raises:
            ValueError: a weight is a schedule, and ``step`` or ``total`` is missing.
        """
        if self.scheduled and (step is None or total is None):
            raise ValueError("a scheduled weight has no value without the step and the number of steps")
        return {name: weight_at(c.weight, step or 0, total or 1) for name, c in self.components.items()}

    def with_weights(self, weights: Mapping[str, float]) -> RewardConfig:
        """Return the same with these weights, by component, in place of schedules."""
        fixed = {name: c.model_copy(update={"weight": weights[name]}) for name, c in self.components.items()}
        return self.model_copy(update={"components": fixed})

    def gate_of(self, name: str) -> str | None:
        """Return the component that gates ``name``: its own gate or the primary, where the aggregation gates on it."""
        if self.aggregator.gates_on_primary and name != self.primary_name:
            return self.primary_name
        return self.components[name].gate

    @model_validator(mode="after")
    def _consistent(self) -> RewardConfig:
        if self.primary is not None and self.primary not in self.components:
            raise ValueError(f"primary: no component is named '{self.primary}'{nearest(self.primary, self.components)}")
        self._check_gates()
        if COMBINED in self.components:
            raise ValueError(f"components.{COMBINED}: the name is that of the combined reward; choose another one")
        if not any(peak_weight(component.weight) > 0.0 for component in self.components.values()):
            raise ValueError("components: every weight is 0, so there is nothing to train on")
        if self.aggregator.groupwise and self.scale != "group":
            raise ValueError(f"scale: {self.aggregation} scales by group and batch itself; leave scale at 'group'")
        try_aggregation(self, {name: peak_weight(component.weight) for name, component in self.components.items()})
        return self

    def _check_gates(self) -> None:
        for name, component in self.components.items():
            gate = component.gate
            if gate is None:
                continue
            if gate == name:
                raise ValueError(f"components.{name}.gate: a component cannot gate itself")
            if gate not in self.components:
                raise ValueError(
                    f"components.{name}.gate: no component is named '{gate}'{nearest(gate, self.components)}"
                )
            if self.components[gate].gate is not None:
                raise ValueError(f"components.{name}.gate: '{gate}' is gated itself; gates do not chain")
            if self.aggregator.gates_on_primary and (name == self.primary_name or gate != self.primary_name):
                raise ValueError(
                    f"components.{name}.gate: aggregation '{self.aggregation}' gates every component on "
                    f"'{self.primary_name}' itself; set this gate to null, or use weighted_sum with gates of your own"
                )
