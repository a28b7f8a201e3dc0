"""Weights that change over training: a pure function of the optimizer step, so that a resumed run repeats them exactly.

No state is kept anywhere: every rank, and every attempt of a killed run, computes the same weight for the same step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Form = Literal["constant", "linear", "step"]

KEYS: dict[Form, tuple[str, ...]] = {
    "constant": ("value",),
    "linear": ("start", "end", "over"),
    "step": ("values",),
}
"""What each form of schedule has to be given; it accepts nothing of the others."""


class WeightSchedule(BaseModel):
    """A weight as a function of the step: ``{schedule: linear, start: 0, end: 1, over: 0.5}``, for example."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: Form
    """``constant`` (``value``); ``linear`` (``start`` to ``end``, ``over`` a stretch of training, ``end`` after it);
    ``step`` (``values``)."""

    value: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """``constant``: the weight."""

    start: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """``linear``: the weight up to ``begin``."""

    end: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """``linear``: the weight from ``begin`` + ``over`` on."""

    begin: float = Field(default=0.0, ge=0.0)
    """``linear``: where the change begins, in ``unit``."""

    over: float | None = Field(default=None, gt=0.0)
    """``linear``: how long the change takes, in ``unit``."""

    values: tuple[tuple[float, float], ...] | None = None
    """``step``: pairs ``[at, weight]``, ``at`` in ``unit`` and rising from 0; a weight holds until the next pair."""

    unit: Literal["share", "steps"] = "share"
    """What ``begin``, ``over`` and ``at`` count: shares of the training in [0, 1], or optimizer steps."""

    @model_validator(mode="after")
    def _consistent(self) -> WeightSchedule:
        needed = KEYS[self.schedule]
        missing = [key for key in needed if getattr(self, key) is None]
        if missing:
            raise ValueError(f"schedule: {self.schedule} needs {', '.join(missing)}")
        others = sorted(self.model_fields_set - {"schedule", "unit", "begin", *needed})
        surplus = [key for key in others if getattr(self, key) is not None]
        if self.schedule != "linear" and self.begin != 0.0:
            surplus.append("begin")
        if surplus:
            raise ValueError(f"schedule: {self.schedule} has no {', '.join(surplus)}; it takes {', '.join(needed)}")
        self._check_places()
        return self

    def _check_places(self) -> None:
        """Refuse places that are out of order, or no place of their unit."""
        if self.values is not None:
            places = [at for at, _ in self.values]
            if not places or places[0] != 0.0 or places != sorted(set(places)):
                raise ValueError(f"values: the places have to rise from 0, got {places}")
            if not all(0.0 <= weight < math.inf for _, weight in self.values):
                raise ValueError("values: a weight is negative or no number; it is at least 0, which only logs")
        given = [*(at for at, _ in self.values or ()), self.begin, self.over or 0.0]
        if self.unit == "steps" and any(place != int(place) for place in given):
            raise ValueError(f"unit: 'steps' counts whole steps, got {[p for p in given if p != int(p)]}")
        if self.unit == "share" and (max(given) > 1.0 or self.begin + (self.over or 0.0) > 1.0):
            raise ValueError("unit: a share of training is at most 1; write unit: steps to count optimizer steps")

    @property
    def peak(self) -> float:
        """The largest weight that the schedule names."""
        return max(self.value or 0.0, self.start or 0.0, self.end or 0.0, *(w for _, w in self.values or ((0.0, 0.0),)))

    def at(self, step: int, total: int) -> float:
        """Return the weight at optimizer ``step`` (from 0) of ``total``; a share of training is step / total."""
        if self.schedule == "constant":
            assert self.value is not None
            return self.value
        if self.values is not None:
            reached = [weight for at, weight in self.values if step >= self._first_step(at, total)]
            return reached[-1]
        assert self.start is not None and self.end is not None and self.over is not None
        passed = step if self.unit == "steps" else step / total
        share = min(1.0, max(0.0, (passed - self.begin) / self.over))
        return self.start + (self.end - self.start) * share

    def ends_within(self, total: int) -> bool:
        """Whether ``total`` steps reach the last weight: a linear one at the end of training, a step before it."""
        return self.last_place(total) < total + (self.schedule == "linear")

    def last_place(self, total: int) -> int:
        """Return the step at which the schedule changes for the last time, for a training of ``total`` steps."""
        if self.values is not None:
            return self._first_step(self.values[-1][0], total)
        return self._first_step(self.begin + (self.over or 0.0), total)

    def _first_step(self, place: float, total: int) -> int:
        """Return the first step at or after ``place``; 0.7 of 10 steps is step 7, whatever 0.7 * 10 rounds to."""
        return int(place) if self.unit == "steps" else math.ceil(round(place * total, 6))

    def __str__(self) -> str:
        """Return the schedule as one word: ``linear 0 to 1``."""
        match self.schedule:
            case "constant":
                return f"constant {self.value:g}"
            case "linear":
                return f"linear {self.start:g} to {self.end:g}"
            case "step":
                return "step " + ", ".join(f"{weight:g}" for _, weight in self.values or ())


def _form(given: Any) -> str:
    return "over time" if isinstance(given, (Mapping, WeightSchedule)) else "number"


Weight = Annotated[
    Annotated[float, Field(ge=0.0, allow_inf_nan=False), Tag("number")] | Annotated[WeightSchedule, Tag("over time")],
    Discriminator(_form),
]
"""A weight: a number, or a schedule. The tag keeps the messages of the form that was not meant out of an error."""


def weight_at(weight: float | WeightSchedule, step: int, total: int) -> float:
    """Return ``weight`` at optimizer ``step`` of ``total``; a number is the same at every step."""
    return weight.at(step, total) if isinstance(weight, WeightSchedule) else weight


def peak_weight(weight: float | WeightSchedule) -> float:
    """Return the largest value that ``weight`` names; 0.0 for a component that is a metric from first to last."""
    return weight.peak if isinstance(weight, WeightSchedule) else weight


def weight_text(weight: float | WeightSchedule) -> str:
    """Return ``weight`` for people: ``0.5``, or ``linear 0 to 1``."""
    return str(weight) if isinstance(weight, WeightSchedule) else f"{weight:g}"
