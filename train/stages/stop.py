"""Stopping between optimizer steps: a file asks for it, all ranks agree, a checkpoint is written, the stage ends."""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adhere.records.artifact import Artifact, Stopped


class Stop(TrainerCallback):
    """Saves by the clock, and ends training at an optimizer step's end once the artifact's ``STOP`` file is there.

    Rank 0 alone looks at file and clock; what it saw reaches the others in one broadcast of two bytes a step, so that
    all of them save, and leave the loop, at the same step. ``every_minutes`` is the longest time between checkpoints,
    ``None`` leaves them to ``save_steps``; ``until`` is a step at which training ends in the same way, unasked.
    """

    def __init__(self, artifact: Artifact, every_minutes: float | None = None, until: int | None = None) -> None:
        self._file = artifact.stop
        self._until = until
        self._every = None if every_minutes is None else 60.0 * every_minutes
        self._saved = time.monotonic()
        self.asked = False
        """Whether training ended because it was asked to."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._saved = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        stop, save = self._agree()
        stop |= self._until is not None and state.global_step >= self._until
        if state.global_step >= state.max_steps:
            return  # the stage is about to end by itself
        control.should_save |= stop or save
        control.should_training_stop |= stop
        self.asked |= stop

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._saved = time.monotonic()

    def raise_if_asked(self, step: int) -> None:
        """End the stage here if it was asked to.

        Raises:
            Stopped: training ended at ``step`` and not by itself.
        """
        if self.asked:
            raise Stopped(step)

    def _agree(self) -> tuple[bool, bool]:
        """Return whether to stop and whether to save, as rank 0 sees it."""
        overdue = self._every is not None and time.monotonic() - self._saved >= self._every
        state = PartialState()
        if state.num_processes == 1:
            return self._file.exists(), overdue
        seen = torch.zeros(2, dtype=torch.uint8, device=state.device)
        if state.is_main_process:
            seen = torch.tensor([self._file.exists(), overdue], dtype=torch.uint8, device=state.device)
        dist.broadcast(seen, src=0)
        stop, save = seen.tolist()
        return bool(stop), bool(save)
