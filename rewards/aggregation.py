"""From the components' values to one reward: per rollout, or over a group of rollouts where the formula needs it.

``values`` of a rollout map a component's name to its value in [0, 1] after the gates, or to ``None``: not scored, so it
counts neither for nor against. ``weights`` are those of the present step; without them, the configuration's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from adhere.rewards.config import GROUPWISE, RewardConfig

Values = Mapping[str, float | None]

FINEST = 100
"""Levels that ``lexicographic`` divides two components' scores into; a finer tie-break would be lost when scaled."""


def combine(config: RewardConfig, values: Values, weights: Mapping[str, float] | None = None) -> float | None:
    """Return one rollout's reward under the aggregations that do not need the group, before scaling.

    ``weighted_sum`` and ``gated`` (whose gates are in the values already) are Σ w·r, ``product`` Π r^w, ``all`` 1.0
    where every weighted component that applies is 1.0, ``lexicographic`` :func:`lexicographic_reward`. ``None`` where
    no weighted component has a value.

    Raises:
        ValueError: an aggregation that is defined on groups only.
    """
    weights = config.weights() if weights is None else weights
    weighted = [(w, value) for name, w in weights.items() if w > 0.0 and (value := values[name]) is not None]
    if config.aggregation in GROUPWISE:
        raise ValueError(f"{config.aggregation} is defined on groups of rollouts, not on one")
    if not weighted:
        return None
    match config.aggregation:
        case "product":
            return math.prod(value**weight for weight, value in weighted)
        case "all":
            return float(all(value == 1.0 for _, value in weighted))
        case "lexicographic":
            return sum(lexicographic_parts(config, values, weights).values())
        case _:
            return sum(weight * value for weight, value in weighted)


def resolution(weights: Mapping[str, float]) -> int:
    """Return how many levels ``lexicographic`` divides each score into: 100 for two components, 10 for three, 5, 3, …

    Each position of the reward is one component. The last one's whole span has to stay far above the 1e-4 that TRL
    adds to the deviation it divides by, so more components mean fewer levels; 1 / levels is the stated resolution.
    """
    counted = sum(weight > 0.0 for weight in weights.values())
    return FINEST if counted < 3 else round(FINEST ** (1 / (counted - 1)))


def lexicographic_parts(config: RewardConfig, values: Values, weights: Mapping[str, float]) -> dict[str, float]:
    """Return each weighted component's part of a reward in [0, 1] that orders a group lexicographically.

    Scores are rounded to R levels (:func:`resolution`) and written as the digits of a number in base R + 1, the primary
    component first, divided by the largest such number: one level of a component is worth more than all later ones
    together. So, within a group, the order of the rewards *is* the lexicographic order of the rounded scores. A
    component without a value is passed over; the next one takes its place.
    """
    names = [config.primary_name, *(name for name in weights if name != config.primary_name)]
    digits = [(name, value) for name in names if weights[name] > 0.0 and (value := values[name]) is not None]
    if len(digits) == 1:
        return dict(digits)
    levels = resolution(weights)
    base = levels + 1
    largest = base ** len(digits) - 1
    return {
        name: math.floor(value * levels + 0.5) * base ** (len(digits) - 1 - place) / largest
        for place, (name, value) in enumerate(digits)
    }


def aggregate(
    config: RewardConfig, groups: Sequence[Sequence[Values]], weights: Mapping[str, float] | None = None
) -> list[float | None]:
    """Return every rollout's reward under any aggregation, groups flattened in order."""
    if config.aggregation in GROUPWISE:
        return normalize_then_sum(config, groups, weights)
    return [combine(config, row, weights) for group in groups for row in group]


def normalize_then_sum(
    config: RewardConfig, groups: Sequence[Sequence[Values]], weights: Mapping[str, float] | None = None
) -> list[float | None]:
    """Return Σ w·(r − mean)/max(std, floor) for every rollout, groups flattened in order (GDPO, arXiv 2601.05242).

    Mean and sample standard deviation are those of the component's values within the group. A component counts 0 where
    it has no value; a rollout without any value is ``None``. GDPO itself has no floor: without one, a judge's noise of
    0.02 in an otherwise perfect group weighs as much as a failure. Under ``saturation_aware`` each weight is multiplied
    by (1 − mean)^γ (:func:`standardised_parts`).
    """
    weights = config.weights() if weights is None else weights
    rewards: list[float | None] = []
    for group in groups:
        parts = standardised_parts(config, group, weights)
        rewards.extend(sum(row.values()) if row else None for row in parts)
    return rewards


def standardised_parts(
    config: RewardConfig, group: Sequence[Values], weights: Mapping[str, float]
) -> list[dict[str, float]]:
    """Return, for each rollout of one group, every weighted component's standardised value times its weight.

    ``saturation_aware`` multiplies by (1 − s)^γ (SA-MRPO, arXiv 2608.16072), s the component's mean in this group. The
    group's mean, and not a running one, because standardising is what makes a nearly saturated component loud, and it
    happens within the group; and because it needs no state that a resumed run or another rank could have differently.
    Scores lie in [0, 1], so 1 − s does too.
    """
    parts: list[dict[str, float]] = [{} for _ in group]
    for name, weight in weights.items():
        known = [value for row in group if (value := row[name]) is not None]
        if weight == 0.0 or not known:
            continue
        mean = math.fsum(known) / len(known)
        variance = math.fsum((v - mean) ** 2 for v in known) / max(1, len(known) - 1)
        scale = max(math.sqrt(variance), config.std_floor, 1e-6)
        if config.aggregation == "saturation_aware":
            weight *= max(0.0, 1.0 - mean) ** config.saturation_gamma
        for row, part in zip(group, parts, strict=True):
            if (value := row[name]) is not None:
                part[name] = weight * (value - mean) / scale
    return parts
