"""The Pareto front of two figures over arms, and how sure it is that an arm is on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adhere.evaluation.ablation.resampling import Draws, own_intervals, replicate


@dataclass(frozen=True, slots=True)
class FrontArm:
    """One arm in the plane of two figures.

    ``on_front`` says whether no other arm is at least as good in both and better in one; ``support`` is the share of
    the resamples in which that holds. ``x_low`` … ``y_high`` are the figures' intervals, each taken alone.
    """

    arm: str
    x: float | None
    y: float | None
    x_low: float | None
    x_high: float | None
    y_low: float | None
    y_high: float | None
    on_front: bool
    support: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def pareto_front(
    arms: Sequence[str], x: np.ndarray, y: np.ndarray, draws: Draws, runs: np.ndarray | None = None
) -> list[FrontArm]:
    """Place every arm by two figures of which more is better; the same draws move both.

    An arm without a value in one of the two is never on the front.

    Args:
        arms: names, A of them.
        x: the first figure, (A, R, P), NaN where a score is missing.
        y: the second, likewise.
        draws: those for A arms and P prompts.
        runs: the run behind each arm and seed, (A, R), −1 for none; ``None`` is a run for each.
    """
    figures = [replicate(values, draws, runs=runs) for values in (x, y)]
    exact = non_dominated(figures[0].means[None], figures[1].means[None])[0]
    support = non_dominated(figures[0].draws, figures[1].draws).mean(axis=0)
    spans = [np.stack(own_intervals(v, f, draws.bootstrap)) for v, f in zip((x, y), figures, strict=True)]
    result = []
    for a, arm in enumerate(arms):
        numbers = (figures[0].means[a], figures[1].means[a], *spans[0][:, a], *spans[1][:, a])
        x_mean, y_mean, x_low, x_high, y_low, y_high = (None if np.isnan(n) else float(n) for n in numbers)
        result.append(FrontArm(arm, x_mean, y_mean, x_low, x_high, y_low, y_high, bool(exact[a]), float(support[a])))
    return result


def non_dominated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return which of A points are on the front in each of B planes; ``x`` and ``y`` are (B, A), and so is the result.

    Points that are equal in both are on it together.
    """
    found = np.empty(x.shape, dtype=bool)
    for a in range(x.shape[1]):
        mine_x, mine_y = x[:, [a]], y[:, [a]]
        beaten = (x >= mine_x) & (y >= mine_y) & ((x > mine_x) | (y > mine_y))
        found[:, a] = ~beaten.any(axis=1) & ~np.isnan(mine_x[:, 0]) & ~np.isnan(mine_y[:, 0])
    return found


def best_shares(values: np.ndarray, draws: Draws, runs: np.ndarray | None = None) -> np.ndarray:
    """Return the share of resamples in which each arm is the best on one figure (A, R, P); ties are shared.

    All are 0 where no arm has the figure.
    """
    found = replicate(values, draws, runs=runs).draws
    known = ~np.isnan(found)
    best = known & (found == np.where(known, found, -np.inf).max(axis=1, keepdims=True))
    share: np.ndarray = (best / np.maximum(best.sum(axis=1, keepdims=True), 1)).mean(axis=0)
    return share
