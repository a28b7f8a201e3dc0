"""Keep the best: which checkpoint of a GRPO stage scored highest, by what its own rollouts showed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

BY = ("joint", "accuracy", "reward")
"""What checkpoints are compared by: the first of these that the rollouts have a value of."""

State = dict[str, Any]


class Best:
    """Compares checkpoints by the mean over the generations since the one before.

    Only the checkpoints of ``save_steps``, and the last one, are compared: those written by the clock or for a stop
    differ from run to run, and the choice may not. The means are of rollouts, so that they are of the policies on the
    way to the checkpoint, and noisy; an evaluation of both checkpoints decides more surely.
    """

    def __init__(self, save_steps: int) -> None:
        self._save_steps = save_steps
        self._since: list[dict[str, float]] = []
        self._best: tuple[str, float, int] | None = None

    def observe(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one generation; NaN where it has no value."""
        self._since.append({name: figures[name] for name in BY})

    def compare(self, step: int, last: int) -> bool:
        """Compare the checkpoint about to be written at ``step`` of ``last``; return whether it is the best so far."""
        if step % self._save_steps and step < last:
            return False
        since, self._since = self._since, []
        for rank, name in enumerate(BY):
            values = [row[name] for row in since if not math.isnan(row[name])]
            if not values:
                continue
            value = sum(values) / len(values)
            if self._best is not None and (BY.index(self._best[0]), -self._best[1]) <= (rank, -value):
                return False
            self._best = (name, value, step)
            return True
        return False

    @property
    def found(self) -> State | None:
        """The best checkpoint: ``{"step": ..., "by": "joint", "value": ...}``, ``None`` before the first."""
        return None if self._best is None else dict(zip(("by", "value", "step"), self._best, strict=True))

    def state(self) -> State:
        """Return what a checkpoint has to hold to go on with the comparison."""
        return {"since": self._since, "best": self._best}

    def load_state(self, state: State) -> None:
        """Go on from what ``state`` returned."""
        self._since, self._best = state["since"], state["best"]
