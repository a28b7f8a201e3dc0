"""Every arm against a reference: paired differences with intervals, and what is left of them for many arms at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adhere.evaluation.ablation.resampling import Draws, replicate, runs_behind
from adhere.evaluation.statistics import open_end


@dataclass(frozen=True, slots=True)
class Difference:
    """Arm − reference in one figure, as fractions.

    ``low`` and ``high`` hold the difference with the level's probability, taken alone; ``low_all`` and ``high_all``
    do so for all ``family`` differences at once (max-t). ``p`` is the two-sided bootstrap p-value of no difference, and
    ``p_holm`` the same corrected for the family (Holm 1979). ``runs`` counts the runs that were paired: with 1, no
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

    def not_lower(self, margin: float) -> bool:
        """Whether a loss of ``margin`` points or more is excluded by the simultaneous interval (non-inferiority)."""
        return self.low_all is not None and 100.0 * self.low_all > -margin

    @property
    def sign(self) -> int:
        """1 or −1 where the simultaneous interval lies on one side of 0, else 0."""
        if self.low_all is None or self.high_all is None:
            return 0
        return int(self.low_all > 0.0) - int(self.high_all < 0.0)

    def __str__(self) -> str:
        """Return it in percentage points, as tables and sentences show it."""
        return "n/a" if self.mean is None else f"{100 * self.mean:+.1f} ± {100 * self.half:.1f}"

    @property
    def size(self) -> str:
        """The same without its sign, with the unit."""
        return f"{self} points".lstrip("+-")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def differences(
    arms: Sequence[str], values: np.ndarray, reference: str, draws: Draws, runs: np.ndarray | None = None
) -> list[Difference]:
    """Compare every other arm with ``reference`` on one figure; see `family_differences`.

    Args:
        arms: names, A of them.
        values: (A, R, P), NaN where a score is missing.
        reference: the arm that is subtracted.
        draws: those for A arms and P prompts.
        runs: the run behind each arm and seed, (A, R), −1 for none; ``None`` is a run for each.
    """
    return family_differences(arms, [(values, draws)], reference, runs)[0]


def family_differences(
    arms: Sequence[str],
    parts: Sequence[tuple[np.ndarray, Draws]],
    reference: str,
    runs: np.ndarray | None = None,
) -> list[list[Difference]]:
    """Compare every other arm with ``reference`` on several figures that are one family, a list of each.

    Prompts and seeds are paired: a prompt of a seed counts where both arms have a score. Where two arms agree on every
    prompt, resampling cannot vary and would claim certainty; the interval is then what so many equal prompts leave
    open (Clopper-Pearson, both ways).

    Args:
        arms: names, A of them.
        parts: for each figure its values (A, R, P), and draws for its prompts; all of one bootstrap.
        reference: the arm that is subtracted.
        runs: the run behind each arm and seed, (A, R), −1 for none; ``None`` is a run for each.
    """
    base = arms.index(reference)
    others = [i for i in range(len(arms)) if i != base]
    if not others:
        return [[] for _ in parts]
    bootstrap = parts[0][1].bootstrap
    found = [replicate(values, draws, base, runs) for values, draws in parts]
    means = np.concatenate([one.means[others] for one in found])
    deviations = np.concatenate([(one.draws - one.means)[:, others] for one in found], axis=1)
    known = ~np.isnan(means)
    family = int(known.sum())
    p, corrected = np.full((2, len(means)), math.nan)
    reached = np.abs(deviations[:, known]) >= np.abs(means[known]) - 1e-12
    p[known] = (1.0 + reached.sum(axis=0)) / (1.0 + len(deviations))
    corrected[known] = holm(p[known])
    half = np.zeros(len(means))
    half[known] = simultaneous(deviations[:, known], bootstrap.level)
    low, high = bootstrap.interval(deviations)
    figures = iter(np.stack([means, means + low, means + high, means - half, means + half, p, corrected], axis=1))

    result: list[list[Difference]] = []
    for values, _ in parts:
        rows, made = [], runs_behind(values, runs)
        for i in others:
            row: list[Any] = next(figures).tolist()
            gap = values[i] - values[base]
            there = ~np.isnan(gap)
            prompts, paired = int(there.any(axis=0).sum()), paired_runs(made[i], made[base])
            if not prompts:
                row, paired = [None] * len(row), 0
            elif not gap[there].any():
                alone, together = (open_end(prompts, (1.0 - bootstrap.level) / n) for n in (1, family))
                row[1:5] = -alone, alone, -together, together
            named = dict(zip(("mean", "low", "high", "low_all", "high_all", "p", "p_holm"), row, strict=True))
            rows.append(Difference(arms[i], reference, **named, prompts=prompts, runs=paired, family=family))
        result.append(rows)
    return result


def paired_runs(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Count the runs behind a difference, over the seeds that both sides have; the runs of each seed are (R,), −1 none.

    A side that several seeds share, such as the base model, does not limit them.
    """
    both = (ours >= 0) & (theirs >= 0)
    counts = [len(set(side[both].tolist())) for side in (ours, theirs)]
    return min((n for n in counts if n > 1), default=min(counts))


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
