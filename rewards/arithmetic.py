"""From the components' values to rewards, advantages, and how much of them each component is responsible for.

The same functions serve the trainer, the shares that it logs, the audit, and the re-weighting of recorded rollouts.
Array names end in their axes: G groups, N completions of a group, K components in the order of ``config.components``.
NaN stands for what is not scored; a rollout without any weighted value has no reward, and teaches nothing.

The share of component k is cov(part_k, A) / var(A): the natural decomposition of a sum's variance (Shorrocks 1982,
Econometrica 50:193), here of the advantage A = Σ_k part_k. Shares sum to 1. A share is below 0 where a component pulls
against the advantage that the others make, which a share of Σ|w·r| could not show. That a component's correlation with
the advantage decides how much of it is learned is worked out for GRPO in arXiv 2509.22047.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adhere.rewards.errors import ConfigError

if TYPE_CHECKING:
    from adhere.rewards.config import RewardConfig

EPSILON = 1e-4
"""What TRL adds to the standard deviation that it divides by."""

ZERO = 1e-6
"""Advantages up to this size are not a signal: rounding, divided by TRL's 1e-4."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What a composite teaches from rollouts.

    ``rewards`` (G, N) are NaN where a rollout has none; ``advantages`` (G, N) are 0 there. ``divisors`` (G,) is what
    the rewards' distances from their mean were divided by. ``shares`` is each component's share of the squared
    advantages by name, 0 for a metric; all are NaN where no rollout has an advantage.
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


def values_array(config: RewardConfig, groups: Sequence[Sequence[Mapping[str, float | None]]]) -> np.ndarray:
    """Return the values after the gates as (G, N, K); shorter groups are filled up with rollouts without a value."""
    values_G_N_K = np.full((len(groups), max(map(len, groups), default=0), len(config.components)), np.nan)
    for g, group in enumerate(groups):
        for n, row in enumerate(group):
            # A float array turns None into NaN.
            values_G_N_K[g, n] = [row[name] for name in config.components]
    return values_G_N_K


def weights_array(config: RewardConfig, weights: Mapping[str, float] | None = None) -> np.ndarray:
    """Return the weights by name, without them the configuration's own, as (1, K): the same in every group."""
    weights = config.weights() if weights is None else weights
    return np.array([[weights[name] for name in config.components]])


def group_rewards(
    config: RewardConfig, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, batches_G: np.ndarray | None = None
) -> np.ndarray:
    """Return the rewards before scaling, (G, N), NaN where no weighted component has a value.

    Args:
        config: aggregation and components.
        values_G_N_K: the components' values after the gates, in [0, 1].
        weights_G_K: their weights in each group, or (1, K) for the same ones in all.
        batches_G: the number of the generation that each group belongs to, from 0; one without it.

    Raises:
        ConfigError: a user's aggregation returned another shape, or no finite number for a rollout with a value.
    """
    counting_G_N_K = np.where(weights_G_K[:, None] > 0.0, values_G_N_K, np.nan)
    weights_G_K = np.broadcast_to(weights_G_K, (len(values_G_N_K), weights_G_K.shape[1]))
    found = _by_batch(config, config.aggregator.rewards, counting_G_N_K, weights_G_K, batches_G, values_G_N_K.shape[:2])
    scored_G_N = ~np.isnan(counting_G_N_K).all(axis=2)
    if not np.isfinite(found[scored_G_N]).all():
        raise ConfigError(
            f"rewards.aggregation: {config.aggregation} returned no finite number for a rollout that has a value"
        )
    return np.where(scored_G_N, found, np.nan)


