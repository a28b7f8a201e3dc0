"""What earlier stages below the same ``run.root`` measured, for the plan of one like them. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from adhere.records.artifact import Artifact, begun_artifacts
from adhere.records.objects import read_object
from adhere.rewards.errors import DataError
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import Recipe

LOOKED_AT = 40
"""Newest artifacts that are read: a plan answers within two seconds however many there are."""

DATA = {"train": ("data",), "evaluation": ("data", "evaluation.suite", "evaluation.path", "evaluation.subsets")}
"""Keys that decide how many items a stage reads, by the part of the data that its kind reads."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """One earlier stage: its recipe as plain values, and its figures; seconds, ``None`` where they are not there.

    ``step`` and ``longest`` are of an optimizer step, ``checkpoint`` of writing one, ``whole`` of an uninterrupted
    stage from start to end.
    """

    name: str
    kind: str
    recipe: Mapping[str, Any]
    items: int | None = None
    steps: int | None = None
    step: float | None = None
    longest: float | None = None
    checkpoint: float = 0.0
    whole: float | None = None

    @property
    def around(self) -> float:
        """Seconds besides its steps: loading, checkpoints and the hand-off."""
        if self.whole is None or self.step is None or self.steps is None:
            return 0.0
        return max(0.0, self.whole - self.steps * self.step)


class History:
    """The newest artifacts below a folder of runs, read when they are first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @cached_property
    def _found(self) -> list[Earlier]:
        return [found for one in begun_artifacts(self._root)[:LOOKED_AT] if (found := _read(one)) is not None]

    def timed(self, kind: str, recipe: Recipe) -> Earlier | None:
        """Return the newest stage of the kind that worked with the same model in batches of the same shape."""
        if not kind_of(kind).timing:
            return None
        keys = ("model.path", *kind_of(kind).timing)
        wanted, stepwise = _values(recipe.model_dump(mode="json"), keys), kind_of(kind).workload in ("sft", "grpo")
        same = (e for e in self._found if e.kind == kind and _values(e.recipe, keys) == wanted)
        return next((e for e in same if (e.step if stepwise else e.whole) is not None), None)

    def items(self, kind: str, recipe: Recipe) -> int | None:
        """Return how many items an earlier stage of the kind found in the same data."""
        data = kind_of(kind).data
        if data is None:
            return None
        wanted = _values(recipe.model_dump(mode="json"), DATA[data])
        same = (e.items for e in self._found if e.kind == kind and _values(e.recipe, DATA[data]) == wanted)
        return next((items for items in same if items is not None), None)


def _values(recipe: Mapping[str, Any], keys: Sequence[str]) -> list[Any]:
    """Return the values at dotted ``keys``, ``None`` for one that an older recipe does not have."""
    found = []
    for key in keys:
        value: Any = recipe
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found.append(value)
    return found


def _read(artifact: Artifact) -> Earlier | None:
    try:
        spec, manifest, measured = read_object(artifact.spec), artifact.manifest(), read_object(artifact.timing)
    except DataError:
        return None  # a damaged artifact of another run only costs this one an estimate
    if not spec:
        return None
    timing = manifest.get("timing") or measured
    steps, seconds, step = manifest.get("steps"), manifest.get("seconds"), timing.get("step_median")
    # An attempt that only finished another's work says nothing of the whole.
    whole = seconds if seconds is not None and (step is None or seconds >= step * (steps or 0)) else None
    return Earlier(
        name=artifact.path.name,
        kind=spec["kind"],
        recipe=spec["recipe"],
        items=manifest.get("items"),
        steps=steps,
        step=step,
        longest=timing.get("step_longest"),
        checkpoint=timing.get("checkpoint", 0.0),
        whole=whole,
    )
