"""Rollouts in the trackers: a table that keeps every step, beside the figures that transformers logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adhere.records.tables import rollout_files

ROWS = 16
"""Rollouts of a generation that go to the trackers; all of them are in ``rollouts/``."""

KEY = "rollouts"
COLUMNS = ("step", "item_id", "prompt", "response", "answer", "correct", "followed", "tokens", "advantage")


class RolloutTables(TrainerCallback):
    """Log the first whole groups of every generation to W&B and trackio.

    TRL logs its completions under one key whose table each step replaces the last. W&B's table here is incremental, so
    that one table grows by every step's rows; trackio keeps each logged table under its step.
    """

    def __init__(self, rollouts: Path, rows: int = ROWS) -> None:
        self._rollouts = rollouts
        self._rows = rows
        self._wandb: Any = None
        self._told: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._told = {path.name for path in self._files(state.global_step)}

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        trackers = args.report_to or []
        if not state.is_world_process_zero or not {"wandb", "trackio"} & set(trackers):
            return
        for path in self._files(state.global_step):
            if path.name not in self._told:
                self._told.add(path.name)
                self._log(path, trackers)

    def _files(self, before: int) -> list[Path]:
        """Return the rollout files of the generations before optimizer step ``before``."""
        return [path for path in rollout_files(self._rollouts) if int(path.stem[5:]) < before]

    def _log(self, path: Path, trackers: list[str] | str) -> None:
        names = pyarrow.parquet.read_schema(path).names
        columns = [*COLUMNS, *(name for name in names if name.endswith("_score"))]
        table = pyarrow.parquet.read_table(path, columns=columns).slice(0, self._rows)
        if "wandb" in trackers:
            self._log_wandb(columns, table.to_pylist())
        if "trackio" in trackers:
            import trackio

            trackio.log({KEY: trackio.Table(dataframe=table.to_pandas())})

    def _log_wandb(self, columns: list[str], rows: list[dict[str, Any]]) -> None:
        import wandb

        if wandb.run is None:
            return
        if self._wandb is None:
            self._wandb = wandb.Table(columns=[*columns], log_mode="INCREMENTAL")
        for row in rows:
            self._wandb.add_data(*(row[name] for name in columns))
        wandb.run.log({KEY: self._wandb}, commit=False)
