"""Bring the stages of a run to their end, several at a time: a failed one stops only what starts from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from adhere.records.artifact import EXIT_STOPPED
from adhere.train.launch.local.signals import Interrupted
from adhere.train.launch.orphans import end_with_parent
from adhere.train.run.graph import PlannedStage

POLL_SECONDS = 0.1


@dataclass(slots=True)
class Outcome:
    """How the stages of a run ended, by label: what ran, why some failed, what others had waited for.

    ``stopped`` are those that somebody asked to end by their ``STOP`` file, before their end.
    """

    ran: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Started:
    stage: PlannedStage
    process: subprocess.Popen[bytes]
    output: Path
    slot: int
    began: float


@contextmanager
def _noticing() -> Iterator[list[int]]:
    """Collect the numbers of SIGTERM and SIGUSR1 as they come.

    A handler that raised could do so in the middle of a destructor or a lock, where Python drops the exception.
    """
    came: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, take) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_parallel(
    stages: Sequence[PlannedStage],
    done: Iterable[str],
    prepare: Callable[[PlannedStage], Path],
    *,
    parallel: int,
    devices: Sequence[str] = (),
    per_stage: Callable[[PlannedStage], int] = lambda stage: 1,
    sharing: int = 1,
    reached: Callable[[PlannedStage], bool] = lambda stage: False,
) -> Outcome:
    """Run ``stages`` as soon as what they start from is done, at most ``parallel`` at a time.

    Args:
        stages: in an order in which they can run.
        done: keys of the stages that have ended before.
        prepare: writes a stage's ``stage.yaml`` and returns its path.
        parallel: stages at a time.
        devices: GPUs to share; a stage gets the part of its slot. Empty leaves the choice to the stage.
        per_stage: devices that a stage needs.
        sharing: slots that have one part of the devices, from 1.
        reached: whether a stage that has not ended has come as far as it should for now.

    An interrupt asks every running stage to write a checkpoint and end, and is raised again when they have.

    Raises:
        Interrupted: SIGTERM or SIGUSR1 came, and every running stage has ended.
    """
    outcome, finished = Outcome(), set(done)
    waiting = [stage for stage in stages if stage.key not in finished and not reached(stage)]
    labels = {stage.key: stage.label for stage in stages}
    running: list[_Started] = []
    total = len(waiting)
    with _noticing() as came:
        try:
            while waiting or running or came:
                if came:
                    raise Interrupted("stopped; the same command goes on from the checkpoints", 128 + came[0])
                for stage in list(waiting):
                    gone = {*outcome.failed, *outcome.stopped, *outcome.skipped}
                    lost = [labels[key] for key in stage.inputs.values() if labels.get(key) in gone]
                    if lost:
                        waiting.remove(stage)
                        outcome.skipped[stage.label] = lost[0]
                ready = [stage for stage in waiting if set(stage.inputs.values()) <= finished]
                for stage in ready[: parallel - len(running)]:
                    waiting.remove(stage)
                    slot = min(set(range(parallel)) - {started.slot for started in running})
                    part = slot // sharing
                    mine = devices[part * per_stage(stage) : (part + 1) * per_stage(stage)]
                    visible = {"CUDA_VISIBLE_DEVICES": ",".join(mine)} if mine else {}
                    number = total - len(waiting) - len(outcome.skipped)
                    print(f"  running {stage.label:<24} stage {number} of {total}", flush=True)
                    running.append(_start(stage, prepare(stage), slot, visible))
                for started in [started for started in running if started.process.poll() is not None]:
                    running.remove(started)
                    if started.process.returncode == EXIT_STOPPED:
                        outcome.stopped += [] if reached(started.stage) else [started.stage.label]
                    elif started.process.returncode == 0:
                        finished.add(started.stage.key)
                        outcome.ran.append(started.stage.label)
                        took = time.monotonic() - started.began
                        print(f"  done    {started.stage.label:<24} in {took:.0f} s", flush=True)
                    else:
                        outcome.failed[started.stage.label] = _reason(started)
                        print(f"  failed  {started.stage.label}: {outcome.failed[started.stage.label]}", flush=True)
                time.sleep(POLL_SECONDS)
        except BaseException:
            # Every stage writes a checkpoint and ends; a second interrupt kills them.
            for started in running:
                started.process.send_signal(signal.SIGTERM)
            try:
                for started in running:
                    started.process.wait()
            except BaseException:
                for started in running:
                    os.killpg(started.process.pid, signal.SIGKILL)
                raise
            raise
    return outcome


def _start(stage: PlannedStage, spec: Path, slot: int, environment: dict[str, str]) -> _Started:
    """Start the stage in a session of its own, so that an interrupt at the terminal reaches it only through us."""
    output = spec.parent / "logs" / "driver.log"
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "adhere.train.launch.local.stage_process", str(spec)],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    return _Started(stage, process, output, slot, time.monotonic())


def _reason(started: _Started) -> str:
    """Return what the stage's driver said last; it repeats the worker's own words."""
    text = started.output.read_text(encoding="utf-8", errors="replace")
    said = text.rpartition("adhere: ")[2].strip().removeprefix(f"{started.stage.label}: ") if "adhere: " in text else ""
    code = started.process.returncode
    return (
        said or f"its driver ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}; see {started.output}"
    )
