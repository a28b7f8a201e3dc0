"""What a run leaves on disk about the jobs of a cluster, and what the cluster's queue says of one.

Standard library only.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from adhere.records.objects import read_object
from adhere.rewards.errors import DataError
from adhere.rewards.files import write_json

GONE = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
"""States that Slurm still shows for some minutes after a job has ended."""

REASONS = {
    "BeginTime": "requeued, starts within two minutes",
    "JobArrayTaskLimit": "as many of its array run as launcher.slurm.throttle allows",
    "Priority": "other jobs are before it",
    "Resources": "waits for free nodes",
    "DependencyNeverSatisfied": "what it waits for did not succeed",
    "None": "just submitted",
}
"""Slurm's words for why a job is pending, in ours; others are shown as they are."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job or array task, as the queue has it."""

    id: str
    state: str
    reason: str
    nodes: str

    @property
    def queued(self) -> bool:
        """Whether it runs, or will."""
        return self.state not in GONE

    @property
    def runs(self) -> bool:
        """Whether it has nodes."""
        return self.state in ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The job that fills a folder: its id (``JOB_TASK`` in an array), its run, the file of its output; ``cancelled``
    is when it was cancelled by ``adhere cancel``, as Slurm forgets ended jobs within minutes."""

    job: str
    run: str
    output: str
    cancelled: str | None = None


def read_job(path: Path) -> JobRecord | None:
    """Return what a ``slurm.json`` says; nothing where it is missing or half written."""
    try:
        found = read_object(path)
    except DataError:
        return None
    if not {"job", "run", "output"} <= set(found):
        return None
    return JobRecord(str(found["job"]), str(found["run"]), str(found["output"]), found.get("cancelled"))


def write_job(path: Path, record: JobRecord) -> None:
    """Write a ``slurm.json``."""
    write_json(path, {name: value for name, value in asdict(record).items() if value is not None})


def remember_cancelled(path: Path, record: JobRecord) -> None:
    """Keep in ``path`` that the job of ``record`` was cancelled now."""
    write_job(path, JobRecord(record.job, record.run, record.output, time.strftime("%F %T")))
