"""What stages give to the trackers: logged figures, first rollouts of each generation, what evaluations measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from adhere.records.artifact import Artifact
from adhere.records.tables import rollout_files, rollout_step
from adhere.train.config.trackers import Tracker, start_trackers

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec

ROWS = 16
"""Rollouts of a generation that go to the trackers; all of them are in ``rollouts/``."""

COLUMNS = ("step", "item_id", "prompt", "response", "answer", "correct", "followed", "tokens", "advantage")


def track_evaluation(spec: StageSpec, artifact: Artifact, figures: Mapping[str, float]) -> None:
    """Give what an evaluation measured to every tracker of its recipe; the worker finishes them."""
    for tracker in start_trackers(spec, artifact):
        if tracker.report_to is None or type(tracker).evaluation is not Tracker.evaluation:
            tracker.evaluation(figures)
            continue
        # The integration's own callback, as in a training that logs once. It calls what begins with eval_ by eval/.
        args = TrainingArguments(
            output_dir=str(artifact.path / "tracking"),
            run_name=f"{spec.label}-{spec.key[:8]}",
            project=spec.recipe.tracking.project,
            report_to=[],
            use_cpu=True,
        )
        state, control, callback = TrainerState(), TrainerControl(), INTEGRATION_TO_CALLBACK[tracker.report_to]()
        callback.on_train_begin(args, state, control, model=None, processing_class=None)
        logs = {f"eval_{name}": value for name, value in figures.items()}
        callback.on_log(args, state, control, logs=logs, model=None)
        callback.on_train_end(args, state, control, model=None, processing_class=None)


class Tracking(TrainerCallback):
    """Starts the trackers of a stage on its first rank and logs to them; the worker finishes them."""

    def __init__(self, spec: StageSpec, artifact: Artifact) -> None:
        self._rollouts = artifact.rollouts
        self._trackers = start_trackers(spec, artifact) if PartialState().is_main_process else []
        self._logged: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._logged = {path.name for path in self._files(state.global_step)}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        figures = {name: float(value) for name, value in (logs or {}).items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            if tracker.report_to is None and figures:
                tracker.log(state.global_step, figures)
        takers = [tracker for tracker in self._trackers if type(tracker).rollouts is not Tracker.rollouts]
        for path in self._files(state.global_step) if takers else ():
            if path.name in self._logged:
                continue
            self._logged.add(path.name)
            names = pyarrow.parquet.read_schema(path).names
            columns = [*COLUMNS, *(name for name in names if name.endswith("_score"))]
            rows = pyarrow.parquet.read_table(path, columns=columns).slice(0, ROWS).to_pylist()
            for tracker in takers:
                tracker.rollouts(rollout_step(path), rows)

    def _files(self, before: int) -> list[Path]:
        """Return the rollout files of the generations before optimizer step ``before``."""
        return [path for path in rollout_files(self._rollouts) if rollout_step(path) < before]
