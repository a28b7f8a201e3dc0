"""Keep the best: which checkpoint of a stage scored highest, on held-out prompts or by its own rollouts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

BY = ("joint", "accuracy", "reward")
"""What checkpoints are compared by: the first of these that there is a value of."""

State = dict[str, Any]


class Best:
    """Compares checkpoints by an evaluation of each, or by the mean over the generations since the one before.

    Only the checkpoints of ``save_steps``, and the last one, are compared: those written by the clock or for a stop
    differ from run to run, and the choice may not. Means of rollouts are of the policies on the way to the checkpoint,
    and noisy; evaluations on held-out prompts (``evaluated``) are of the checkpoint itself.
    """

    def __init__(self, save_steps: int, by: Sequence[str] = BY, *, evaluated: bool = False) -> None:
        """Have seen nothing yet.

        Args:
            save_steps: optimizer steps between the checkpoints that are compared.
            by: figures to compare by; the first that has a value decides.
            evaluated: whether an observation is an evaluation, of which only the newest counts.
        """
        self._save_steps, self._by, self._evaluated = save_steps, by, evaluated
        self._since: list[dict[str, float]] = []
        self._best: tuple[str, float, int] | None = None

    def observe(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one generation, or of an evaluation; NaN or missing where there is no value."""
        row = {name: figures.get(name, math.nan) for name in self._by}
        self._since = [row] if self._evaluated else [*self._since, row]

    def compare(self, step: int, last: int) -> bool:
        """Compare the checkpoint about to be written at ``step`` of ``last``; return whether it is the best so far."""
        if step % self._save_steps and step < last:
            return False
        since, self._since = self._since, []
        for rank, name in enumerate(self._by):
            values = [row[name] for row in since if not math.isnan(row[name])]
            if not values:
                continue
            value = sum(values) / len(values)
            if self._best is not None and (self._by.index(self._best[0]), -self._best[1]) <= (rank, -value):
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
