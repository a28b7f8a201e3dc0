"""The figures of a rehearsal: by component and by kind of constraint, and what steps of training would hold of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adhere.evaluation.rehearsal.estimates import dead_step, interval, spread_share
from adhere.evaluation.reweight.agreement import cells
from adhere.evaluation.reweight.rollouts import Rollouts
from adhere.evaluation.reweight.signal import recorded_values
from adhere.rewards.arithmetic import Signal, signal
from adhere.rewards.config import RewardConfig

HOPELESS, FREE = 0.02, 0.98
"""Rates up to and from which a kind without spread is hopeless, or met without being taught."""

ENOUGH = 16
"""Rollouts of a kind below which its rate says too little to call it either."""

Scores = Mapping[str, Sequence[tuple[int, Sequence[float | None]]]]
"""Scores of the requirements of each kind: for each group that asks for it, its number and its completions' scores."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Drawn groups, the reward that they were drawn for, and the figures of both.

    ``values`` (G, N, K) are the components' values after the gates, ``kinds`` the scores of the requirements by the
    kind of constraint, ``prompts`` the groups of a step, which has ``accumulation`` passes, ``finished`` (G, N) whether
    a completion ended by itself.
    """

    rollouts: Rollouts
    config: RewardConfig
    total: int
    prompts: int
    accumulation: int
    kinds: Scores
    finished: np.ndarray
    found: Signal
    values: np.ndarray

    @property
    def groups(self) -> int:
        """Groups that were drawn."""
        return self.rollouts.shape[0]

    @property
    def live(self) -> int:
        """Groups with an advantage."""
        return int(self.found.live.sum())

    @property
    def zero_gradient_share(self) -> float:
        """Expected share of steps without a live group."""
        return dead_step(self.live, self.groups, self.prompts)

    @property
    def weighted(self) -> list[str]:
        """Components with a weight at the first step, which are to be taught."""
        return [name for name, weight in self.config.weights(0, self.total).items() if weight > 0.0]

    def gated(self, name: str) -> np.ndarray:
        """Return a component's values after its gate, (G, N)."""
        found: np.ndarray = self.values[:, :, list(self.config.components).index(name)]
        return found

    def spread_gated(self, name: str) -> float:
        """Return the share of groups in which a component's value after its gate varies: where it can teach."""
        return spread_share(self.gated(name).tolist())

    def without(self, kinds: Sequence[str]) -> np.ndarray:
        """Return which groups (G,) ask for none of ``kinds``."""
        asking = {group for kind in kinds for group, _ in self.kinds[kind]}
        return np.array([group not in asking for group in range(self.groups)])

    def kind_figures(self) -> dict[str, dict[str, Any]]:
        """Return rollouts, rate and spread of each kind, and whether it is ``hopeless``, ``free`` or neither."""
        found = {}
        for kind, groups in sorted(self.kinds.items()):
            scores = [score for _, group in groups for score in group if score is not None]
            rate = float(np.mean(scores)) if scores else math.nan
            spread = spread_share([group for _, group in groups])
            state = "learnable"
            if len(scores) >= ENOUGH and rate <= HOPELESS:
                state = "hopeless"
            elif len(scores) >= ENOUGH and rate >= FREE:
                state = "free"
            found[kind] = {"rollouts": len(scores), "rate": _number(rate), "spread": round(spread, 4), "state": state}
        return found

    def component_figures(self) -> dict[str, dict[str, Any]]:
        """Return rate, spread before and after the gate, weight and share of the advantage of each component."""
        weights = self.config.weights(0, self.total)
        return {
            name: {
                "rate": _mean(scores),
                "spread": round(spread_share(scores.tolist()), 4),
                "spread_gated": round(self.spread_gated(name), 4),
                "weight": weights[name],
                "gate": self.config.gate_of(name),
                "advantage_share": _number(self.found.shares[name]),
            }
            for name, scores in self.rollouts.scores.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values; what is not known is null."""
        correct, followed = self.rollouts.correct, self.rollouts.followed
        lengths = self.rollouts.tokens
        rates = {"accuracy": correct, "hacc": followed, "joint": correct * followed}
        return {
            "groups": self.groups,
            "group_size": self.rollouts.shape[1],
            "prompts_a_step": self.prompts,
            "live_groups": self.live,
            "live_groups_a_step": round(self.live * self.prompts / self.groups, 4),
            "zero_gradient_share": round(self.zero_gradient_share, 6),
            "intervals": interval(self.found.live, self.prompts),
            "unscored": round(float(np.isnan(self.found.rewards).mean()), 4),
            "cut": round(float(1.0 - self.finished.mean()), 4),
            "tokens": {"mean": round(float(lengths.mean()), 2), "longest": int(lengths.max())},
            "rates": {name: _mean(flags) for name, flags in rates.items()},
            "cells": {name: round(cell.advantage, 4) for name, cell in cells(self.found, self.rollouts).items()},
            "components": self.component_figures(),
            "kinds": self.kind_figures(),
        }


def rehearsal_figures(
    rollouts: Rollouts,
    config: RewardConfig,
    *,
    total: int,
    prompts: int,
    accumulation: int,
    kinds: Scores,
    finished: np.ndarray,
) -> Rehearsal:
    """Return the rehearsal of ``config`` on drawn groups.

    Args:
        rollouts: the groups, as a GRPO stage records them.
        config: the reward.
        total: ``grpo.max_steps``, which schedules of weights are shares of.
        prompts: groups of a step.
        accumulation: ``grpo.gradient_accumulation``.
        kinds: scores of the requirements by kind of constraint.
        finished: whether each completion ended by itself, (G, N).
    """
    values, weights_G_K = recorded_values(config, rollouts, total)
    found = signal(config, values, weights_G_K, rollouts.batches)
    return Rehearsal(rollouts, config, total, prompts, accumulation, kinds, finished, found, values)


def _mean(values: np.ndarray) -> float | None:
    return None if np.isnan(values).all() else _number(float(np.nanmean(values)))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
