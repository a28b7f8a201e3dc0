"""Means with bootstrap intervals, resampled by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % (or ``level``) interval.

    ``n`` counts the scored values, ``prompts`` the prompts they belong to, ``unscored`` the values left out
    because they could not be scored. ``mean``, ``low`` and ``high`` are ``None`` when nothing was scored.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    prompts: int
    unscored: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def estimate(
    values: Sequence[float | None],
    prompts: Sequence[str],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return the mean of ``values`` with a percentile bootstrap interval.

    Args:
        values: one score a response, in [0, 1]; ``None`` is left out of the mean and counted.
        prompts: the prompt each value belongs to. Whole prompts are resampled, so that several samples of one prompt
            do not pass for independent evidence.
        resamples: bootstrap draws.
        level: mass inside the interval.
        seed: fixes the draws.

    Where all values are 0, or all 1, resampling cannot vary and would claim certainty; the open end is then
    the Clopper-Pearson bound for as many prompts.
    """
    scored = [(value, prompt) for value, prompt in zip(values, prompts, strict=True) if value is not None]
    unscored = len(values) - len(scored)
    if not scored:
        return Estimate(None, None, None, 0, 0, unscored)
    sums, counts = _by_prompt(scored)
    mean = float(sums.sum() / counts.sum())
    low, high = _interval(sums, counts, resamples, level, seed)
    if mean in (0.0, 1.0) and len({value for value, _ in scored}) == 1:
        reach = 1.0 - ((1.0 - level) / 2.0) ** (1.0 / len(sums))
        low, high = (0.0, reach) if mean == 0.0 else (1.0 - reach, 1.0)
    return Estimate(mean, low, high, len(scored), len(sums), unscored)


def paired_difference(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return mean(ours − theirs) over the prompts that both scored, resampled by prompt.

    Keys are prompt ids, values the mean score of a prompt. Pairing takes the difficulty of the prompts out of
    the interval. ``unscored`` counts the prompts that only one side scored.
    """
    shared = sorted(ours.keys() & theirs.keys())
    missing = len(ours.keys() ^ theirs.keys())
    if not shared:
        return Estimate(None, None, None, 0, 0, missing)
    gaps = np.array([ours[prompt] - theirs[prompt] for prompt in shared])
    low, high = _interval(gaps, np.ones_like(gaps), resamples, level, seed)
    return Estimate(float(gaps.mean()), low, high, len(shared), len(shared), missing)


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


def _by_prompt(scored: Sequence[tuple[float, str]]) -> tuple[np.ndarray, np.ndarray]:
    _, index = np.unique([prompt for _, prompt in scored], return_inverse=True)
    weights = np.array([value for value, _ in scored])
    return np.bincount(index, weights=weights), np.bincount(index).astype(float)


def _interval(sums: np.ndarray, counts: np.ndarray, resamples: int, level: float, seed: int) -> tuple[float, float]:
    """Percentile interval of Σ sums / Σ counts over resampled prompts; both have shape (P,)."""
    rng = np.random.default_rng(seed)
    rows_at_once = max(1, CELLS_AT_ONCE // len(sums))
    means: list[np.ndarray] = []
    for start in range(0, resamples, rows_at_once):
        picks = rng.integers(0, len(sums), size=(min(rows_at_once, resamples - start), len(sums)))
        means.append(sums[picks].sum(axis=1) / counts[picks].sum(axis=1))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return float(low), float(high)
