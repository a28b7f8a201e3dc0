"""How far the learning signals of two rewards agree on the same rollouts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adhere.evaluation.reweight.rollouts import Rollouts
from adhere.rewards.arithmetic import Signal

CELLS = {
    "right, as told": (1.0, 1.0),
    "right only": (1.0, 0.0),
    "as told, wrong": (0.0, 1.0),
    "neither": (0.0, 0.0),
}
"""Kinds of rollouts by (correct, followed)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two signals on some rollouts, the second one being the reference.

    ``cosine`` is that of the two vectors of advantages, NaN where one of them is zero; ``flips`` the share of rollouts
    whose advantage changes its sign; ``begun`` and ``ended`` the shares that are reinforced only here, and only in the
    reference. ``length`` is the ratio of the vectors' norms.
    """

    rollouts: int
    cosine: float
    length: float
    flips: float
    begun: float
    ended: float

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; what is not a number is null."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Cell:
    """What rollouts of one kind earn: their number, their mean advantage, the share that is reinforced."""

    rollouts: int
    advantage: float
    reinforced: float


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups with a signal: how many, and how many gained or lost it against the reference."""

    live: int
    gained: int
    lost: int


def agreement(one: Signal, reference: Signal, chosen: np.ndarray | None = None) -> Agreement:
    """Compare two signals; ``chosen`` (G,) limits that to some groups."""
    where = slice(None) if chosen is None else chosen
    ours, theirs = one.advantages[where], reference.advantages[where]
    s_ours, s_theirs = one.signs[where], reference.signs[where]
    norms = np.linalg.norm(ours), np.linalg.norm(theirs)
    moved = bool(np.any(s_ours)), bool(np.any(s_theirs))
    cosine = float((ours * theirs).sum() / (norms[0] * norms[1])) if all(moved) else math.nan
    return Agreement(
        rollouts=int(ours.size),
        cosine=cosine,
        length=float(norms[0] / norms[1]) if moved[1] else math.nan,
        flips=float((s_ours * s_theirs < 0.0).mean()),
        begun=float(((s_ours > 0.0) & (s_theirs <= 0.0)).mean()),
        ended=float(((s_ours <= 0.0) & (s_theirs > 0.0)).mean()),
    )


def agreement_by(one: Signal, reference: Signal, labels: np.ndarray) -> dict[Any, Agreement]:
    """Compare two signals for each distinct value of ``labels`` (G,), in order."""
    distinct, places = np.unique(labels, return_inverse=True)
    return {label.item() if hasattr(label, "item") else label: agreement(one, reference, places == i)
            for i, label in enumerate(distinct)}  # fmt: skip


def cells(found: Signal, rollouts: Rollouts) -> dict[str, Cell]:
    """Return what rollouts of each kind of `CELLS` earn; kinds that do not occur are left out."""
    result = {}
    for name, (correct, followed) in CELLS.items():
        here = (rollouts.correct == correct) & (rollouts.followed == followed)
        if here.any():
            reinforced = float((found.signs[here] > 0.0).mean())
            result[name] = Cell(int(here.sum()), float(found.advantages[here].mean()), reinforced)
    return result


def groups(one: Signal, reference: Signal) -> Groups:
    """Count the groups that teach anything, and those that do so under one of two rewards only."""
    here, there = one.live, reference.live
    return Groups(int(here.sum()), int((here & ~there).sum()), int((~here & there).sum()))


def cosines(signals: Sequence[Signal]) -> np.ndarray:
    """Return the cosine of every two signals, (P, P), NaN where one of them is zero."""
    flat = np.stack([found.advantages.ravel() for found in signals])
    norms = np.array(
        [np.linalg.norm(row) if found.live.any() else np.nan for row, found in zip(flat, signals, strict=True)]
    )
    result: np.ndarray = (flat @ flat.T) / np.outer(norms, norms)
    return result


def flip_share(one: Signal, other: Signal) -> float:
    """Return the share of rollouts whose advantages have opposite signs."""
    return float((one.signs * other.signs < 0.0).mean())


def dominant(shares: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the component with the largest share of the advantages, ``None`` without any."""
    known = {name: share for name, share in shares.items() if not math.isnan(share)}
    return max(known.items(), key=lambda pair: pair[1]) if known else None
