"""The arithmetic of rewards on rows of values by name, where a test reads better with them than with arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from adhere.rewards.arithmetic import group_rewards, signal, values_array, weights_array
from adhere.rewards.config import RewardConfig

Groups = Sequence[Sequence[Mapping[str, float | None]]]
Weights = Mapping[str, float] | None


def aggregate(config: RewardConfig, groups: Groups, weights: Weights = None) -> list[float | None]:
    """Return every rollout's reward, groups flattened in order."""
    found = group_rewards(config, values_array(config, groups), weights_array(config, weights))
    flat = [float(found[g, n]) for g, group in enumerate(groups) for n in range(len(group))]
    return [None if math.isnan(reward) else reward for reward in flat]


def combine(config: RewardConfig, row: Mapping[str, float | None], weights: Weights = None) -> float | None:
    """Return one rollout's reward."""
    return aggregate(config, [[row]], weights)[0]


def advantages(config: RewardConfig, groups: Groups, weights: Weights = None) -> list[float]:
    """Return every rollout's advantage, groups flattened in order, all of one generation."""
    found = signal(config, values_array(config, groups), weights_array(config, weights)).advantages
    return [float(found[g, n]) for g, group in enumerate(groups) for n in range(len(group))]


def advantage_shares(config: RewardConfig, groups: Groups, weights: Weights = None) -> Mapping[str, float]:
    """Return each component's share of the squared advantages."""
    return signal(config, values_array(config, groups), weights_array(config, weights)).shares
