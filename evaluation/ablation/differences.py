"""Every arm against a reference: paired differences with intervals, and what is left of them for many arms at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adhere.evaluation.ablation.resampling import Draws, replicate_gaps, runs


@dataclass(frozen=True, slots=True)
class Difference:
    """Arm − reference in one figure, as fractions.

    ``low`` and ``high`` hold the difference with the level's probability, taken alone; ``low_all`` and ``high_all``
    do so for all ``family`` differences at once (max-t). ``p`` is the two-sided bootstrap p-value of no difference, and
    ``p_holm`` the same corrected for the family (Holm 1979). ``runs`` counts the seeds that were paired: with 1, no
    interval holds the variation between runs. All are ``None`` where nothing was scored by both.
    """

    arm: str
    reference: str
    mean: float | None
    low: float | None
    high: float | None
    low_all: float | None
    high_all: float | None
    p: float | None
    p_holm: float | None
    prompts: int
    runs: int
    family: int

    @property
    def half(self) -> float:
        """Half the width of the simultaneous interval, the figure behind ±."""
        return math.nan if self.low_all is None or self.high_all is None else (self.high_all - self.low_all) / 2.0

    @property
    def sign(self) -> int:
        """1 or −1 where the simultaneous interval lies on one side of 0, else 0."""
        if self.low_all is None or self.high_all is None:
            return 0
        return int(self.low_all > 0.0) - int(self.high_all < 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def differences(
    arms: Sequence[str], values: np.ndarray, reference: str, draws: Draws, level: float = 0.95
) -> list[Difference]:
    """Compare every other arm with ``reference`` on one figure, ``values`` (A, R, P); see `family_differences`."""
    return family_differences(arms, [(values, draws)], reference, level)[0]


def family_differences(
    arms: Sequence[str], parts: Sequence[tuple[np.ndarray, Draws]], reference: str, level: float = 0.95
) -> list[list[Difference]]:
    """Compare every other arm with ``reference`` on several figures that are one family, a list of each.

    Prompts and seeds are paired: a prompt of a seed counts where both arms have a score. Where two arms agree on every
    prompt, resampling cannot vary and would claim certainty; the interval is then what so many equal prompts leave
    open (Clopper-Pearson, both ways).

    Args:
        arms: names, A of them.
        parts: for each figure its values (A, R, P), and draws for its prompts.
        reference: the arm that is subtracted.
        level: mass inside an interval.
    """
    base = arms.index(reference)
    others = [i for i in range(len(arms)) if i != base]
    if not others:
        return [[] for _ in parts]
    gaps = [values[others] - values[base] for values, _ in parts]
    found = [replicate_gaps(values, base, draws) for values, draws in parts]
    means = np.concatenate([one.means[others] for one in found])
    deviations = np.concatenate([(one.draws - one.means)[:, others] for one in found], axis=1)
    known = ~np.isnan(means)
    p, corrected = np.full((2, len(means)), math.nan)
    reached = np.abs(deviations[:, known]) >= np.abs(means[known]) - 1e-12
    p[known] = (1.0 + reached.sum(axis=0)) / (1.0 + len(deviations))
    corrected[known] = holm(p[known])
    half = np.zeros(len(means))
    half[known] = simultaneous(deviations[:, known], level)
    tail = (1.0 - level) / 2.0
    low, high = means + np.quantile(deviations, [tail, 1.0 - tail], axis=0)
    figures = np.stack([means, low, high, means - half, means + half, p, corrected], axis=1)
    rows = iter(figures)
    common = [[_paired(values[i], values[base]) for i in others] for values, _ in parts]
    return [
        [
            _difference((arms[i], reference), gap[k], next(rows), counts[k], int(known.sum()), level)
            for k, i in enumerate(others)
        ]
        for gap, counts in zip(gaps, common, strict=True)
    ]


def _difference(
    names: tuple[str, str], gap: np.ndarray, figures: np.ndarray, paired: int, family: int, level: float
) -> Difference:
    """Put one difference together; ``gap`` (R, P) is what it is the mean of."""
    there = ~np.isnan(gap)
    if not there.any():
        return Difference(*names, None, None, None, None, None, None, None, prompts=0, runs=0, family=family)
    mean, low, high, low_all, high_all, p, corrected = (float(figure) for figure in figures)
    prompts = int(there.any(axis=0).sum())
    if not gap[there].any():
        alone, together = _open_end(prompts, 1.0 - level), _open_end(prompts, (1.0 - level) / family)
        low, high, low_all, high_all = -alone, alone, -together, together
    return Difference(
        *names, mean, low, high, low_all, high_all, p, corrected, prompts=prompts, runs=paired, family=family
    )


def _paired(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Count the runs behind a difference; a side that all seeds share, such as the base model, does not limit them."""
    counts = [runs(rows) for rows in (ours, theirs)]
    own = [n for n, rows in zip(counts, (ours, theirs), strict=True) if n != 1 or np.isnan(rows).all(axis=1).any()]
    return min(own) if own and len(ours) > 1 else min(counts)


def _open_end(prompts: int, error: float) -> float:
    return float(1.0 - (error / 2.0) ** (1.0 / prompts))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number by Holm's step-down rule (Scand. J. Statist. 6:65, 1979), in order.

    The k-th smallest of m is multiplied by m − k + 1; a larger one never gets below a smaller one, nor above 1.
    """
    given = np.asarray(p, dtype=float)
    order = np.argsort(given, kind="stable")
    stepped = given[order] * np.arange(len(given), 0, -1)
    found = np.empty(len(given))
    found[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return found


def simultaneous(deviations: np.ndarray, level: float) -> np.ndarray:
    """Return the half-widths of intervals that all hold at once, (A,), from the replicates' deviations (B, A).

    Every deviation is measured in its own scale, half the width of its central 68.3 %, which exists where a variance
    does not (two seeds); the level's quantile of the largest is the common factor (max-t, Westfall and Young 1993).
    """
    low, high = np.quantile(deviations, [0.1587, 0.8413], axis=0)
    scale = (high - low) / 2.0
    moving = scale > 0.0
    if not moving.any():
        return np.zeros(deviations.shape[1])
    largest = np.max(np.abs(deviations[:, moving]) / scale[moving], axis=1)
    return np.where(moving, scale * float(np.quantile(largest, level)), 0.0)
