"""The state of a stage: one word for it, found by one function from its files and, where asked, from the queue.

Standard library only.
"""

from __future__ import annotations

import enum
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from adhere.records.artifact import Artifact, complete_checkpoints
from adhere.records.jobs import REASONS, Job, JobRecord


class State(enum.StrEnum):
    """Where a stage stands; the value is the word that every command shows."""

    TO_RUN = "to run"
    """Nothing of it has begun."""

    PENDING = "pending"
    """Its job waits in the queue."""

    RUNNING = "running"
    """A process of this machine, or a job of the cluster, works on it."""

    STOPPING = "stopping"
    """It runs, and was asked to write a checkpoint and end."""

    STARTED = "running or stopped"
    """It has begun, and whether it still runs cannot be seen from here: another machine, or a queue not asked."""

    STOPPED = "stopped"
    """It ended before its end, because it was asked to or was killed; the same command goes on."""

    FAILED = "failed"
    """It ended by an error of its own."""

    CANCELLED = "cancelled"
    """Its job was cancelled, or what it starts from did not come to its end."""

    ENDED = "ended"
    """Its job is gone from the queue without a result."""

    ENDED_EARLY = "ended early"
    """Successive halving ended its point; it waits for nothing."""

    DAMAGED = "damaged"
    """It came to its end, and its weights are no longer what it wrote; the next run makes it again."""

    DONE = "done"
    """It came to its end."""

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come of the stage, as it should be."""
        return self in (State.DONE, State.ENDED_EARLY)

    @property
    def lost(self) -> bool:
        """Whether the stage ended without what it was to make, and its job will not go on by itself."""
        return self in (State.FAILED, State.CANCELLED, State.ENDED)

    @property
    def active(self) -> bool:
        """Whether the stage is known to run."""
        return self in (State.RUNNING, State.STOPPING)


@dataclass(frozen=True, slots=True)
class Queue:
    """What the queue answered about the job of a stage: ``record`` is what its folder says, ``job`` what the queue has
    (``None``: it has forgotten the job)."""

    record: JobRecord
    job: Job | None


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a stage, and why it is in it, in words; ``label`` is the stage's."""

    label: str
    state: State
    detail: str = ""


def find_state(
    artifact: Artifact,
    label: str,
    locks: frozenset[int],
    *,
    queue: Queue | None = None,
    upstream: Sequence[Standing] = (),
    ended_early: bool = False,
    weights: bool = False,
    limit: float = 0.0,
) -> Standing:
    """Return where a stage stands.

    Args:
        artifact: its folder, which need not exist.
        label: its name for people.
        locks: inodes that a process of this machine holds, from :func:`~adhere.records.artifact.locked_inodes`.
        queue: what the cluster says of the stage's job; ``None`` where it has no job, or the queue was not asked.
        upstream: where the stages stand that it starts from.
        ended_early: whether successive halving ended every point that the stage is part of.
        weights: whether the stage makes weights, which have to be there once it is done.
        limit: bytes of finished weights up to which their content is compared; above it only sizes are.
    """

    def stands(state: State, detail: str = "") -> Standing:
        return Standing(label, state, detail)

    runs = State.STOPPING if artifact.stop.exists() else State.RUNNING
    record, job = (queue.record, queue.job) if queue else (None, None)
    if artifact.done:
        reason = artifact.damage(limit, weights=weights)
        return stands(State.DONE) if reason is None else stands(State.DAMAGED, f"will be made again: {reason}")
    if job is not None and job.runs:
        return stands(runs, f"on {job.nodes}")
    if job is not None and job.queued:
        waits = ", ".join(one.label for one in upstream if one.state is not State.DONE)
        reason = f"after {waits}" if job.reason == "Dependency" else REASONS.get(job.reason, job.reason)
        return stands(State.PENDING, reason)
    lost = next((one for one in upstream if one.state.lost), None) if not ended_early else None
    if record is not None and lost is not None:
        if lost.state is State.CANCELLED and lost.detail.startswith("because"):
            return stands(State.CANCELLED, lost.detail)
        how = "failed" if lost.state is State.FAILED else f"was {lost.state}"
        return stands(State.CANCELLED, f"because {lost.label} {how}: {lost.detail}")
    if artifact.failed.exists():
        return stands(State.FAILED, artifact.message())
    if ended_early and (record is None or not record.cancelled):
        return stands(State.ENDED_EARLY, "by successive halving")
    if (record is not None and record.cancelled) or (job is not None and job.state == "CANCELLED"):
        return stands(State.CANCELLED, "by scancel; the same command goes on from its newest checkpoint")
    if artifact.lock.exists() and artifact.lock.stat().st_ino in locks:
        return stands(runs, "on this machine")
    if ended_early:
        return stands(State.ENDED_EARLY, "by successive halving")
    if record is not None:
        word = job.state if job else "Slurm has forgotten the job"
        return stands(State.ENDED, f"without an error message ({word}): {record.output}")
    # No process of this machine runs it, and the queue says nothing: what is left are the traces of attempts.
    asked = not artifact.job.exists()  # a stage with a job came to an end above where the queue was asked
    if (step := artifact.stopped_at()) is not None:
        return stands(State.STOPPED if asked else State.STARTED, f"with a checkpoint at step {step}")
    newest = max(complete_checkpoints(artifact.checkpoints), default=None)
    if newest is None and not artifact.metrics.exists() and not any(artifact.logs.glob("attempt_*.log")):
        return stands(State.TO_RUN)
    where = artifact.lock.read_text(encoding="utf-8").strip() if artifact.lock.exists() else ""
    if not asked or where != socket.gethostname():
        return stands(State.STARTED, f"begun on {where}" if re.fullmatch(r"\S+", where) else "")
    return stands(State.STOPPED, "by a kill" + ("" if newest is None else f", with a checkpoint at step {newest}"))
