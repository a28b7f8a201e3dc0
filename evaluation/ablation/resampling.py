"""Resampling of prompts and seeds together: the replicates that every interval of an ablation is read from.

A figure is a mean over prompts and over seeds, which are crossed: every seed meets every prompt. Prompts are resampled
with replacement, the same ones for all arms and seeds, so that arms stay paired. Seeds are few. Resampling
three of them knows ten samples, and its variance is too small by a factor (R − 1)/R; and resampling both factors
outright counts the noise of single responses three times (Owen 2007, "The pigeonhole bootstrap", arXiv 0712.1111). So
the seeds' part is a parametric bootstrap of a two-way model: the mean of arm a under seed r is the arm's own, plus what
the seed does to all arms (it cancels where two arms with seeds are compared), plus what it does only to this arm.

- The last part's variance is the mean square of the arm × seed interaction, pooled over the arms, as in an analysis of
  a blocked design. An arm whose runs vary more than that (one of three collapsed) keeps its own.
- Seeds' means also differ by the noise of responses, which the prompts' part holds already. It is taken off (Davison
  and Hinkley 1997, section 3.8), but a quarter of the variance stays: with few seeds the estimate is itself loose.
- Each draw is divided by √(χ²/d), d the degrees of freedom of the variance: the part is Student's t, as it has to be
  where three numbers say how much runs vary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adhere.evaluation.statistics import CELLS_AT_ONCE, Bootstrap, open_end, resampled_means


@dataclass(frozen=True, slots=True)
class Draws:
    """B draws for A arms, R seeds and P prompts, used for all figures alike.

    ``prompts`` (B, P) counts how often a prompt was drawn. ``arms`` (B, A) and ``common`` (B,) are standard normal:
    what choosing other seeds does to each arm, and to all of them alike. ``bootstrap`` made them.
    """

    prompts: np.ndarray
    arms: np.ndarray
    common: np.ndarray
    bootstrap: Bootstrap

    @classmethod
    def make(cls, arms: int, prompts: int, bootstrap: Bootstrap) -> Draws:
        """Return draws that depend on nothing but the arguments."""
        rng = np.random.default_rng(bootstrap.seed)
        normal = rng.standard_normal((bootstrap.resamples, arms + 1))
        counts = rng.multinomial(prompts, np.full(prompts, 1.0 / prompts), size=bootstrap.resamples).astype(np.uint16)
        return cls(counts, normal[:, :arms], normal[:, arms], bootstrap)

    def part(self, places: np.ndarray) -> Draws:
        """Return the same draws for only the prompts at ``places``, so that parts of a table move together."""
        return Draws(self.prompts[:, places], self.arms, self.common, self.bootstrap)

    def first(self, resamples: int) -> Draws:
        """Return only the first draws."""
        return Draws(self.prompts[:resamples], self.arms[:resamples], self.common[:resamples], self.bootstrap)

    def scales(self, freedom: int) -> np.ndarray:
        """Return √(d/χ²), (B,), for d degrees of freedom: what makes a normal draw Student's t."""
        rng = np.random.default_rng([self.bootstrap.seed, freedom])
        return np.sqrt(freedom / rng.chisquare(freedom, size=len(self.common)))


@dataclass(frozen=True, slots=True)
class Replicates:
    """The means of A arms, (A,), and their B replicates, (B, A). An arm without any value is NaN."""

    means: np.ndarray
    draws: np.ndarray


