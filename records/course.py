"""How an ablation went, ``arms.json``: points that stand for others, failures, successive halving, what sharing saved.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from adhere.records.objects import read_object
from adhere.records.run import RunFolder


@dataclass(frozen=True, slots=True)
class Rung:
    """What was decided at one rung of successive halving: each point's rate, which went on, and how sure that is.

    ``rates`` are joint rates in training. ``risk`` is the share of bootstrap resamples, over seeds and generations, in
    which a point that was ended has a higher rate than the weakest that went on.
    """

    step: int
    rates: Mapping[str, float]
    kept: Sequence[str]
    ended: Sequence[str]
    risk: float

    def to_dict(self) -> dict[str, Any]:
        """Return the rung as plain values."""
        return asdict(self) | {"rates": dict(self.rates), "kept": list(self.kept), "ended": list(self.ended)}


@dataclass(frozen=True, slots=True)
class Course:
    """What an ablation's ``arms.json`` says besides its points.

    ``merged`` has (point, the one that stands for it, why); ``failed`` and ``skipped`` have a reason for each stage;
    ``saved`` is the share of GRPO's steps that halving left out; ``shared`` and ``alone`` are seconds of the finished
    stages, with shared stages run once and with none shared.
    """

    merged: Sequence[tuple[str, str, str]] = ()
    rungs: Sequence[Rung] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    saved: float = 0.0
    shared: float = 0.0
    alone: float = 0.0

    @property
    def ended(self) -> dict[str, int]:
        """The points that halving ended, and the optimizer step at which it did."""
        return {point: rung.step for rung in self.rungs for point in rung.ended}


def read_course(run: RunFolder) -> Course | None:
    """Return what the run's ``arms.json`` says, or ``None`` where it is missing: the run is not an ablation."""
    found = read_object(run.course_file)
    if not found:
        return None
    took: Mapping[str, Any] = found.get("seconds", {})
    return Course(
        merged=[(m["point"], m["stands_for_it"], m["why"]) for m in found.get("merged", [])],
        rungs=[Rung(r["step"], r["rates"], r["kept"], r["ended"], r["risk"]) for r in found.get("rungs", [])],
        failed={stage: str(why) for stage, why in found.get("failed", {}).items()},
        skipped={stage: str(why) for stage, why in found.get("skipped", {}).items()},
        saved=found.get("saved_share_of_steps", 0.0),
        shared=took.get("shared", 0.0),
        alone=took.get("alone", 0.0),
    )
