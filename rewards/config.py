"""The configuration of a composite reward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from adhere.rewards.aggregation import AGGREGATIONS, Aggregation
from adhere.rewards.arithmetic import try_aggregation
from adhere.rewards.components import COMPONENTS, ChecklistComponent, Component, MathComponent
from adhere.rewards.errors import nearest
from adhere.rewards.schedules import WeightSchedule, peak_weight, weight_at
from adhere.rewards.strict import Strict

Scaling = Literal["group", "batch", "none"]

COMBINED = "composite"
"""Name of the extra column that carries the reward where the aggregation is not a sum."""


def _component(value: Any) -> Any:
    """Check a component's keys against the class of its kind."""
    if isinstance(value, Component):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a component; set one of its keys, such as weight, or write {{kind: ...}}")
    if "kind" not in value:
        raise PydanticCustomError("component_without_kind", "there is no such component")
    kind = str(value["kind"])
    if kind not in COMPONENTS:
        raise ValueError(
            f"kind: '{kind}' is not a kind of component{nearest(kind, COMPONENTS)}; there are {', '.join(COMPONENTS)}. "
            f"One of your own needs its module under plugins:"
        )
    return COMPONENTS[kind].model_validate(value)


AnyComponent = Annotated[SerializeAsAny[Component], PlainValidator(_component)]
"""A component of any kind that is registered, named by its key ``kind``."""


def _default_components() -> dict[str, Any]:
    return {"math": MathComponent(), "checklist": ChecklistComponent(gate="math")}


class RewardConfig(Strict):
    """Named components and how they become one advantage."""

    components: dict[str, AnyComponent] = Field(default_factory=_default_components, min_length=1)
    """Component configurations by name; the name is the one in logs, files and tables."""

    aggregation: str = "weighted_sum"
    """The name of a registered aggregation, a plug-in's among them. ``weighted_sum``: Σ w·r, then scaled.
    ``normalize_then_sum``: each component standardised in its group, then Σ w·z (GDPO). ``saturation_aware``:
    Σ w·(1 − s)^γ·z, s the component's mean in the group. ``saturation_batch``: the same, s its mean over the generation
    batch of all ranks (SA-MRPO). ``gated``: a weighted sum whose every other component counts only where the primary
    passed. ``product``: Π r^w. ``all``: 1.0 only where every weighted component passed. ``lexicographic``: ranked by
    the primary, ties by the next component."""

    primary: str | None = None
    """The component that ``gated`` gates on and ``lexicographic`` ranks by first, and that ``plan`` takes ratios to;
    ``None`` is the first one."""

    scale: Scaling = "group"
    """What the advantage is divided by: the group's standard deviation, the batch's, or nothing (Dr. GRPO)."""

    std_floor: float = Field(default=0.05, ge=0.0)
    """Smallest deviation that ``normalize_then_sum``, ``saturation_aware`` and ``saturation_batch`` divide by, so that
    near-constant components stay small."""

    saturation_gamma: float = Field(default=0.5, ge=0.0)
    """``saturation_aware`` and ``saturation_batch``: the exponent γ of 1 − s. 0 is ``normalize_then_sum``, more turns
    away sooner from what the group, or the batch, does already."""

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
        """Whether a weight is written as a schedule, or a gate opens only after the start."""
        return any(isinstance(c.weight, WeightSchedule) or c.gate_from > 0.0 for c in self.components.values())

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

    def gate_of(self, name: str, step: int | None = None, total: int | None = None) -> str | None:
        """Return the component that gates ``name``: its own gate or the primary, where the aggregation gates on it.

        With ``step`` (from 0) of ``total`` optimizer steps: as it is then, ``None`` before ``gate_from``.
        """
        if step is not None and step < self.first_gated_step(name, total or 1):
            return None
        if self.aggregator.gates_on_primary and name != self.primary_name:
            return self.primary_name
        return self.components[name].gate

    def first_gated_step(self, name: str, total: int) -> int:
        """Return the first of ``total`` steps at which the gate of ``name`` counts; 0.7 of 10 steps is step 7."""
        return math.ceil(round(self.components[name].gate_from * total, 6))

    @model_validator(mode="after")
    def _consistent(self) -> RewardConfig:
        if self.primary is not None and self.primary not in self.components:
            raise ValueError(f"primary: no component is named '{self.primary}'{nearest(self.primary, self.components)}")
        for name, component in self.components.items():
            gate = component.gate
            if gate is None and component.gate_from > 0.0:
                raise ValueError(f"components.{name}.gate_from: there is no gate to close; name one in gate")
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
        if COMBINED in self.components:
            raise ValueError(f"components.{COMBINED}: the name is that of the combined reward; choose another one")
        if not any(peak_weight(component.weight) > 0.0 for component in self.components.values()):
            raise ValueError("components: every weight is 0, so there is nothing to train on")
        if self.aggregator.groupwise and self.scale != "group":
            raise ValueError(f"scale: {self.aggregation} scales by group and batch itself; leave scale at 'group'")
        try_aggregation(self, {name: peak_weight(component.weight) for name, component in self.components.items()})
        return self
