"""How far the stages of a run are, told from their artifacts and one look at Slurm's queue. Standard library only."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.records.artifact import complete_checkpoints
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.launch.slurm.queue import Job, jobs

RECORD = "slurm.json"
TAIL_BYTES = 65_536

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
class Progress:
    """One stage: its state in a word and the reason, steps, joint rate of the newest rollouts, newest checkpoint."""

    label: str
    kind: str
    state: str
    detail: str
    job: str | None
    step: int | None
    steps: int | None
    joint: float | None
    checkpoint: int | None
    checkpoint_age: float | None
    """Seconds since the checkpoint was complete."""

    artifact: Path


def find_run(name: str) -> Path:
    """Return the folder of the run: ``name`` is that folder, or its name below ``runs/``.

    Raises:
        ConfigError: there is no such run.
    """
    for folder in (Path(name).expanduser(), Path("runs") / name):
        if (folder / "plan.json").exists():
            return folder.resolve()
    raise ConfigError(f"{name}: there is no run of that name here; give its folder, such as runs/latest")


def read_plan(run: Path) -> list[dict[str, Any]]:
    """Return the stages of the run, in running order.

    Raises:
        DataError: ``plan.json`` is not what a run writes.
    """
    stages = _json(run / "plan.json").get("stages")
    needed = {"label", "key", "artifact", "inputs"}
    if not isinstance(stages, list) or not all(isinstance(stage, dict) and needed <= set(stage) for stage in stages):
        raise DataError(f"{run / 'plan.json'}: is damaged; the command that started the run writes it again")
    return stages


def read_record(folder: Path) -> dict[str, Any]:
    """Return what a folder's ``slurm.json`` says of the job that fills it, or nothing."""
    return _json(folder / RECORD)


def progress(run: Path) -> list[Progress]:
    """Return the state of every stage of the run, in running order.

    Raises:
        StageError: Slurm's controller does not answer.
        ConfigError: the run has jobs, and no Slurm client is on this machine.
        DataError: ``plan.json`` is not what a run writes.
    """
    stages = read_plan(run)
    artifacts = {stage["key"]: run.parent / "artifacts" / stage["artifact"] for stage in stages}
    records = {key: read_record(path) for key, path in artifacts.items()}
    queue = jobs(record["job"] for key, record in records.items() if record and not _done(artifacts[key]))
    locks = _locked_inodes()
    found: dict[str, Progress] = {}
    for stage in stages:
        upstream = [found[key] for key in stage["inputs"].values() if key in found]
        path, record = artifacts[stage["key"]], records[stage["key"]]
        job = queue.get(record.get("job", ""))
        state, detail = _state(path, record, job, upstream, locks)
        found[stage["key"]] = _measure(stage, path, state, detail, record.get("job"))
    return list(found.values())


def _state(
    path: Path, record: Mapping[str, Any], job: Job | None, upstream: list[Progress], locks: set[int]
) -> tuple[str, str]:
    """Return a stage's state and why it is in it."""
    if _done(path):
        return "done", ""
    if job is not None and job.state in ("RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"):
        return "running", f"on {job.nodes}"
    if job is not None and job.queued:
        waits = ", ".join(p.label for p in upstream if p.state != "done")
        return "pending", f"after {waits}" if job.reason == "Dependency" else REASONS.get(job.reason, job.reason)
    lost = [p for p in upstream if p.state in ("failed", "cancelled", "ended")]
    if record and lost:
        return "cancelled", _because(lost[0])
    if failed := _json(path / "FAILED").get("message"):
        return "failed", str(failed)
    if record.get("cancelled") or (job is not None and job.state == "CANCELLED"):
        return "cancelled", "by scancel; the same command goes on from its newest checkpoint"
    if _inode(path / ".lock") in locks:
        return "running", "on this machine"
    if record:
        return "ended", f"without a word ({job.state if job else 'Slurm has forgotten the job'}): {record['output']}"
    if step := _json(path / "REQUEUE").get("step"):
        return "stopped", f"with a checkpoint at step {step}"
    return "to run", ""


def _because(lost: Progress) -> str:
    return lost.detail if lost.state == "cancelled" and lost.detail.startswith("because") else (
        f"because {lost.label} {'failed: ' if lost.state == 'failed' else f'was {lost.state}: '}{lost.detail}"
    )  # fmt: skip


def _measure(stage: Mapping[str, Any], path: Path, state: str, detail: str, job: str | None) -> Progress:
    rows = _tail_rows(path / "metrics.jsonl")
    joint = next((row["rates/joint"] for row in reversed(rows) if row.get("rates/joint") is not None), None)
    complete = complete_checkpoints(path / "checkpoints")
    newest = max(complete, default=None)
    age = None if newest is None else time.time() - (complete[newest] / "COMPLETE").stat().st_mtime
    step = rows[-1].get("step") if rows else None
    kind = stage["artifact"].rpartition("-")[0]
    return Progress(
        stage["label"], kind, state, detail, job, step, stage.get("steps"), joint, newest, age, path
    )  # fmt: skip


def _done(path: Path) -> bool:
    return (path / "DONE").exists()


def _tail_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines(keepends=True)
    whole = [line for line in lines if line.startswith("{") and line.endswith("}\n")]
    return [json.loads(line) for line in whole]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else -1


def _locked_inodes() -> set[int]:
    """Return the inodes that a process of this machine holds a lock on; asking for the lock could disturb a worker."""
    table = Path("/proc/locks")
    if not os.access(table, os.R_OK):
        return set()
    places = [word for line in table.read_text().splitlines() for word in line.split() if word.count(":") == 2]
    return {int(place.rpartition(":")[2]) for place in places if place.rpartition(":")[2].isdigit()}
