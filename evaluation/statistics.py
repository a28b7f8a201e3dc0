"""Means with bootstrap intervals, resampled by prompt, or by run and the values within it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CELLS_AT_ONCE = 4_000_000
"""Entries of a table of draws, (resamples, prompts), that are held as numbers at a time."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % (or ``level``) interval.

    ``n`` counts the scored values, ``prompts`` the prompts they belong to, ``unscored`` the values left out
    because they have no score. ``mean``, ``low`` and ``high`` are ``None`` when nothing was scored.

    ``left_out`` is the share that the evaluator failed on (a judge that is down, an error of the machine) among the
    values that apply. ``least`` and ``most`` are what the mean would be if all of these scored 0, and 1: the range that
    it could span. They are ``None`` where no value applies.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    prompts: int
    unscored: int = 0
    left_out: float = 0.0
    least: float | None = None
    most: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The options of every interval: number of resamples, mass inside, seed of the draws."""

    resamples: int = 2000
    level: float = 0.95
    seed: int = 0

    def interval(self, replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the percentile interval of ``replicates`` (B, …), each of shape (…)."""
        tail = (1.0 - self.level) / 2.0
        low, high = np.quantile(replicates, [tail, 1.0 - tail], axis=0)
        return low, high

    def estimate(
        self, values: Sequence[float | None], prompts: Sequence[str], failed: Sequence[bool] | None = None
    ) -> Estimate:
        """Return the mean of ``values`` with a percentile bootstrap interval.

        Whole prompts are resampled, so that several samples of one prompt do not pass for independent evidence. Where
        all values are 0, or all 1, resampling cannot vary and would claim certainty; the open end is then `open_end`.

        Args:
            values: one score a response, in [0, 1]; ``None`` is left out of the mean and counted.
            prompts: the prompt each value belongs to.
            failed: for each value, whether it is ``None`` because the evaluator failed, not because nothing applies;
                never, where it is left out.
        """
        scored = [(value, prompt) for value, prompt in zip(values, prompts, strict=True) if value is not None]
        unscored = len(values) - len(scored)
        known = np.array([value for value, _ in scored])
        lost = sum(failed or ())
        applicable = len(scored) + lost
        left_out = lost / applicable if applicable else 0.0
        least, most = (float(known.sum() + more) / applicable for more in (0, lost)) if applicable else (None, None)
        if not scored:
            return Estimate(None, None, None, 0, 0, unscored, left_out, least, most)
        _, places = np.unique([prompt for _, prompt in scored], return_inverse=True)
        sums_P, counts_P = np.bincount(places, weights=known), np.bincount(places).astype(float)
        mean = float(sums_P.sum() / counts_P.sum())
        if mean in (0.0, 1.0) and (known == mean).all():
            reach = open_end(len(sums_P), 1.0 - self.level)
            low, high = (0.0, reach) if mean == 0.0 else (1.0 - reach, 1.0)
        else:
            low, high = self._ends(sums_P, counts_P)
        return Estimate(mean, low, high, len(scored), len(sums_P), unscored, left_out, least, most)

    def paired_difference(self, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Estimate:
        """Return mean(ours − theirs) over the prompts that both scored, resampled by prompt.

        Keys are prompt ids, values the mean score of a prompt. Pairing takes the difficulty of the prompts out of
        the interval. ``unscored`` counts the prompts that only one side scored. Where both agree on every prompt,
        resampling cannot vary and would claim certainty: the interval is what so many equal prompts leave open.
        """
        shared = sorted(ours.keys() & theirs.keys())
        missing = len(ours.keys() ^ theirs.keys())
        if not shared:
            return Estimate(None, None, None, 0, 0, missing)
        gaps_P = np.array([ours[prompt] - theirs[prompt] for prompt in shared])
        low, high = self._ends(gaps_P, np.ones_like(gaps_P))
        if not gaps_P.any():
            high = open_end(len(shared), 1.0 - self.level)
            low = -high
        return Estimate(float(gaps_P.mean()), low, high, len(shared), len(shared), missing)

    def nested_means(self, runs: Sequence[Sequence[float]], seed: int) -> np.ndarray:
        """Return replicates (B,) of the mean over runs of each run's mean: runs are resampled, then values within each.

        Args:
            runs: the values of each run, at least one a run.
            seed: of the draws; figures that are compared with each other need draws of their own.
        """
        rng = np.random.default_rng(seed)
        total_B = np.zeros(self.resamples)
        for run_B in rng.integers(0, len(runs), size=(len(runs), self.resamples)):
            for number, values in enumerate(runs):
                drawn = np.flatnonzero(run_B == number)
                picks = rng.integers(0, len(values), size=(len(drawn), len(values)))
                total_B[drawn] += np.asarray(values, dtype=float)[picks].mean(axis=1)
        return total_B / len(runs)

    def _ends(self, sums_P: np.ndarray, counts_P: np.ndarray) -> tuple[float, float]:
        rng, size = np.random.default_rng(self.seed), len(sums_P)
        rows = max(1, CELLS_AT_ONCE // size)

        def draws() -> Iterator[np.ndarray]:
            for start in range(0, self.resamples, rows):
                picks = rng.integers(0, size, size=(min(rows, self.resamples - start), size))
                offsets = size * np.arange(len(picks))[:, None]
                yield np.bincount((picks + offsets).ravel(), minlength=picks.size).reshape(picks.shape)

        low, high = self.interval(resampled_means(sums_P[None], counts_P[None], draws())[:, 0])
        return float(low), float(high)


def mean_of_scored(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that were scored, ``None`` where none was."""
    scored = [value for value in values if value is not None]
    return sum(scored) / len(scored) if scored else None


def resampled_means(sums_A_P: np.ndarray, counts_A_P: np.ndarray, draws: Iterable[np.ndarray]) -> np.ndarray:
    """Return the means of A figures over resampled prompts, (B, A); NaN where none of the drawn prompts has a value.

    Args:
        sums_A_P: the sum of a figure's values on each of P prompts.
        counts_A_P: how many values that are.
        draws: how often each prompt was drawn, in blocks of shape (b, P) whose b add up to B.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.concatenate(
            [(drawn @ sums_A_P.T) / (drawn @ counts_A_P.T) for drawn in (block.astype(float) for block in draws)]
        )


def open_end(prompts: int, error: float) -> float:
    """Return how far from 0 or 1 a share may lie where that many prompts all agree (Clopper and Pearson 1934).

    ``error`` is the chance that the interval does not hold it, both ways together.
    """
    return float(1.0 - (error / 2.0) ** (1.0 / prompts))


def prompt_means(values: Sequence[float | None], prompts: Sequence[str]) -> dict[str, float]:
    """Return the mean score of every prompt that has a scored value: the input of `paired_difference`."""
    by_prompt: dict[str, list[float]] = {}
    for value, prompt in zip(values, prompts, strict=True):
        if value is not None:
            by_prompt.setdefault(prompt, []).append(value)
    return {prompt: sum(scores) / len(scores) for prompt, scores in by_prompt.items()}


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Return the unbiased chance that at least one of ``k`` samples is right (arXiv 2107.03374, eq. 1)."""
    if not 1 <= k <= samples:
        raise ValueError(f"k lies in [1, {samples}] for {samples} samples, got {k}")
    wrong = samples - correct
    if wrong < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(wrong + 1, samples + 1)))
