"""Points of a study: other rewards on one stage's rollouts, compared with what was trained, and what that says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adhere.evaluation.reweight.agreement import (
    Agreement,
    Cell,
    Groups,
    agreement,
    agreement_by,
    cells,
    cosines,
    flip_share,
    groups,
)
from adhere.evaluation.reweight.check import check_recorded
from adhere.evaluation.reweight.rescore import rescored
from adhere.evaluation.reweight.rollouts import Rollouts
from adhere.evaluation.reweight.signal import recorded_signal
from adhere.rewards.arithmetic import Signal
from adhere.rewards.config import RewardConfig

SAME = 1.0 - 1e-6
"""Cosine above which two points are one: only rounding, and the 1e-4 beside a deviation, tell them apart."""

NEAR = 0.99
NEAR_FLIPS = 0.01
"""Cosine from which, and share of flipped signs up to which, two points give nearly the same training signal."""

ORIGINAL = "the original"


@dataclass(frozen=True, slots=True)
class Point:
    """One reward on the rollouts.

    ``overall``, ``steps`` and ``sources`` compare it with the reward that was trained. ``nearest`` is the original,
    or the earlier point that is worth a run, whose signal is most like its own, with their cosine and share of flips;
    ``same_as`` is set where it is one with an earlier point. ``worth`` says whether a run could show something new.
    """

    name: str
    config: RewardConfig
    found: Signal
    overall: Agreement
    steps: Mapping[int, Agreement]
    sources: Mapping[str, Agreement]
    cells: Mapping[str, Cell]
    groups: Groups
    nearest: tuple[str, float, float]
    same_as: str | None
    worth: bool

    @property
    def unscored(self) -> float:
        """Share of rollouts without a reward."""
        return float(np.isnan(self.found.rewards).mean())

    @property
    def verdict(self) -> str:
        """What the point is worth, in one sentence."""
        other, cosine, flips = self.nearest
        if not self.found.live.any():
            return "no rollout of this run would have taught anything"
        if self.same_as is not None:
            length = self.overall.length
            longer = other == ORIGINAL and not math.isnan(length) and abs(length - 1.0) >= 1e-3
            times = f", {length:.3g} times as long" if longer else ""
            return f"the same training signal as {self.same_as}{times}: no run of its own"
        if not self.worth:
            return f"nearly the same training signal as {other} (cosine {cosine:.3f}, {flips:.1%} flips)"
        if math.isnan(cosine):
            return "worth a run: nothing to compare it with teaches anything on these rollouts"
        return f"worth a run: nearest is {other} (cosine {cosine:.3f}, {flips:.1%} flips)"


@dataclass(frozen=True, slots=True)
class Study:
    """The original and all points, the latter in the order given; ``worst`` is the largest recomputation error."""

    rollouts: Rollouts
    original: Point
    points: Sequence[Point]
    worst: float

    @property
    def kept(self) -> list[Point]:
        """Points that are not one with another."""
        return [point for point in self.points if point.same_as is None]


def study(
    rollouts: Rollouts, original: RewardConfig, total: int, points: Mapping[str, RewardConfig], *, near: float = NEAR
) -> Study:
    """Recompute the original, check it against the record, and compare every point with it.

    Args:
        rollouts: one stage's rollouts, with requirements where a point joins them differently.
        original: the rewards that the stage was trained on.
        total: its ``grpo.max_steps``, which schedules of weights are shares of.
        points: other rewards by name.
        near: cosine from which two points are nearly the same.

    Raises:
        DataError: the recorded advantages are not those of ``original``.
        ConfigError: a point that the recorded verdicts cannot answer for; names it.
    """
    base = recorded_signal(original, rollouts, total)
    worst = check_recorded(rollouts, base)
    signals = {ORIGINAL: base}
    for name, config in points.items():
        signals[name] = recorded_signal(config, rescored(rollouts, original, config), total)
    configs = {ORIGINAL: original, **points}
    names = list(signals)
    table = cosines(list(signals.values()))
    found: list[Point] = []
    for i, name in enumerate(names):
        # The earlier point that is most like this one; the first of those that are equally so.
        known = [(-2.0 if math.isnan(cosine) else float(cosine), -j) for j, cosine in enumerate(table[i, :i])]
        closest, place = max(known, default=(1.0, 0))
        same = i > 0 and closest > SAME
        if not same:
            # Only the original and points that are worth a run are asked: a chain of small steps would otherwise reach
            # any reward without a run.
            asked = [pair for pair in known if pair[1] == 0 or found[-pair[1]].worth]
            _, place = max(asked, default=(1.0, 0))
        place, here = -place, signals[name]
        cosine, flips = float(table[i, place]), flip_share(here, signals[names[place]])
        found.append(
            Point(
                name=name,
                config=configs[name],
                found=here,
                overall=agreement(here, base),
                steps=agreement_by(here, base, rollouts.steps),
                sources=agreement_by(here, base, rollouts.sources),
                cells=cells(here, rollouts),
                groups=groups(here, base),
                nearest=(names[place], cosine, flips),
                same_as=names[place] if same else None,
                worth=i > 0 and bool(here.live.any()) and not (cosine >= near and flips <= NEAR_FLIPS),
            )
        )
    return Study(rollouts, found[0], found[1:], worst)


def to_dict(point: Point) -> dict[str, Any]:
    """Return the JSON form of a point, without its arrays."""
    other, cosine, flips = point.nearest
    return {
        "name": point.name,
        "rewards": point.config.model_dump(mode="json"),
        "overall": point.overall.to_dict(),
        "advantage_shares": {n: None if math.isnan(s) else s for n, s in point.found.shares.items()},
        "reinforced": float((point.found.signs > 0.0).mean()),
        "unscored": point.unscored,
        "groups": {"all": len(point.found.live), "live": point.groups.live, "gained": point.groups.gained,
                   "lost": point.groups.lost},
        "cells": {n: {"rollouts": c.rollouts, "advantage": c.advantage, "reinforced": c.reinforced}
                  for n, c in point.cells.items()},
        "sources": {name: found.to_dict() for name, found in point.sources.items()},
        "steps": {str(step): found.to_dict() for step, found in point.steps.items()},
        "nearest": {"name": other, "cosine": None if math.isnan(cosine) else cosine, "flips": flips},
        "same_as": point.same_as,
        "worth_a_run": point.worth,
        "verdict": point.verdict,
    }  # fmt: skip
