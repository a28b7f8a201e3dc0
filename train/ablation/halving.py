"""Successive halving of an ablation's points by their joint rate in training, with what it saves and what it risks.

Source of the scheme: Jamieson and Talwalkar, arXiv 1502.07943. Stages resume exactly, so that a point which survives is
trained as it would have been without halving.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from adhere.records.jsonl import read_jsonl
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.ablation import HalvingConfig

RESAMPLES = 2000
RATES = ("rates/joint", "rates/accuracy", "rates/hacc")
"""What points are ranked by: the first of these that training logs."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What was decided at one rung: each point's rate, which went on, and how sure that choice is.

    ``risk`` is the share of bootstrap resamples, over seeds and generations, in which a point that was ended has a
    higher rate than the weakest that went on.
    """

    step: int
    rates: Mapping[str, float]
    kept: tuple[str, ...]
    ended: tuple[str, ...]
    risk: float

    def to_dict(self) -> dict[str, object]:
        """Return the rung as plain values."""
        return {
            "step": self.step,
            "rates": dict(self.rates),
            "kept": list(self.kept),
            "ended": list(self.ended),
            "risk": self.risk,
        }


def rung_steps(config: HalvingConfig, total: int) -> list[int]:
    """Return the optimizer steps at which points are compared, of ``total``; rungs that fall together are one."""
    return sorted({min(max(1, math.ceil(rung * total)), total) for rung in config.rungs} - {total})


def check_rungs(config: HalvingConfig, total: int, logging_steps: int, points: int) -> None:
    """Meet before training what would leave a rung with nothing to compare.

    Raises:
        ConfigError: there is one point, no rung before the end, or no logged step in the window before a rung.
    """
    if points < 2:
        raise ConfigError("ablation.halving: there is one point, and nothing to end early; set it to null")
    rungs = rung_steps(config, total)
    if not rungs:
        raise ConfigError(
            f"ablation.halving: no rung lies before the end of grpo.max_steps={total}; raise it, or set halving to null"
        )
    for step in rungs:
        if step // logging_steps == max(0, _before(config, step, total)) // logging_steps:
            raise ConfigError(
                f"ablation.halving: grpo.logging_steps={logging_steps} logs nothing in the window before the rung at "
                f"step {step}; lower it, or widen ablation.halving.window"
            )


def decide(config: HalvingConfig, step: int, total: int, curves: Mapping[str, Sequence[Path]], seed: int = 0) -> Rung:
    """Choose the points that go on at ``step``.

    Args:
        config: how many are kept, and over how many steps the rate is averaged.
        step: the optimizer step that every point has reached.
        total: optimizer steps of the whole stage.
        curves: for each point the ``metrics.jsonl`` of each of its seeds.
        seed: of the bootstrap.

    Raises:
        DataError: a point has logged no rate up to ``step``.
    """
    first = _before(config, step, total)
    found = {point: [_rates(path, first, step) for path in paths] for point, paths in curves.items()}
    rates = {point: fmean(fmean(values) for values in seeds) for point, seeds in found.items()}
    ranked = sorted(rates, key=lambda point: -rates[point])
    kept = ranked[: max(1, math.ceil(config.keep * len(ranked)))]
    ended = ranked[len(kept) :]
    return Rung(step, rates, tuple(kept), tuple(ended), _risk(found, kept[-1], ended, random.Random(seed)))


def _before(config: HalvingConfig, step: int, total: int) -> int:
    """Return the last step that is too early to count at the rung at ``step``."""
    return step - max(1, math.ceil(config.window * total))


def _rates(path: Path, first: int, last: int) -> list[float]:
    """Return the rate of every logged step in (``first``, ``last``]."""
    rows = read_jsonl(path).rows
    for name in RATES:
        values = [row[name] for row in rows if first < row["step"] <= last and row.get(name) is not None]
        values = [value for value in values if not math.isnan(value)]
        if values:
            return values
    raise DataError(
        f"{path}: holds no {RATES[0]} for steps {first + 1} to {last}, so that this point cannot be compared; "
        f"lower grpo.logging_steps, or widen ablation.halving.window"
    )


def _risk(
    found: Mapping[str, Sequence[Sequence[float]]], weakest: str, ended: Sequence[str], rng: random.Random
) -> float:
    if not ended:
        return 0.0
    beaten = 0
    for _ in range(RESAMPLES):
        bar = _resampled(found[weakest], rng)
        beaten += any(_resampled(found[point], rng) > bar for point in ended)
    return beaten / RESAMPLES


def _resampled(seeds: Sequence[Sequence[float]], rng: random.Random) -> float:
    return fmean(fmean(rng.choices(values, k=len(values))) for values in rng.choices(seeds, k=len(seeds)))
