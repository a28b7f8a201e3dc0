"""The configuration of an ablation: which points it compares, with which seeds, and whether weak ones end early."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from adhere.records.names import slug
from adhere.rewards.aggregation import AGGREGATIONS
from adhere.rewards.checklist.scoring import ChecklistScoring
from adhere.rewards.errors import nearest
from adhere.rewards.strict import Strict

LONGEST_NAME = 200
"""Bytes of a point's name: with a kind before it and a seed after it, it still fits into the name of a file."""


def name_problem(name: str) -> str | None:
    """Return why ``name`` cannot be an arm's: stages and files are named after it."""
    if not name.strip():
        return "is empty"
    if not slug(name).strip("."):
        return "has neither a letter nor a digit; files are named after it"
    if bad := [character for character in name if character in "/[]" or not character.isprintable()]:
        return f"holds {bad[0]!r}; files are named after it: leave out '/', '[', ']' and control characters"
    if (size := len(name.encode())) > LONGEST_NAME:
        return f"is {size} bytes long; stages and files are named after it, so {LONGEST_NAME} are the most"
    return None


def override_key(override: str) -> str:
    """Return the key that an override sets, adds or deletes."""
    return override.partition("=")[0].lstrip("+~").strip()


class SimplexConfig(Strict):
    """All weights that share one total among some components, in equal steps: only ratios matter under scaling."""

    components: list[str] = Field(default=["math", "checklist"], min_length=2)
    """Components that share the weight."""

    steps: int = Field(default=4, ge=1)
    """Steps from nothing to the whole: 4 gives 0, 1/4, 1/2, 3/4 and 1 of the total for each of two components."""

    @model_validator(mode="before")
    @classmethod
    def _steps_alone(cls, given: Any) -> Any:
        return {"steps": given} if isinstance(given, int) else given


class HalvingConfig(Strict):
    """Successive halving: weak points end early by their joint rate (Jamieson and Talwalkar, arXiv 1502.07943)."""

    rungs: list[float] = Field(default=[0.25, 0.5], min_length=1)
    """Shares of ``grpo.max_steps`` after which points are compared, rising."""

    keep: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Share of the points that goes on at each rung, rounded up."""

    window: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of ``grpo.max_steps`` before a rung over which the joint rate is averaged."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_is(cls, given: Any) -> Any:
        return {} if given is True else given

    @model_validator(mode="after")
    def _rising(self) -> HalvingConfig:
        if any(not 0.0 < rung < 1.0 for rung in self.rungs) or sorted(set(self.rungs)) != self.rungs:
            raise ValueError(f"rungs: {self.rungs} have to rise and lie between 0 and 1")
        return self


class MethodConfig(Strict):
    """A method of training that ``adhere ablate`` can compare."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    overrides: list[str] = Field(default_factory=list, alias="with")
    """Overrides for the recipe's stages of kind ``grpo``, which the method leaves as they are otherwise."""

    stages: dict[str, Any] | None = None
    """The stages of the method, which end in one model; ``None`` keeps the recipe's."""

    @model_validator(mode="after")
    def _one_of_both(self) -> MethodConfig:
        if self.overrides and self.stages is not None:
            raise ValueError("with: is for the recipe's own stages, and stages names others; write it there")
        return self


class AblationConfig(Strict):
    """The points of ``adhere ablate``: every combination of what is listed here, each with every seed."""

    weights: list[dict[str, float]] = Field(default_factory=list)
    """Weights by component, such as ``{math: 1, checklist: 0.5}``; components that are not named keep theirs."""

    simplex: SimplexConfig | None = None
    """Further weights, from a grid over the simplex."""

    gate: list[bool] = Field(default_factory=list)
    """``true`` keeps the recipe's gates, ``false`` removes all of them."""

    aggregation: list[str] = Field(default_factory=list)
    """Ways to join the components: names of ``rewards.aggregation``, a plug-in's among them."""

    scoring: list[ChecklistScoring] = Field(default_factory=list)
    """Ways to score a checklist: ``weighted_mean`` or ``mean`` (fractions), ``all`` (all or nothing)."""

    judge_samples: list[int] = Field(default_factory=list)
    """Replies drawn per question, for every judge of the recipe."""

    method: list[str] = Field(default_factory=list)
    """Methods to compare: names of ``methods``."""

    methods: dict[str, MethodConfig] = Field(default_factory=dict)
    """The methods that ``method`` chooses from."""

    compared_by: list[str] = Field(default_factory=list)
    """Overrides that hold for every point where ``method`` is given: what all methods are measured on."""

    variants: dict[str, list[str]] | None = None
    """Any other axis: a name, and the overrides that make it."""

    seeds: list[int] = Field(default=[0], min_length=1)
    """Seeds of GRPO (``grpo.seed``); all of them start from one SFT."""

    reference: str | None = None
    """Name of the point that the others are compared with; ``None`` is the first."""

    margin: float = Field(default=2.0, gt=0.0, le=100.0)
    """Points of accuracy: no loss of it is called measurable where the interval excludes a loss of as many
    (non-inferiority)."""

    judge_by: str | None = None
    """The stage whose model a point is judged by; ``None`` is the last one, and there has to be only one."""

    parallel: int = Field(default=1, ge=1)
    """Stages that run at a time on this machine."""

    halving: HalvingConfig | None = None
    """End weak points early; ``null`` trains all to the end."""

    @field_validator("aggregation")
    @classmethod
    def _aggregations(cls, names: list[str]) -> list[str]:
        for name in names:
            AGGREGATIONS[name]
        return names

    @model_validator(mode="after")
    def _variants(self) -> AblationConfig:
        if unknown := [name for name in self.method if name not in self.methods]:
            known = ", ".join(self.methods) or "none: this recipe has no ablation.methods"
            raise ValueError(
                f"method: there is no method '{unknown[0]}'{nearest(unknown[0], self.methods)}; there are {known}"
            )
        if self.method and self.halving is not None:
            raise ValueError("halving: methods do not share their steps, so that none can end early; set it to null")
        for name in self.methods:
            if problem := name_problem(name):
                raise ValueError(f"methods: the name '{name}' {problem}")
        for name, overrides in (self.variants or {}).items():
            if problem := name_problem(name):
                raise ValueError(f"variants: the name '{name}' {problem}")
            if seeds := [given for given in overrides if override_key(given) == "grpo.seed"]:
                raise ValueError(f"variants.{name}: '{seeds[0]}' sets what seeds=[...] is for; list the seeds there")
        return self

    @model_validator(mode="after")
    def _seeds(self) -> AblationConfig:
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds: {self.seeds} have to be different and at least 0")
        return self