def signal(
    config: RewardConfig, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, batches_G: np.ndarray | None = None
) -> Signal:
    """Return rewards, advantages as TRL 1.16 computes them, and the components' shares of them.

    Args:
        config: aggregation, scale and components.
        values_G_N_K: the components' values after the gates, in [0, 1].
        weights_G_K: their weights in each group, or (1, K) for the same ones in all.
        batches_G: the number of the generation that each group belongs to, from 0 and in order; one without it.
    """
    rewards_G_N = group_rewards(config, values_G_N_K, weights_G_K, batches_G)
    scored_G_N = ~np.isnan(rewards_G_N)
    counts_G = scored_G_N.sum(axis=1)
    means_G_1 = np.nansum(rewards_G_N, axis=1, keepdims=True) / np.maximum(1, counts_G)[:, None]
    centred_G_N = np.where(scored_G_N, rewards_G_N - means_G_1, 0.0)
    # TRL's deviation of a single value is NaN, and its advantage 0, as the centred value is here.
    group_divisors_G = np.sqrt((centred_G_N**2).sum(axis=1) / np.maximum(1, counts_G - 1)) + EPSILON
    by_group = config.scale == "group" and not config.aggregator.groupwise
    if by_group:
        divisors_G = group_divisors_G
    elif config.scale == "none":
        divisors_G = np.ones(len(rewards_G_N))
    else:
        batches_G = np.zeros(len(rewards_G_N), dtype=int) if batches_G is None else batches_G
        counts_B = np.bincount(batches_G, weights=counts_G)
        means_B = np.bincount(batches_G, weights=np.nansum(rewards_G_N, axis=1)) / np.maximum(1.0, counts_B)
        squares_G = np.nansum((rewards_G_N - means_B[batches_G][:, None]) ** 2, axis=1)
        deviations_B = np.sqrt(np.bincount(batches_G, weights=squares_G) / np.maximum(1.0, counts_B - 1.0))
        divisors_G = deviations_B[batches_G] + EPSILON

    # One number for a whole batch leaves the shares alone, so only the group's own deviation counts here.
    counting_G_N_K = np.where(weights_G_K[:, None] > 0.0, values_G_N_K, np.nan)
    weights_G_K = np.broadcast_to(weights_G_K, (len(values_G_N_K), weights_G_K.shape[1]))
    parts_G_N_K = _by_batch(config, config.aggregator.parts, counting_G_N_K, weights_G_K, batches_G, values_G_N_K.shape)
    parts_G_N_K = np.where(np.isnan(counting_G_N_K), 0.0, parts_G_N_K)
    part_means_G_1_K = parts_G_N_K.sum(axis=1, keepdims=True) / np.maximum(1, counts_G)[:, None, None]
    parts_G_N_K = np.where(scored_G_N[:, :, None], parts_G_N_K - part_means_G_1_K, 0.0)
    totals_G_N_1 = parts_G_N_K.sum(axis=2, keepdims=True)
    scales_G = group_divisors_G if by_group else np.ones(len(rewards_G_N))
    pulls_K = (parts_G_N_K * totals_G_N_1 / scales_G[:, None, None] ** 2).sum(axis=(0, 1))
    whole = pulls_K.sum()
    shares_K = pulls_K / whole if whole > 1e-12 else np.full(len(pulls_K), np.nan)
    shares = dict(zip(config.components, shares_K.tolist(), strict=True))
    return Signal(rewards_G_N, centred_G_N / divisors_G[:, None], divisors_G, shares)


def _by_batch(
    config: RewardConfig,
    method: Callable[[np.ndarray, np.ndarray, RewardConfig], np.ndarray],
    values_G_N_K: np.ndarray,
    weights_G_K: np.ndarray,
    batches_G: np.ndarray | None,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Return what a method of the aggregation returns, called once for each generation where it needs whole ones."""
    if batches_G is None or not config.aggregator.batchwise:
        return _checked(config, method(values_G_N_K, weights_G_K, config), shape)
    found = np.empty(shape)
    for batch in np.unique(batches_G):
        of = batches_G == batch
        part = method(values_G_N_K[of], weights_G_K[of], config)
        found[of] = _checked(config, part, (int(of.sum()), *shape[1:]))
    return found


def _checked(config: RewardConfig, found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what an aggregation returned, if it has the right shape."""
    if np.shape(found) != shape:
        raise ConfigError(
            f"rewards.aggregation: {config.aggregation} returned an array of shape {np.shape(found)}, not {shape}"
        )
    return np.asarray(found, dtype=float)


def try_aggregation(config: RewardConfig, weights: Mapping[str, float]) -> None:
    """Let the aggregation of ``config`` join some made-up values, so that a wrong one is found before training.

    Raises:
        ConfigError: as `group_rewards`.
    """
    trial_G_N_K = np.tile(np.array([[[0.0], [1.0], [0.5]], [[1.0], [1.0], [np.nan]]]), len(config.components))
    trial_G_N_K[0, 2, 0] = np.nan
    signal(config, trial_G_N_K, weights_array(config, weights))
