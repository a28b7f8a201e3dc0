"""Resampling of prompts and seeds together: the replicates that every interval of an ablation is read from.

A figure is a mean over prompts and over seeds, which are crossed: every seed meets every prompt. Prompts are resampled
with replacement, the same ones for all arms and seeds, so that arms stay paired. Of seeds there are few. Resampling
three of them knows ten samples, and its variance is too small by a factor (R − 1)/R; and resampling both factors
outright counts the noise of single responses three times (Owen 2007, "The pigeonhole bootstrap", arXiv 0712.1111). So
the seeds' part is drawn otherwise:

- The deviations of the seeds' means get Gaussian multipliers, common to all arms, scaled so that their variance is
  s²/R, and each draw is divided by √(χ²/(R − 1)): the sum is Student's t with R − 1 degrees of freedom, as it has to be
  where three numbers say how much runs vary.
- Seeds' means also differ by the noise of responses, which the prompts' part holds already. The deviations are shrunk
  by the share of their variance that this noise explains (Davison and Hinkley 1997, section 3.8), but not to nothing:
  with few seeds the estimate of that share is itself loose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Draws:
    """B draws for P prompts and R seeds, used for all arms and metrics alike.

    ``prompts`` (B, P) counts how often a prompt was drawn. ``seeds`` (B, R) are the multipliers, and ``scales`` (B, R)
    in column d − 1 what makes them Student's t with d degrees of freedom.
    """

    prompts: np.ndarray
    seeds: np.ndarray
    scales: np.ndarray

    @classmethod
    def make(cls, prompts: int, seeds: int, resamples: int, seed: int) -> Draws:
        """Return ``resamples`` draws that depend on nothing but the arguments."""
        rng = np.random.default_rng(seed)
        multipliers = rng.standard_normal((resamples, seeds))
        freedom = np.arange(1, max(2, seeds))
        scales = np.sqrt(freedom / rng.chisquare(freedom, size=(resamples, len(freedom))))
        counts = rng.multinomial(prompts, np.full(prompts, 1.0 / prompts), size=resamples).astype(np.uint16)
        return cls(counts, multipliers, scales)

    def part(self, places: np.ndarray) -> Draws:
        """Return the same draws for the prompts at ``places`` alone, so that parts of a table move together."""
        return Draws(self.prompts[:, places], self.seeds, self.scales)

    def first(self, resamples: int) -> Draws:
        """Return the first draws alone."""
        return Draws(self.prompts[:resamples], self.seeds[:resamples], self.scales[:resamples])


@dataclass(frozen=True, slots=True)
class Replicates:
    """The means of A arms, (A,), and their B replicates, (B, A). An arm without any value is NaN."""

    means: np.ndarray
    draws: np.ndarray


def replicate(values: np.ndarray, draws: Draws) -> Replicates:
    """Return the mean over seeds and prompts of ``values`` (A, R, P), NaN where there is none, with its replicates."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    sums, counts = filled.sum(axis=1), known.sum(axis=1).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums.sum(axis=1) / counts.sum(axis=1)
        parts = []
        rows = max(1, CELLS_AT_ONCE // values.shape[2])
        for start in range(0, len(draws.prompts), rows):
            picked = draws.prompts[start : start + rows].astype(float)
            parts.append((picked @ sums.T) / (picked @ counts.T))
    found = np.concatenate(parts)
    found = np.where(np.isnan(found), means, found) + _seed_part(values, known, draws)
    return Replicates(means, found)


def _seed_part(values: np.ndarray, known: np.ndarray, draws: Draws) -> np.ndarray:
    """Return what the choice of seeds adds to each replicate, (B, A); nothing for an arm with one run."""
    part = np.zeros((len(draws.seeds), len(values)))
    for a, (rows, there) in enumerate(zip(values, known, strict=True)):
        runs = np.flatnonzero(there.any(axis=1))
        if len(runs) < 2:
            continue
        means = np.array([rows[r][there[r]].mean() for r in runs])
        spread = means - means.mean()
        if not spread.any():
            continue
        weights = draws.seeds[:, runs] * draws.scales[:, [len(runs) - 2]]
        shrunk = _shrinkage(rows[runs], float(spread @ spread) / (len(runs) - 1))
        part[:, a] = (weights @ spread) * shrunk / np.sqrt(len(runs) * (len(runs) - 1))
    return part


FLOOR = 0.5
"""Least shrinkage of the seeds' deviations: their variance keeps a quarter, however much of it responses explain."""


def _shrinkage(rows: np.ndarray, variance: float) -> float:
    """Return the factor on the seeds' deviations that leaves their variance without the noise of the responses.

    That noise is the mean square of the interaction of seeds and prompts, on prompts that all seeds have, over P.
    """
    whole = rows[:, ~np.isnan(rows).any(axis=0)]
    runs, prompts = whole.shape
    if prompts < 2:
        return 1.0
    rest = whole - whole.mean(axis=1, keepdims=True) - whole.mean(axis=0) + whole.mean()
    noise = float((rest**2).sum()) / ((runs - 1) * (prompts - 1)) / prompts
    return float(np.sqrt(max(FLOOR**2, 1.0 - noise / variance)))
