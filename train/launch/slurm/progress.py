"""How far the stages of a run are: their states, steps, rates and checkpoints. Standard library only."""

from __future__ import annotations

import time
from dataclasses import dataclass

from adhere.records.artifact import Artifact, complete, complete_checkpoints, locked_inodes
from adhere.records.jobs import read_job
from adhere.records.jsonl import read_jsonl
from adhere.records.run import RunFolder
from adhere.records.state import Queue, Standing, State, find_state
from adhere.train.launch.slurm.queue import jobs

TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Progress:
    """One stage: its state and the reason, its job, steps, joint rate of the newest rollouts, newest checkpoint.

    ``joint`` is in [0, 1]; ``checkpoint_age`` are the seconds since the checkpoint was complete.
    """

    label: str
    kind: str
    state: State
    detail: str
    job: str | None
    step: int | None
    steps: int | None
    joint: float | None
    checkpoint: int | None
    checkpoint_age: float | None
    artifact: Artifact


def progress(run: RunFolder) -> list[Progress]:
    """Return the state of every stage of the run, in running order.

    Raises:
        StageError: Slurm's controller does not answer.
        ConfigError: the run has jobs, and no Slurm client is on this machine.
        DataError: the plan is damaged, or a later version of adhere wrote it.
    """
    plan, locks = run.plan(), locked_inodes()
    ended = run.ended_early(plan)
    artifacts = {stage.key: run.artifact(stage) for stage in plan.stages}
    records = {key: read_job(artifact.job) for key, artifact in artifacts.items()}
    queue = jobs(record.job for key, record in records.items() if record and not artifacts[key].done)
    standings: dict[str, Standing] = {}
    found = []
    for stage in plan.stages:
        artifact, record = artifacts[stage.key], records[stage.key]
        standing = standings[stage.key] = find_state(
            artifact,
            stage.label,
            locks,
            queue=Queue(record, queue.get(record.job)) if record else None,
            upstream=[standings[key] for key in stage.inputs.values() if key in standings],
            ended_early=stage.key in ended,
        )
        rows = read_jsonl(artifact.metrics, tail=TAIL_BYTES).rows
        checkpoints = complete_checkpoints(artifact.checkpoints)
        newest = max(checkpoints, default=None)
        found.append(
            Progress(
                label=stage.label,
                kind=stage.kind,
                state=standing.state,
                detail=standing.detail,
                job=record.job if record else None,
                step=rows[-1].get("step") if rows else None,
                steps=stage.steps,
                joint=next((r["rates/joint"] for r in reversed(rows) if r.get("rates/joint") is not None), None),
                checkpoint=newest,
                checkpoint_age=None if newest is None else time.time() - complete(checkpoints[newest]).stat().st_mtime,
                artifact=artifact,
            )
        )
    return found
