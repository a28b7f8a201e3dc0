"""The configuration of a composite reward."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rewards.checklist.scoring import ChecklistScoring
from rewards.constraints import Mode
from rewards.errors import nearest
from rewards.segments import Scope

Aggregation = Literal["weighted_sum", "normalize_then_sum", "product", "all"]
Scaling = Literal["group", "batch", "none"]

COMBINED = "composite"
"""Name of the extra column that carries the reward where the aggregation is not a sum."""


class Strict(BaseModel):
    """A model that refuses unknown keys and documents each field by the text below it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class _Component(Strict):
    weight: float = Field(default=1.0, ge=0.0)
    """How much the component counts, used as written. 0 makes it a metric: scored and logged, never trained on."""

    gate: str | None = None
    """Name of another component. This one counts only where that one passed, and where that one does not apply."""


class MathComponent(_Component):
    """1.0 where the committed answer equals the gold answer."""

    kind: Literal["math"] = "math"
    timeout: float = Field(default=5.0, gt=0.0)
    """Seconds one comparison may take before its worker is killed and the verdict is ``timeout``."""


class ChecklistComponent(_Component):
    """The share of the prompt's requirements that the response meets."""

    kind: Literal["checklist"] = "checklist"
    scoring: ChecklistScoring = "weighted_mean"
    """``weighted_mean`` (RLCF), ``mean``, or ``all`` (every requirement or nothing)."""

    mode: Mode = "hardened"
    """``hardened`` closes the official checkers' holes; ``compat`` agrees with them."""

    scope: Scope = "answer"
    """Which part is checked: the answer after the reasoning, the whole response, or the reasoning. Constraints
    ``reasoning:...`` are decided on the reasoning whatever stands here."""


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
    MathComponent | ChecklistComponent | FormatComponent | LengthComponent, Field(discriminator="kind")
]


def _default_components() -> dict[str, Any]:
    return {"math": MathComponent(), "checklist": ChecklistComponent(gate="math")}


class RewardConfig(Strict):
    """Named components and how they become one advantage."""

    components: dict[str, ComponentConfig] = Field(default_factory=_default_components, min_length=1)
    """Component configurations by name; the name is the one in logs, files and tables."""

    aggregation: Aggregation = "weighted_sum"
    """``weighted_sum``: Σ w·r, then scaled. ``normalize_then_sum``: each component standardised in its group, then
    Σ w·z (GDPO). ``product``: Π r^w. ``all``: 1.0 only where every weighted component passed."""

    scale: Scaling = "group"
    """What the advantage is divided by: the group's standard deviation, the batch's, or nothing (Dr. GRPO)."""

    std_floor: float = Field(default=0.05, ge=0.0)
    """Smallest deviation that ``normalize_then_sum`` divides by, so that near-constant components stay small."""

    max_error_share: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of rollouts whose reward timed out or failed, over one step, above which training stops."""

    @model_validator(mode="after")
    def _consistent(self) -> RewardConfig:
        for name, component in self.components.items():
            if component.gate == name:
                raise ValueError(f"components.{name}.gate: a component cannot gate itself")
            if component.gate is not None and component.gate not in self.components:
                hint = nearest(component.gate, self.components)
                raise ValueError(f"components.{name}.gate: no component is named '{component.gate}'{hint}")
            if component.gate is not None and self.components[component.gate].gate is not None:
                raise ValueError(f"components.{name}.gate: '{component.gate}' is gated itself; gates do not chain")
        if COMBINED in self.components:
            raise ValueError(f"components.{COMBINED}: the name is that of the combined reward; choose another one")
        if not any(component.weight > 0.0 for component in self.components.values()):
            raise ValueError("components: every weight is 0, so there is nothing to train on")
        if self.aggregation == "normalize_then_sum" and self.scale != "group":
            raise ValueError("scale: normalize_then_sum scales by group and batch itself; leave scale at 'group'")
        return self
