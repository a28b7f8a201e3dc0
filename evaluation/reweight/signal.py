"""The learning signal of rollouts under any composite reward: values, rewards, advantages, and each component's part.

The formulas are those of `rewards.composite`, `rewards.aggregation` and `rewards.advantages`, over whole stages at once
instead of one group at a time. Array names end in their axes: K weighted components, G groups, S rollouts of a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adhere.evaluation.reweight.rollouts import NOT_APPLICABLE, UNDECIDED, Rollouts
from adhere.rewards.advantages import EPSILON
from adhere.rewards.aggregation import resolution
from adhere.rewards.config import GROUPWISE, RewardConfig

ZERO = 1e-6
"""Advantages up to this size are no signal: rounding, divided by TRL's 1e-4."""

Weights = Mapping[str, np.ndarray]
"""The weight of each component in each group, (G,): schedules move it from step to step."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What a composite teaches from rollouts.

    ``advantages`` (G, S) are 0 where a rollout has no reward; ``rewards`` (G, S) are NaN there. ``divisors`` (G,) is
    what the rewards' distances from their mean were divided by. ``shares`` is each component's share of the squared
    advantages (`rewards.advantages`), NaN where there are none.
    """

    rewards: np.ndarray
    advantages: np.ndarray
    divisors: np.ndarray
    shares: Mapping[str, float]

    @property
    def signs(self) -> np.ndarray:
        """1 where a rollout is reinforced, −1 where it is discouraged, 0 where it teaches nothing."""
        return np.sign(self.advantages) * (np.abs(self.advantages) > ZERO)

    @property
    def live(self) -> np.ndarray:
        """Whether a group (G,) teaches anything."""
        found: np.ndarray = (self.signs != 0.0).any(axis=1)
        return found


def weights_by_group(config: RewardConfig, rollouts: Rollouts, total: int) -> dict[str, np.ndarray]:
    """Return every component's weight in every group, at the group's optimizer step of ``total``."""
    steps, places = np.unique(rollouts.steps, return_inverse=True)
    table = [config.weights(int(step), total) for step in steps]
    return {name: np.array([row[name] for row in table])[places] for name in config.components}


def signal(config: RewardConfig, rollouts: Rollouts, weights: Weights) -> Signal:
    """Return what ``config`` would have taught from ``rollouts``, whose components it must not exceed."""
    values = gated_values(config, rollouts, weights)
    parts_KGS, counted = _parts(config, values, weights)
    rewards = _rewards(config, parts_KGS, counted)
    advantages, divisors = _advantages(config, rewards, rollouts.batches)
    names = [name for name in config.components if (weights[name] > 0.0).any()]
    shares = dict(zip(names, _shares(config, parts_KGS, counted), strict=True))
    return Signal(rewards, advantages, divisors, {name: shares.get(name, 0.0) for name in config.components})


def gated_values(config: RewardConfig, rollouts: Rollouts, weights: Weights) -> dict[str, np.ndarray]:
    """Return each component's value after its gate, (G, S), NaN where it counts neither for nor against.

    As in `rewards.composite.Composite.score`: an undecided weighted component leaves its rollout without any value.
    """
    undecided = np.zeros(rollouts.shape, dtype=bool)
    for name in config.components:
        gate = config.gate_of(name)
        for needed in (name,) if gate is None else (name, gate):
            broken = np.isin(rollouts.statuses[needed], UNDECIDED)
            undecided |= broken & (weights[name] > 0.0)[:, None]
    values = {}
    for name in config.components:
        value = np.where(undecided, np.nan, rollouts.scores[name])
        gate = config.gate_of(name)
        if gate is not None:
            judged = rollouts.scores[gate]
            is_open = (rollouts.statuses[gate] == NOT_APPLICABLE) | (judged == 1.0)
            closed = np.where(np.isnan(judged) | np.isnan(value), np.nan, 0.0)
            value = np.where(is_open, value, closed)
        values[name] = value
    return values


