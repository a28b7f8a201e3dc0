"""Whether the formulas reproduce what training did, before they are trusted with what it did not do."""

from __future__ import annotations

import numpy as np

from adhere.evaluation.reweight.rollouts import Rollouts
from adhere.records.artifact import SPEC
from adhere.rewards.arithmetic import Signal
from adhere.rewards.errors import DataError

TOLERANCE = 1e-5
"""Largest difference between a recomputed advantage and the recorded one, beyond what single precision rounds away."""

ROUNDING = 4.0 * float(np.finfo(np.float32).eps)
"""Training computes in single precision: what a reward's distance from its mean may be off by, as a share of it."""


def check_recorded(rollouts: Rollouts, original: Signal) -> float:
    """Return the largest difference of ``original``, the rewards as they were trained, from the recorded advantages.

    In a group whose rewards are all but equal, TRL divides the rounding of single precision by as little as 1e-4. So
    the limit holds for what is left of a difference without 4 ε · max |reward| / divisor.

    Raises:
        DataError: it is above `TOLERANCE`; names the rollout.
    """
    largest = np.nanmax(np.abs(np.nan_to_num(original.rewards)), axis=1)
    rounding = ROUNDING * largest / original.divisors
    beyond = np.abs(original.advantages - rollouts.recorded) - rounding[:, None]
    beyond = np.where(np.isnan(beyond), np.inf, beyond)
    group, member = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    if beyond[group, member] > TOLERANCE:
        wrong = (beyond > TOLERANCE).mean()
        raise DataError(
            f"{rollouts.place(int(group), int(member))}: its advantage is recorded as "
            f"{rollouts.recorded[group, member]:.6g} and recomputed as {original.advantages[group, member]:.6g}, from "
            f"the rewards in its {SPEC} ({wrong:.1%} of all rollouts differ). These rollouts were made under other "
            f"rewards, or by another version; nothing recomputed from them could be trusted"
        )
    return float(np.abs(original.advantages - rollouts.recorded).max())
