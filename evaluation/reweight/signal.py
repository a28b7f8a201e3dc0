"""Recorded rollouts as the arrays of `rewards.arithmetic`: the values after any composite's gates, and their signal."""

from __future__ import annotations

import numpy as np

from adhere.evaluation.reweight.rollouts import NOT_APPLICABLE, UNDECIDED, Rollouts
from adhere.rewards.arithmetic import Signal, signal
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError


def recorded_signal(config: RewardConfig, rollouts: Rollouts, total: int) -> Signal:
    """Return what ``config`` would have taught from ``rollouts``, whose components it must not exceed.

    ``total`` is the stage's ``grpo.max_steps``, which schedules of weights are shares of.
    """
    return signal(config, *recorded_values(config, rollouts, total), rollouts.batches)


def recorded_values(config: RewardConfig, rollouts: Rollouts, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the components' values after the gates, (G, N, K), and their weights, (G, K), of each group's step."""
    steps, places = np.unique(rollouts.steps, return_inverse=True)
    by_step = [config.weights(int(step), total) for step in steps]
    weights_G_K = np.array([[row[name] for name in config.components] for row in by_step])[places]
    return gated_values(config, rollouts, weights_G_K, total), weights_G_K


def gated_values(config: RewardConfig, rollouts: Rollouts, weights_G_K: np.ndarray, total: int) -> np.ndarray:
    """Return the components' values after their gates, (G, N, K), NaN where one counts neither for nor against.

    Gates are those of each group's step of ``total``.

    As in `rewards.composite.Composite.score`: an undecided weighted component leaves its rollout without any value.

    Raises:
        ConfigError: a weighted component counts in rollouts that its judge was not asked about.
    """
    undecided_G_N = np.zeros(rollouts.shape, dtype=bool)
    values = []
    for k, name in enumerate(config.components):
        gate, value_G_N = config.gate_of(name), rollouts.scores[name]
        broken_G_N, is_open = np.isin(rollouts.statuses[name], UNDECIDED), np.ones(rollouts.shape, dtype=bool)
        if gate is not None:
            judged_G_N = rollouts.scores[gate]
            early_G_1 = (rollouts.steps < config.first_gated_step(name, total))[:, None]
            broken_G_N |= np.isin(rollouts.statuses[gate], UNDECIDED) & ~early_G_1
            is_open = early_G_1 | (rollouts.statuses[gate] == NOT_APPLICABLE) | (judged_G_N == 1.0)
            unknown_G_N = np.isnan(judged_G_N) | (np.isnan(value_G_N) & ~rollouts.unasked[name])
            value_G_N = np.where(is_open, value_G_N, np.where(unknown_G_N, np.nan, 0.0))
        wanting = int((rollouts.unasked[name] & is_open & (weights_G_K[:, k] > 0.0)[:, None]).sum())
        if wanting:
            raise ConfigError(
                f"rewards.components.{name}.gate: the judge was not asked about {wanting:,} rollouts, because the gate "
                f"of this run was shut, and without it there is no score for them; keep the gate, or make a run"
            )
        undecided_G_N |= broken_G_N & (weights_G_K[:, k] > 0.0)[:, None]
        values.append(value_G_N)
    return np.where(undecided_G_N[:, :, None], np.nan, np.stack(values, axis=2))