def _parts(config: RewardConfig, values: Mapping[str, np.ndarray], weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Return what each rollout's reward is the sum of, up to a constant, and which rollouts have a weighted value."""
    names = [name for name in config.components if (weights[name] > 0.0).any()]
    if config.aggregation == "lexicographic":
        order = [n for n in (config.primary_name, *names) if n in names]
        ranked = list(dict.fromkeys(order))
    else:
        ranked = names
    w_KG1 = np.stack([weights[name] for name in ranked])[:, :, None]
    v_KGS = np.stack([values[name] for name in ranked])
    there_KGS = ~np.isnan(v_KGS) & (w_KG1 > 0.0)
    match config.aggregation:
        case "normalize_then_sum" | "saturation_aware":
            parts = _standardised(config, v_KGS, w_KG1)
        case "lexicographic":
            levels = np.array([resolution({n: weights[n][g] for n in names}) for g in range(w_KG1.shape[1])])
            parts = _digits(v_KGS, there_KGS, levels[:, None])
        case "product":
            parts = _shapley(np.where(there_KGS, np.power(v_KGS, w_KG1), 1.0))
        case "all":
            parts = _shapley(np.where(there_KGS, v_KGS == 1.0, 1.0))
        case _:
            parts = w_KG1 * v_KGS
    parts = np.where(there_KGS, parts, 0.0)
    return np.stack([parts[ranked.index(name)] for name in names]), there_KGS.any(axis=0)


def _standardised(config: RewardConfig, v_KGS: np.ndarray, w_KG1: np.ndarray) -> np.ndarray:
    known = ~np.isnan(v_KGS)
    counts = known.sum(axis=2, keepdims=True)
    means = np.where(known, v_KGS, 0.0).sum(axis=2, keepdims=True) / np.maximum(1, counts)
    squares = np.where(known, (v_KGS - means) ** 2, 0.0).sum(axis=2, keepdims=True)
    scale = np.maximum(np.sqrt(squares / np.maximum(1, counts - 1)), max(config.std_floor, 1e-6))
    if config.aggregation == "saturation_aware":
        w_KG1 = w_KG1 * np.maximum(0.0, 1.0 - means) ** config.saturation_gamma
    found: np.ndarray = w_KG1 * (v_KGS - means) / scale
    return found


def _digits(v_KGS: np.ndarray, there_KGS: np.ndarray, levels_G1: np.ndarray) -> np.ndarray:
    """Return the digits of the number that `rewards.aggregation.lexicographic_parts` writes a rollout's scores as."""
    digits = there_KGS.sum(axis=0)
    base = levels_G1 + 1.0
    largest = np.maximum(base**digits - 1.0, 1.0)
    later = digits - np.cumsum(there_KGS, axis=0)
    parts = np.floor(v_KGS * levels_G1 + 0.5) * base ** np.maximum(later, 0) / largest
    return np.where(digits == 1, v_KGS, parts)


def _shapley(x_KGS: np.ndarray) -> np.ndarray:
    """Return the Shapley value of each factor in their product; see `rewards.advantages.multiplicative_parts`."""
    found = []
    for k in range(len(x_KGS)):
        polynomial = [np.ones(x_KGS.shape[1:])]
        for j in range(len(x_KGS)):
            if j != k:
                shifted = [(x_KGS[j] - 1.0) * c for c in polynomial]
                polynomial = [
                    polynomial[0],
                    *(a + b for a, b in zip(polynomial[1:], shifted, strict=False)),
                    shifted[-1],
                ]
        integral = sum(c / (power + 1) for power, c in enumerate(polynomial))
        found.append((x_KGS[k] - 1.0) * integral)
    return np.stack(found)


def _rewards(config: RewardConfig, parts_KGS: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the rewards as the trainer sees them: NaN where no weighted component has a value."""
    constant = 1.0 if config.aggregation in ("product", "all") else 0.0
    return np.where(counted, parts_KGS.sum(axis=0) + constant, np.nan)


def _advantages(config: RewardConfig, rewards: np.ndarray, batches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the advantages as TRL 1.16 computes them, 0 for rollouts without a reward, and what divided them."""
    known = ~np.isnan(rewards)
    centred = np.where(known, rewards - _means(rewards, known), 0.0)
    if config.aggregation in GROUPWISE or config.scale == "batch":
        divisors = _batch_deviations(rewards, known, batches) + EPSILON
    elif config.scale == "none":
        divisors = np.ones(len(rewards))
    else:
        # TRL's deviation of a single value is no number, and its advantage 0, as the centred value is here.
        divisors = np.sqrt((centred**2).sum(axis=1) / np.maximum(1, known.sum(axis=1) - 1)) + EPSILON
    return centred / divisors[:, None], divisors


def _means(rewards: np.ndarray, known: np.ndarray) -> np.ndarray:
    counts = np.maximum(1, known.sum(axis=1, keepdims=True))
    found: np.ndarray = np.where(known, rewards, 0.0).sum(axis=1, keepdims=True) / counts
    return found


def _batch_deviations(rewards: np.ndarray, known: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Return for every group the sample deviation of all rewards of its generation."""
    filled = np.where(known, rewards, 0.0)
    counts = np.bincount(batches, weights=known.sum(axis=1))
    means = np.bincount(batches, weights=filled.sum(axis=1)) / np.maximum(1.0, counts)
    squares = np.where(known, (filled - means[batches][:, None]) ** 2, 0.0).sum(axis=1)
    return np.sqrt(np.bincount(batches, weights=squares) / np.maximum(1.0, counts - 1.0))[batches]


def _shares(config: RewardConfig, parts_KGS: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return each component's covariance with the advantage, as a share of the advantage's variance."""
    counts = np.maximum(1, counted.sum(axis=1))[None, :, None]
    centred = np.where(counted, parts_KGS - np.where(counted, parts_KGS, 0.0).sum(axis=2, keepdims=True) / counts, 0.0)
    totals = centred.sum(axis=0)
    scale = np.ones(len(totals))
    if config.aggregation not in GROUPWISE and config.scale == "group":
        scale = np.sqrt((totals**2).sum(axis=1) / np.maximum(1, counted.sum(axis=1) - 1)) + EPSILON
    found = (centred * totals / scale[:, None] ** 2).sum(axis=(1, 2))
    whole = found.sum()
    return found / whole if whole > 1e-12 else np.full(len(found), np.nan)
