"""What happens beside training: rows of metrics, the progress line, complete checkpoints, a stop between two steps."""

from __future__ import annotations

import json
import math
import shutil
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from adhere.records.artifact import Artifact, Stopped, seal_checkpoint
from adhere.records.checksums import sync_tree
from adhere.records.jsonl import read_jsonl
from adhere.rewards.files import write_json, write_text
from adhere.train.launch.local.signals import notice_seconds
from adhere.train.stages.tracking import Tracking

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec

SUMMARY = "train_runtime"
"""A key of the row that transformers logs when training ends, and of no other."""


class FollowLiveShare(TrainerCallback):
    """Scale each update's learning rate by the share of its groups that have an advantage.

    The schedule sets the rate anew after every step, so that nothing of this is left in a checkpoint but ``share``.
    """

    def __init__(self) -> None:
        self.share = 1.0

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for group in kwargs["optimizer"].param_groups:
            group["lr"] = group["lr"] * self.share


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
        rows = read_jsonl(self._path).rows
        kept = [row for row in rows if row["step"] <= state.global_step and SUMMARY not in row]
        write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))

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


class ProgressBar(TrainerCallback):
    """One progress bar with the figures that matter; ``shown`` maps a logged key to its short name."""

    def __init__(self, label: str, shown: dict[str, str]) -> None:
        self._label = label
        self._shown = shown
        self._figures: dict[str, str] = {}
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
            # A figure that not every row has, such as that of an evaluation, stays until there is a newer one.
            known = {name: logs[key] for key, name in self._shown.items() if logs.get(key) is not None}
            self._figures |= {name: f"{value:.3g}" for name, value in known.items()}
            self._bar.set_postfix(self._figures, refresh=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class CompleteCheckpoints(TrainerCallback):
    """Seal a checkpoint with sizes and checksums once every rank has written its part; only then remove older ones.

    Two are kept: the newest, and the best where it is another (``state.best_global_step``), else the one before.
    """

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = Path(str(args.output_dir))
        # Each rank's own part is on the disk before the first rank says so.
        sync_tree(folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        PartialState().wait_for_everyone()
        if not state.is_world_process_zero:
            return
        seal_checkpoint(folder / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        steps = sorted(int(path.name.rpartition("-")[2]) for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"))
        kept = {state.global_step, *({state.best_global_step} & set(steps))}
        before = [step for step in steps if step < state.global_step]
        kept |= {*before[-1:]} if len(kept) == 1 else set()
        for step in set(steps) - kept:
            shutil.rmtree(folder / f"{PREFIX_CHECKPOINT_DIR}-{step}", ignore_errors=True)


class StepClock(TrainerCallback):
    """Measures steps and checkpoints, writes ``timing.json`` at each checkpoint, and says where a notice is too short.

    ``notice`` is the time in seconds between a notice and the kill, ``None`` where none is known.
    """

    def __init__(self, path: Path, notice: float | None) -> None:
        self._path, self._notice = path, notice
        self._steps: deque[float] = deque(maxlen=50)
        self._save = 0.0
        self._begun = self._ended = time.monotonic()

    @property
    def figures(self) -> dict[str, float]:
        """Seconds of a step (``median`` and ``longest`` of the last 50) and from a step's end to its checkpoint."""
        if not self._steps:
            return {}
        longest = max(self._steps)
        figures = {"step_median": statistics.median(self._steps), "step_longest": longest, "checkpoint": self._save}
        return {name: round(seconds, 3) for name, seconds in figures.items()}

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._begun = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._ended = time.monotonic()
        self._steps.append(self._ended - self._begun)
        self._advise(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._save = time.monotonic() - self._ended
        if state.is_world_process_zero:
            write_json(self._path, self.figures)
        self._advise(state)

    def _advise(self, state: TrainerState) -> None:
        longest = max(self._steps, default=0.0)
        if self._notice is None or longest + self._save <= self._notice:
            return
        if state.is_world_process_zero:
            print(
                f"\nadhere: note: a step takes up to {longest:.1f} s and a checkpoint {self._save:.1f} s, but only "
                f"{self._notice:g} s lie between a notice and the kill, so that work since the last checkpoint may be "
                f"lost; set launcher.slurm.notice_seconds to at least {math.ceil(1.5 * (longest + self._save))}",
                file=sys.stderr,
                flush=True,
            )
        self._notice = None


class Stop(TrainerCallback):
    """Saves by the clock, and ends training at an optimizer step's end once the artifact's ``STOP`` file is there.

    What rank 0 sees of file and clock reaches the others in one broadcast of two bytes a step, so that
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
        # As rank 0 sees it, on every rank.
        overdue = self._every is not None and time.monotonic() - self._saved >= self._every
        stop, save = self._file.exists(), overdue
        ranks = PartialState()
        if ranks.num_processes > 1:
            seen = torch.tensor([stop, save], dtype=torch.uint8, device=ranks.device)
            dist.broadcast(seen, src=0)
            stop, save = (bool(flag) for flag in seen.tolist())
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


def training_callbacks(
    spec: StageSpec, artifact: Artifact, save_every_minutes: float | None, shown: dict[str, str]
) -> tuple[list[TrainerCallback], Stop, StepClock]:
    """Return the callbacks of a training stage, and of these the two that the stage asks afterwards.

    Args:
        spec: the stage.
        artifact: its folder.
        save_every_minutes: the longest time between two checkpoints; ``None`` leaves them to ``save_steps``.
        shown: the short name in the progress line of each logged key that it shows.
    """
    stop, clock = Stop(artifact, save_every_minutes, spec.until), StepClock(artifact.timing, notice_seconds())
    metrics, progress = MetricsFile(artifact.metrics), ProgressBar(spec.label, shown)
    return [metrics, progress, CompleteCheckpoints(), stop, Tracking(spec, artifact), clock], stop, clock
