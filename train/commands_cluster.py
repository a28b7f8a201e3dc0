"""The commands for runs on a cluster: submit, status, cancel and logs. None of them imports torch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.run import Run


def submit(run: Run) -> int:
    """Submit what is not done of ``run`` and print the ids of its jobs."""
    from train.launch.slurm import submit_run
    from train.run import finish, prepare

    started = time.perf_counter()
    print(f"{run.recipe.name}: {run.path}")
    waiting = prepare(run)
    if not waiting:
        finish(run)
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
    print(f"{stages} jobs submitted in {time.perf_counter() - started:.1f} s; adhere status {run.path} shows them")
    return 0
