"""Advantages from values, without a trainer, and how much of them each component is responsible for.

The share of component k is cov(part_k, A) / var(A): the natural decomposition of a sum's variance (Shorrocks 1982,
Econometrica 50:193), here of the advantage A = Σ_k part_k. Shares sum to 1. A share is below 0 where a component pulls
against the advantage that the others make, which a share of Σ|w·r| could not show. That a component's correlation with
the advantage decides how much of it is learned is worked out for GRPO in arXiv 2509.22047.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from adhere.rewards.aggregation import Values, aggregate, lexicographic_parts, standardised_parts
from adhere.rewards.config import GROUPWISE, RewardConfig

EPSILON = 1e-4
"""What TRL adds to the standard deviation that it divides by."""

Parts = dict[str, float]


def advantages(
    config: RewardConfig, groups: Sequence[Sequence[Values]], weights: Mapping[str, float] | None = None
) -> list[float]:
    """Return the advantage of every rollout of a batch, groups flattened in order, as the trainer computes it.

    A rollout without a reward has 0, and no part in its group's mean and deviation. Deviations are of the sample.
    """
    rewards = iter(aggregate(config, groups, weights))
    scale = "batch" if config.aggregation in GROUPWISE else config.scale
    rows = [[next(rewards) for _ in group] for group in groups]
    spread = _deviation([reward for row in rows for reward in row])
    found: list[float] = []
    for row in rows:
        known = [reward for reward in row if reward is not None]
        mean = math.fsum(known) / len(known) if known else 0.0
        divisor = {"group": _deviation(row) + EPSILON, "batch": spread + EPSILON, "none": 1.0}[scale]
        found.extend(0.0 if reward is None else (reward - mean) / divisor for reward in row)
    return found


def advantage_shares(
    config: RewardConfig, groups: Sequence[Sequence[Values]], weights: Mapping[str, float]
) -> dict[str, float]:
    """Return each component's share of the squared advantages of ``groups``, by name; a metric's is 0.

    All are NaN where no rollout has an advantage. Rollouts without a reward are left out, as in training.
    """
    shares = dict.fromkeys(weights, 0.0)
    for group in groups:
        centred = _centred(_parts(config, group, weights))
        sums = [math.fsum(row.values()) for row in centred]
        scale = _scale(config, sums)
        for row, total in zip(centred, sums, strict=True):
            for name, part in row.items():
                shares[name] += part * total / scale**2
    whole = math.fsum(shares.values())
    return {name: share / whole if whole > 1e-12 else math.nan for name, share in shares.items()}


def _parts(config: RewardConfig, group: Sequence[Values], weights: Mapping[str, float]) -> list[Parts]:
    """Return the parts that each scored rollout's reward is the sum of, up to a constant."""
    if config.aggregation in GROUPWISE:
        return [row for row in standardised_parts(config, group, weights) if row]
    counted = [{n: v for n, w in weights.items() if w > 0.0 and (v := row[n]) is not None} for row in group]
    match config.aggregation:
        case "lexicographic":
            return [lexicographic_parts(config, row, weights) for row in group if _scored(row, weights)]
        case "product":
            return [multiplicative_parts({n: v ** weights[n] for n, v in row.items()}) for row in counted if row]
        case "all":
            return [multiplicative_parts({n: float(v == 1.0) for n, v in row.items()}) for row in counted if row]
        case _:
            return [{n: weights[n] * v for n, v in row.items()} for row in counted if row]


def multiplicative_parts(factors: Mapping[str, float]) -> Parts:
    """Return the Shapley value of each factor in their product, a factor that is absent being 1.

    The parts sum to Π factors − 1. Computed exactly from the product's multilinear extension (Owen 1972): the integral
    over t in [0, 1] of (x_k − 1) Π_{j≠k} (1 + t (x_j − 1)), a polynomial in t.
    """
    parts: Parts = {}
    for name, factor in factors.items():
        polynomial = [1.0]
        for other, value in factors.items():
            if other != name:
                shifted = [0.0, *((value - 1.0) * c for c in polynomial)]
                polynomial = [a + b for a, b in zip([*polynomial, 0.0], shifted, strict=True)]
        parts[name] = (factor - 1.0) * math.fsum(c / (power + 1) for power, c in enumerate(polynomial))
    return parts


def _scored(row: Values, weights: Mapping[str, float]) -> bool:
    return any(weight > 0.0 and row[name] is not None for name, weight in weights.items())


def _centred(parts: Sequence[Parts]) -> list[Parts]:
    """Subtract each component's mean over the group; a component that a rollout lacks is a part of 0 of its reward."""
    names = dict.fromkeys(name for row in parts for name in row)
    means = {name: math.fsum(row.get(name, 0.0) for row in parts) / len(parts) for name in names}
    return [{name: row.get(name, 0.0) - means[name] for name in names} for row in parts]


def _scale(config: RewardConfig, centred: Sequence[float]) -> float:
    """Return what this group's advantages are divided by; one number for the whole batch leaves the shares alone."""
    if config.aggregation in GROUPWISE or config.scale != "group":
        return 1.0
    return _deviation(centred) + EPSILON


def _deviation(rewards: Sequence[float | None]) -> float:
    """Return the sample standard deviation of what was scored; 0.0 for fewer than two."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2:
        return 0.0
    mean = math.fsum(known) / len(known)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / (len(known) - 1))
