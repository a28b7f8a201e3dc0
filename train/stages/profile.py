"""Where a step goes: some optimizer steps under torch's profiler, a trace for Perfetto and one page of figures.

adhere train recipe=quickstart debug=profile
"""

from __future__ import annotations

import functools
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adhere.rewards.files import write_text
from adhere.train.config.schema import PROFILE_WARM_UP

if TYPE_CHECKING:
    from transformers import Trainer

SHOWN = 15
"""Operators on the page."""

PHASES = {
    "generation": ("_draw", "_generate_single_turn"),
    "rewards": ("_scored",),
    "log-probs of the rollouts": ("_packed_log_probs", "_get_per_token_logps_and_entropies"),
    "forward": ("_packed_loss", "compute_loss"),
    "backward": ("accelerator.backward",),
    "optimizer": ("optimizer.step",),
}
"""Methods whose time is a phase: of the trainer, its accelerator and its optimizer."""


class ProfileSteps(TrainerCallback):
    """Traces ``steps`` optimizer steps after ``PROFILE_WARM_UP`` others of this attempt, and writes below ``folder``.

    ``trace.json.gz`` opens in https://ui.perfetto.dev; ``profile.md`` says how the time of a step divides into phases
    and which operators take the most. Training is the same with it, but slower while it traces.
    """

    def __init__(self, trainer: Trainer, folder: Path, steps: int) -> None:
        self._trainer, self._folder, self._steps = trainer, folder, steps
        self._seen = 0
        self._seconds = defaultdict[str, float](float)
        self._open: list[str] = []
        self._began = self._ended = 0.0
        self._profile: profile | None = None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._seen += 1
        if self._seen != PROFILE_WARM_UP + 1 or not state.is_world_process_zero:
            return
        for phase, names in PHASES.items():
            for owner, _, name in (path.rpartition(".") for path in names):
                holder = getattr(self._trainer, owner) if owner else self._trainer
                if hasattr(holder, name):
                    setattr(holder, name, self._timed(getattr(holder, name), phase))
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profile = profile(activities=activities)
        self._profile.start()
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._ended = time.perf_counter()
        if self._profile is not None and self._seen == PROFILE_WARM_UP + self._steps:
            self._finish(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._profile is not None:  # there were fewer steps than it was to trace
            self._finish(state.global_step)

    def _timed(self, method: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*given: Any, **named: Any) -> Any:
            if self._profile is None or phase in self._open:
                return method(*given, **named)
            outer, began = list(self._open), time.perf_counter()
            self._open.append(phase)
            try:
                with record_function(phase):
                    return method(*given, **named)
            finally:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self._open.pop()
                seconds = time.perf_counter() - began
                self._seconds[phase] += seconds
                if outer:  # what is within another phase is not counted there as well
                    self._seconds[outer[-1]] -= seconds

        return timed

    def _finish(self, step: int) -> None:
        assert self._profile is not None
        total = self._ended - self._began
        self._profile.stop()
        found, self._profile = self._profile, None
        traced = min(self._steps, self._seen - PROFILE_WARM_UP)
        self._folder.mkdir(parents=True, exist_ok=True)
        found.export_chrome_trace(str(self._folder / "trace.json.gz"))
        parts = {phase: self._seconds[phase] for phase in PHASES if self._seconds[phase] > 0.0}
        parts["other"] = total - sum(parts.values())
        phases = "\n".join(f"| {p} | {s / traced:.3f} | {s / total:.1%} |" for p, s in parts.items())
        by = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        ops: list[Any] = [op for op in found.key_averages() if op.key not in PHASES]
        spent = sum(getattr(op, by) for op in ops) or 1.0
        most = sorted(ops, key=lambda op: -getattr(op, by))[:SHOWN]
        operators = "\n".join(
            f"| `{op.key}` | {op.count / traced:,.0f} | {own / 1e6 / traced:.3f} | {own / spent:.1%} |"
            for op in most
            for own in [getattr(op, by)]
        )
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, CPU"
        versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))
        write_text(
            self._folder / "profile.md",
            f"""# Where a step goes

{traced} optimizer steps up to step {step}, {total / traced:.3f} seconds each; {where},
{torch.get_num_threads()} threads; {versions}.
Tracing slows small operators down. `trace.json.gz` opens in https://ui.perfetto.dev.

| phase | seconds a step | share |
|---|--:|--:|
{phases}

Operators by their own time on the {"GPU" if torch.cuda.is_available() else "CPU"}:

| operator | calls a step | seconds a step | share |
|---|--:|--:|--:|
{operators}
""",
        )
        print(f"\nadhere: profile: {self._folder / 'profile.md'}", flush=True)