def replicate(
    values: np.ndarray, draws: Draws, base: int | None = None, runs: np.ndarray | None = None
) -> Replicates:  # fmt: skip
    """Return the means over seeds and prompts with their replicates.

    Args:
        values: (A, R, P), NaN where a score is missing.
        draws: those for A arms and P prompts.
        base: the arm whose difference from every arm is wanted instead, over what both have scored.
        runs: the number of the run behind each arm and seed, (A, R), −1 for none; ``None`` is a run for each.
    """
    seeds_B_A = seed_part(values, draws, runs)
    if base is not None:
        values, seeds_B_A = values - values[base], seeds_B_A - seeds_B_A[:, [base]]
    known = ~np.isnan(values)
    sums_A_P, counts_A_P = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means_A = sums_A_P.sum(axis=1) / counts_A_P.sum(axis=1)
    rows = max(1, CELLS_AT_ONCE // values.shape[2])
    blocks = (draws.prompts[start : start + rows] for start in range(0, len(draws.prompts), rows))
    found_B_A = resampled_means(sums_A_P, counts_A_P, blocks)
    return Replicates(means_A, np.where(np.isnan(found_B_A), means_A, found_B_A) + seeds_B_A)


def own_intervals(values: np.ndarray, found: Replicates, bootstrap: Bootstrap) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of each arm's own interval, (A,) each and in [0, 1].

    Where all scores of an arm are 0, or all 1, resampling cannot vary and would claim certainty; the open end is then
    `statistics.open_end`.
    """
    low, high = np.clip(bootstrap.interval(found.draws), 0.0, 1.0)
    for arm, mean in enumerate(found.means):
        if mean in (0.0, 1.0):
            prompts = int((~np.isnan(values[arm])).any(axis=0).sum())
            reach = open_end(prompts, 1.0 - bootstrap.level)
            low[arm], high[arm] = (0.0, reach) if mean == 0.0 else (1.0 - reach, 1.0)
    return low, high


LEAST = 0.25
"""Share of the variance between seeds that always stays, however much of it the noise of responses explains."""


def seed_part(values: np.ndarray, draws: Draws, runs: np.ndarray | None = None) -> np.ndarray:
    """Return what the choice of seeds adds to each replicate, (B, A); nothing for an arm with a single run.

    ``values`` and ``runs`` are those of `replicate`.
    """
    part = np.zeros((len(draws.common), len(values)))
    counts = np.array([len(set(row[row >= 0].tolist())) for row in runs_behind(values, runs)])
    several = np.flatnonzero(counts > 1)
    if not len(several):
        return part
    known = ~np.isnan(values[several])
    cells = known.sum(axis=2)
    with np.errstate(invalid="ignore"):
        means = np.where(known, values[several], 0.0).sum(axis=2) / cells
    own = means - np.nanmean(means, axis=1, keepdims=True)
    by_seed = np.nansum(own, axis=0) / np.maximum((cells > 0).sum(axis=0), 1)
    freedom = int((cells > 0).sum()) - len(several) - int((cells > 0).any(axis=0).sum()) + 1
    noise = float(np.mean([response_noise(values[a]) for a in several]))
    shared_freedom = int((cells > 0).any(axis=0).sum()) - 1
    shared = float(np.nansum(by_seed**2)) / shared_freedom
    if freedom > 0:
        rest = own - by_seed
        pooled = float(np.nansum(rest**2)) / freedom
        alone = np.nansum(rest**2, axis=1) / (counts[several] - 1)
        variances = np.maximum(pooled, alone)
        variances = np.maximum(variances - noise, LEAST * variances)
        part[:, several] = draws.arms[:, several] * np.sqrt(variances / counts[several])
        part[:, several] *= draws.scales(freedom)[:, None]
        shared = max(0.0, shared - pooled / len(several))
    else:
        shared = max(shared - noise, LEAST * shared)
    common = draws.common * draws.scales(shared_freedom)
    part[:, several] += common[:, None] * np.sqrt(shared / counts[several])
    return part


def runs_behind(values: np.ndarray, runs: np.ndarray | None = None) -> np.ndarray:
    """Return the number of the run behind each arm and seed, (A, R); −1 where it has no score in ``values`` (A, R, P).

    Runs are told apart by ``runs``, not by what they scored: two of them may agree on every prompt.
    """
    known = np.arange(values.shape[0] * values.shape[1]).reshape(values.shape[:2]) if runs is None else runs
    return np.where(np.isnan(values).all(axis=2), -1, known)


def response_noise(rows: np.ndarray) -> float:
    """Return what the noise of responses adds to the variance between the means of seeds, rows (R, P).

    It is the mean square of the interaction of seeds and prompts, on the prompts that all seeds have, over P.
    """
    rows = rows[~np.isnan(rows).all(axis=1)]
    whole = rows[:, ~np.isnan(rows).any(axis=0)]
    seeds, prompts = whole.shape
    if prompts < 2:
        return 0.0
    rest = whole - whole.mean(axis=1, keepdims=True) - whole.mean(axis=0) + whole.mean()
    return float((rest**2).sum()) / ((seeds - 1) * (prompts - 1)) / prompts
