"""The commands that look after runs: submit, status, cancel and logs. None of them imports torch."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adhere.records.names import slug
from adhere.records.state import State
from adhere.rewards.errors import ConfigError, nearest

if TYPE_CHECKING:
    from adhere.records.artifact import Artifact
    from adhere.train.launch.slurm.progress import Progress
    from adhere.train.run.run import Run


def submit(run: Run) -> int:
    """Submit what is not done of ``run`` and print the ids of its jobs."""
    from adhere.records.run import RunFolder
    from adhere.train.launch.slurm.profile import notice_doubts
    from adhere.train.launch.slurm.submit import profile_of, submit_run
    from adhere.train.run.finish import finish
    from adhere.train.run.graph import order
    from adhere.train.run.run import begin

    started = time.perf_counter()
    print(f"{run.recipe.name}: {run.path}")
    for doubt in notice_doubts(profile_of(run), run.recipe.launcher.slurm):
        print(f"warning: {doubt}", file=sys.stderr)
    begin(run)
    waiting = [stage for stage in order(run.graph) if not run.artifact(stage.key).done]
    if not waiting:
        finish(RunFolder(run.path))
        print("nothing to do: every stage of this configuration is done")
        return 0
    submission = submit_run(run, waiting)
    names = {stage.key: stage.label for stage in waiting}
    for key, job in submission.queued.items():
        print(f"  queued     {names[key]:<24} job {job}, submitted before")
    for job, batch in submission.batches.items():
        count = len(batch.stages)
        label = batch.stages[0].label if count == 1 else f"{batch.kind} x {count}"
        print(f"  submitted  {label:<24} job {job}" + (f"_[0-{count - 1}]" if count > 1 else ""))
    if submission.last is not None:
        print(f"  submitted  {'comparison and cards':<24} job {submission.last}")
    stages = sum(len(batch.stages) for batch in submission.batches.values())
    seconds = time.perf_counter() - started
    print(f"{stages} {'stage' if stages == 1 else 'stages'} submitted in {seconds:.1f} s: adhere status {run.path}")
    return 0


def status(arguments: Sequence[str]) -> int:
    """Show the state of every stage of a run, local or on a cluster; exit 1 where one failed or was cancelled."""
    from adhere.records.run import find_run
    from adhere.train.launch.slurm.progress import progress

    parser = argparse.ArgumentParser(prog="adhere status", description="Show how far the stages of a run are.")
    parser.add_argument("run", help="a run's folder, or its name below runs/")
    run = find_run(parser.parse_args(arguments).run)
    stages = progress(run)
    print(run.path)
    for stage in stages:
        print(_line(stage))
    left = [stage for stage in stages if not (stage.state.settled or stage.state.lost)]
    running = [stage for stage in left if stage.state.active]
    follow = next((stage for stage in left if not stage.state.active), None)
    done = sum(stage.state is State.DONE for stage in stages)
    words = [f"{done} of {len(stages)} stages done", f"{len(running)} running" if running else ""]
    words += [f"next: {follow.label}" + (f" ({follow.detail})" if follow.detail else "") if follow else ""]
    if all(stage.state.settled for stage in stages):
        words += [f"results: {table}" for table in run.tables]
    print("; ".join(word for word in words if word))
    return 1 if any(stage.state.lost for stage in stages) else 0


def _line(stage: Progress) -> str:
    job = f"job {stage.job}" if stage.job and stage.state not in (State.DONE, State.TO_RUN) else ""
    step = "" if stage.step is None else f"step {stage.step}" + (f" of {stage.steps}" if stage.steps else "")
    joint = "" if stage.joint is None else f"joint {100 * stage.joint:.1f}%"
    saved = ""
    if stage.checkpoint is not None and stage.checkpoint_age is not None:
        saved = f"checkpoint {stage.checkpoint}, {_ago(stage.checkpoint_age)} ago"
    words = "  ".join(word for word in (job, stage.detail, step, joint, saved) if word)
    return f"  {stage.state:<9} {stage.label:<24} {words}".rstrip()


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def cancel(arguments: Sequence[str]) -> int:
    """Cancel the jobs of a run by their ids; those that other queued runs wait for stay, unless told otherwise."""
    from adhere.records.run import find_run
    from adhere.train.launch.slurm.cancel import cancel_run

    parser = argparse.ArgumentParser(prog="adhere cancel", description="Cancel a run's jobs in Slurm's queue.")
    parser.add_argument("run", help="a run's folder, or its name below runs/")
    parser.add_argument("--shared", action="store_true", help="also jobs that other runs wait for")
    given = parser.parse_args(arguments)
    cancelled, kept = cancel_run(find_run(given.run), shared=given.shared)
    for label, job in cancelled.items():
        print(f"  cancelled  {label:<24} job {job}")
    for label, runs in kept.items():
        print(f"  kept       {label:<24} {', '.join(runs)} waits for it; --shared cancels it too")
    if not cancelled and not kept:
        print("nothing to cancel: no job of this run is in the queue")
    return 0


def logs(arguments: Sequence[str]) -> int:
    """Print the newest log of a stage, by default of the one that runs or wrote last; ``-f`` follows it."""
    from adhere.records.run import find_run
    from adhere.train.launch.slurm.progress import progress

    parser = argparse.ArgumentParser(prog="adhere logs", description="Print the newest log of a stage.")
    parser.add_argument("run", help="a run's folder, or its name below runs/")
    parser.add_argument("stage", nargs="?", help="a stage's label, such as grpo[composite]")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the stage ends")
    given = parser.parse_args(arguments)
    stages = progress(find_run(given.run))
    stage = _chosen(stages, given.stage)
    printed: dict[Path, int] = {}
    while True:
        over = not given.follow or stage.artifact.done or stage.artifact.failed.exists()
        for path in _newest_attempt(stage.artifact):
            if path not in printed:
                print(f"== {path}", file=sys.stderr, flush=True)
            with path.open("rb") as file:
                file.seek(printed.get(path, 0))
                sys.stdout.buffer.write(file.read())
                printed[path] = file.tell()
        sys.stdout.flush()
        if over:
            break
        time.sleep(0.5)
    if not printed:
        print(f"{stage.label} has no log yet: {stage.state} {stage.detail}".rstrip(), file=sys.stderr)
    return 0


def _chosen(stages: Sequence[Progress], label: str | None) -> Progress:
    if label is not None:
        found = [stage for stage in stages if label in (stage.label, slug(stage.label))]
        if not found:
            labels = [stage.label for stage in stages]
            raise ConfigError(f"{label}: the run has no such stage{nearest(label, labels)}; it has {', '.join(labels)}")
        return found[0]
    running = [stage for stage in stages if stage.state.active or stage.state is State.FAILED]
    return max(
        running or stages, key=lambda stage: max(map(os.path.getmtime, _newest_attempt(stage.artifact)), default=0)
    )


def _newest_attempt(artifact: Artifact) -> list[Path]:
    """Return the log files of the newest attempt, one a node."""
    numbered: dict[int, list[Path]] = {}
    for path in sorted(artifact.logs.glob("attempt_*.log")):
        numbered.setdefault(int(path.name.split(".")[0].removeprefix("attempt_")), []).append(path)
    return numbered[max(numbered)] if numbered else []
