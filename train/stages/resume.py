"""An exact resume: what the checkpoints of transformers and TRL leave out is written beside them, by every rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import SFTTrainer

from adhere.rewards.errors import StageError

State = dict[str, Any]


class ExactResume(Trainer):
    """A trainer that goes on from a checkpoint as if it had never stopped, in its weights and in what it logs.

    transformers restores weights, optimizer, schedule, random states and the place in the data. To these this adds the
    loss and figures gathered since the last logged row, and that a checkpoint of the last step is not trained further.
    Subclasses add to ``checkpoint_state`` and ``load_checkpoint_state``.
    """

    _metrics: dict[str, Any]
    _resumed: State | None = None

    def resume(self, checkpoint: Path | None) -> None:
        """Train from ``checkpoint``, or from the start.

        Raises:
            StageError: the checkpoint was written by another number of ranks, or under another engine.
        """
        if checkpoint is not None:
            path = self._state_file(checkpoint)
            if not path.exists():
                raise StageError(
                    f"{path}: is missing; the checkpoint was written by another number of ranks. Remove {checkpoint}"
                )
            device = self.accelerator.device
            where = "cpu" if device.type == "cpu" else device  # a rank calls its CPU cpu:0, which torch cannot load to
            self._resumed = torch.load(path, map_location=where, weights_only=True)
            if self._resumed["engine"] != (own := self._engine()):
                raise StageError(
                    f"{checkpoint}: was written under {self._resumed['engine']}, and this run trains under {own}, "
                    f"which cannot go on from it; use that strategy again, or remove {checkpoint.parent} to start anew"
                )
            self.load_checkpoint_state(self._resumed, checkpoint)
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def checkpoint_state(self) -> State:
        """Return what a checkpoint has to hold besides transformers' own files; tensors and plain values."""
        return {
            "engine": self._engine(),
            "loss": self._tr_loss,
            "losses": self._total_loss_scalar,
            "logged": self._globalstep_last_logged,
            "metrics": {name: list(values) for name, values in self._metrics["train"].items()},
        }

    def load_checkpoint_state(self, state: State, checkpoint: Path) -> None:
        """Set what ``checkpoint_state`` returned when ``checkpoint`` was written, before training starts."""
        self._metrics["train"].update(state["metrics"])

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Let the summary's mean loss be that of all steps; transformers takes it over those of this attempt."""
        if "train_loss" in logs:
            logs["train_loss"] = self._total_loss_scalar / max(self.state.global_step, 1)
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        torch.save(self.checkpoint_state(), self._state_file(folder))
        self.accelerator.wait_for_everyone()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self._resumed is not None:
            self._tr_loss, self._globalstep_last_logged = self._resumed["loss"], self._resumed["logged"]
            self._total_loss_scalar = self._resumed["losses"]
            self._resumed = None
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _engine(self) -> str:
        """Return what decides the form of a checkpoint: whole weights are the same under any number of ranks."""
        if self.is_deepspeed_enabled:
            return f"zero{self.accelerator.state.deepspeed_plugin.zero_stage}"
        return "fsdp2" if self.is_fsdp_enabled else "ddp or single"

    def _state_file(self, checkpoint: Path) -> Path:
        return checkpoint / f"rank_state_{self.accelerator.process_index}.pt"


class AdhereSFTTrainer(ExactResume, SFTTrainer):
    """TRL's SFTTrainer with an exact resume: its count of tokens goes on too."""

    def checkpoint_state(self) -> State:
        return super().checkpoint_state() | {"tokens": self._total_train_tokens}

    def load_checkpoint_state(self, state: State, checkpoint: Path) -> None:
        super().load_checkpoint_state(state, checkpoint)
        self._total_train_tokens = state["tokens"]
