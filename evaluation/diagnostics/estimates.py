"""Intervals for figures that are not shares: attention, nats, divergences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adhere.evaluation.statistics import Bootstrap, prompt_means


def real_estimate(values: Sequence[float], prompts: Sequence[str]) -> dict[str, Any]:
    """Return the mean over prompts of ``values`` with an interval, resampled by prompt.

    ``Bootstrap.estimate`` is for shares: where all are 0 or 1 it opens the interval, as if more were possible.

    Args:
        values: any real numbers.
        prompts: the prompt that each belongs to.
    """
    means = prompt_means(list(values), list(prompts))
    return Bootstrap().paired_difference(means, dict.fromkeys(means, 0.0)).to_dict()
