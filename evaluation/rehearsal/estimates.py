"""Estimates from drawn groups: how likely a step without gradient is, and what groups of another size would hold.

A group is *live* where its completions do not all earn the same. G groups were drawn, L of them live; a step takes p.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
CONCENTRATIONS = np.geomspace(0.02, 200.0, 80)
"""Candidates for how alike prompts are, from all-or-nothing to all the same."""


def dead_step(live: int, groups: int, prompts: int) -> float:
    """Return the probability that none of a step's groups is live.

    Up to as many prompts as groups this is the share of choices of ``prompts`` groups without a live one, which is
    unbiased for (1 − q)^p of independent groups; above, the plug-in estimate.

    Args:
        live: groups with a gradient, up to ``groups``.
        groups: groups drawn, at least 1.
        prompts: groups of a step, at least 1.
    """
    if prompts <= groups:
        return comb(groups - live, prompts) / comb(groups, prompts)
    return (1.0 - live / groups) ** prompts


def interval(live_G: np.ndarray, prompts: int, *, seed: int = 0) -> dict[str, list[float]]:
    """Return 95 % intervals of the live groups a step and of the share of dead steps, by a bootstrap over groups."""
    draw = np.random.default_rng(seed)
    counts = draw.binomial(len(live_G), live_G.mean(), RESAMPLES)  # resampling flags with replacement, counted
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    dead = [dead_step(int(count), len(live_G), prompts) for count in counts]
    return {
        "live_groups_a_step": np.quantile(counts * prompts / len(live_G), edges).round(4).tolist(),
        "zero_gradient_share": np.quantile(dead, edges).round(4).tolist(),
    }


def live_share(values_G_N: np.ndarray, size: int) -> float:
    """Return the share of groups that would be live with ``size`` completions; NaN counts as no completion.

    Up to the size that was drawn it is exact: over all subsets of each group. Above, prompts are taken to draw each
    value with probabilities of their own, which scatter around the pooled ones as a Dirichlet distribution does; how
    widely is fitted by maximum likelihood to the groups (empirical Bayes), and a new prompt's group is asked for.
    """
    counts = [Counter(row[~np.isnan(row)].round(6).tolist()) for row in values_G_N]
    counts = [count for count in counts if count]
    if not counts:
        return 0.0
    if size <= values_G_N.shape[1]:
        return float(np.mean([1.0 - _equal_subsets(count, size) for count in counts])) * len(counts) / len(values_G_N)
    pooled = sum(counts, Counter())
    total = sum(pooled.values())
    base = {value: n / total for value, n in pooled.items()}
    likelihoods = [sum(_log_polya(count, base, a) for count in counts) for a in CONCENTRATIONS]
    spread = float(CONCENTRATIONS[int(np.argmax(likelihoods))])
    places = np.arange(size)
    equal = sum(float(np.exp(np.log((spread * share + places) / (spread + places)).sum())) for share in base.values())
    return (1.0 - equal) * len(counts) / len(values_G_N)


def spread_share(groups: Sequence[Sequence[float | None]]) -> float:
    """Return the share of groups in which two scores differ; groups without two scores count as flat."""
    live = 0
    for group in groups:
        scores = [score for score in group if score is not None and not np.isnan(score)]
        live += len(scores) > 1 and max(scores) - min(scores) > 1e-9
    return live / len(groups) if groups else 0.0


def _equal_subsets(count: Counter[float], size: int) -> float:
    drawn = sum(count.values())
    size = min(size, drawn)
    return sum(comb(n, size) for n in count.values()) / comb(drawn, size)


def _log_polya(count: Counter[float], base: dict[float, float], concentration: float) -> float:
    """Return the log-likelihood of one group's ordered values under the Dirichlet of ``concentration`` and ``base``."""
    drawn = sum(count.values())
    total = -float(np.log(concentration + np.arange(drawn)).sum())
    for value, n in count.items():
        total += float(np.log(concentration * base[value] + np.arange(n)).sum())
    return total
