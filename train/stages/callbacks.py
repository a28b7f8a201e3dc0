"""What happens beside training: rows of metrics, the progress line, complete checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from accelerate import PartialState
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from train.artifacts import write_text

SUMMARY = "train_runtime"
"""A key of the row that transformers logs when training ends, and of no other."""


class MetricsFile(TrainerCallback):
    """Append every logged row to ``metrics.jsonl``.

    A resumed attempt drops the rows after its checkpoint, and the summary with which an earlier attempt ended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or not self._path.exists():
            return
        rows = [
            line for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
        ]
        kept = [line for line in rows if (row := json.loads(line))["step"] <= state.global_step and SUMMARY not in row]
        write_text(self._path, "".join(kept))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        ended_early = state.global_step < state.max_steps and SUMMARY in (logs or {})
        if state.is_world_process_zero and logs and not ended_early:
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"step": state.global_step, **logs}) + "\n")


class Progress(TrainerCallback):
    """One progress bar with the figures that matter; ``shown`` maps a logged key to its short name."""

    def __init__(self, label: str, shown: dict[str, str]) -> None:
        self._label = label
        self._shown = shown
        self._bar: tqdm[Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            interval = 0.1 if sys.stderr.isatty() else 15.0
            self._bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc=self._label,
                unit="step",
                mininterval=interval,
                dynamic_ncols=True,
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._bar is not None and logs:
            figures = {name: f"{logs[key]:.3g}" for key, name in self._shown.items() if logs.get(key) is not None}
            self._bar.set_postfix(figures, refresh=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class CompleteCheckpoints(TrainerCallback):
    """Mark a checkpoint complete once every rank has written its part; only such a one is resumed from."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        PartialState().wait_for_everyone()
        if state.is_world_process_zero and args.output_dir is not None:
            (Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / "COMPLETE").touch()
