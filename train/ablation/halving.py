"""Successive halving of an ablation's points by their joint rate in training, with what it saves and what it risks.

Source of the scheme: Jamieson and Talwalkar, arXiv 1502.07943. Stages resume exactly, so that a point which survives is
trained as it would have been without halving.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from adhere.evaluation.statistics import Bootstrap
from adhere.records.course import Rung
from adhere.records.jsonl import read_jsonl
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.ablation import HalvingConfig

RATES = ("rates/joint", "rates/accuracy", "rates/hacc")
"""What points are ranked by: the first of these that training logs."""


def rung_steps(config: HalvingConfig, total: int) -> list[int]:
    """Return the optimizer steps at which points are compared, of ``total``; rungs that fall together are one."""
    return sorted({min(max(1, math.ceil(rung * total)), total) for rung in config.rungs} - {total})


def check_rungs(config: HalvingConfig, total: int, logging_steps: int, points: int) -> None:
    """Refuse before training what would leave a rung with nothing to compare.

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


def decide_rung(
    config: HalvingConfig, step: int, total: int, curves: Mapping[str, Sequence[Path]], seed: int = 0
) -> Rung:
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
    # The rate of every logged step of the window, for each point and seed.
    found: dict[str, list[list[float]]] = {point: [] for point in curves}
    for point, path in ((point, path) for point, paths in curves.items() for path in paths):
        rows = [row for row in read_jsonl(path).rows if first < row["step"] <= step]
        logged = ([row[n] for row in rows if row.get(n) is not None and not math.isnan(row[n])] for n in RATES)
        values = next((values for values in logged if values), None)
        if values is None:
            raise DataError(
                f"{path}: holds no {RATES[0]} for steps {first + 1} to {step}, so that this point cannot be compared; "
                f"lower grpo.logging_steps, or widen ablation.halving.window"
            )
        found[point].append(values)
    rates = {point: fmean(fmean(values) for values in seeds) for point, seeds in found.items()}
    ranked = sorted(rates, key=lambda point: -rates[point])
    kept = ranked[: max(1, math.ceil(config.keep * len(ranked)))]
    ended = ranked[len(kept) :]
    # The risk of a wrong choice: how often resampling puts a point that is ended above the weakest that goes on.
    bootstrap, numbers = Bootstrap(), range(seed * len(ranked), (seed + 1) * len(ranked))
    drawn = {point: bootstrap.nested_means(found[point], n) for point, n in zip(ranked, numbers, strict=True)}
    beaten = [drawn[point] > drawn[kept[-1]] for point in ended]
    return Rung(step, rates, tuple(kept), tuple(ended), float(np.any(beaten, axis=0).mean()) if ended else 0.0)


def _before(config: HalvingConfig, step: int, total: int) -> int:
    """Return the last step that is too early to count at the rung at ``step``."""
    return step - max(1, math.ceil(config.window * total))
