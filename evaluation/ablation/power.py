"""How small a difference an ablation can tell from none, before it runs: from its prompts, its seeds and its arms.

The differences are those of `differences`: paired by prompt and seed, with intervals that hold for all arms at once.
Assumed is what is not known before a run: how many prompts two models answer differently, and how much runs vary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DISAGREE = 0.3
"""Share of the prompts that one run of each of two arms answers differently; averaging seeds takes up to half of it."""

BETWEEN_RUNS = (0.01, 0.05)
"""Standard deviation of a rate between runs of one arm, low and high, as fractions."""

POWER, LEVEL, DRAWS = 0.8, 0.95, 40_000


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an ablation can tell apart, as fractions.

    ``half`` is what follows ± where two arms are compared; ``detectable`` is the difference that is told from none in
    `POWER` of the ablations.
    """

    half: float
    detectable: float


def resolution(prompts: int, seeds: int, arms: int, between: float) -> Resolution:
    """Return what an ablation can resolve.

    The part of the runs is Student's t with (arms − 1)·(seeds − 1) degrees of freedom, as in the analysis.

    Args:
        prompts: those of the evaluation, at least one.
        seeds: runs of each arm, at least two: one says nothing of the variation between runs.
        arms: two or more; all are compared with one of them.
        between: standard deviation of a rate between runs of one arm, a fraction.
    """
    if seeds < 2 or arms < 2 or prompts < 1:
        raise ValueError(f"a resolution needs two seeds, two arms and a prompt; got {seeds}, {arms} and {prompts}")
    # Of each arm, so that a difference has twice the variance.
    by_prompts = DISAGREE * (0.5 + 0.5 / seeds) / prompts / 2.0
    by_runs = between**2 / seeds
    freedom = (arms - 1) * (seeds - 1)
    rng = np.random.default_rng(0)
    scale_B = np.sqrt(freedom / rng.chisquare(freedom, size=DRAWS))
    prompts_B_A, runs_B_A = rng.standard_normal((2, DRAWS, arms))
    moved_B_A = prompts_B_A * np.sqrt(by_prompts) + runs_B_A * np.sqrt(by_runs) * scale_B[:, None]
    half = float(np.quantile(np.abs(moved_B_A[:, 1:] - moved_B_A[:, :1]).max(axis=1), LEVEL))
    reach = float(np.quantile(prompts_B_A[:, 0], POWER))
    return Resolution(half, half + reach * float(np.sqrt(2.0 * (by_prompts + by_runs))))
