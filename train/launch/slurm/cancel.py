"""Take a run's jobs out of Slurm's queue, by their exact ids."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from adhere.records.artifact import write_json
from adhere.train.launch.slurm.progress import RECORD, read_plan, read_record
from adhere.train.launch.slurm.queue import call, jobs


def cancel_run(run: Path, *, shared: bool) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Cancel the queued jobs of ``run``; return them by label, and the stages kept with the runs that wait for them.

    Raises:
        ConfigError: no Slurm on this machine.
        StageError: Slurm refuses.
    """
    folders = {stage["label"]: run.parent / "artifacts" / stage["artifact"] for stage in read_plan(run)}
    folders["comparison and cards"] = run / "slurm"
    records = {label: read_record(path) for label, path in folders.items()}
    others = _other_runs(run)
    known = [str(record["job"]) for record in (*records.values(), *others.values()) if record]
    queue = {job.id for job in jobs(known).values() if job.queued}
    users = {other: {s["artifact"] for s in read_plan(other)} for other, end in others.items() if end["job"] in queue}
    cancelled, kept = {}, {}
    for label, record in records.items():
        if not record or record["job"] not in queue:
            continue
        waiting = sorted(other.name for other, artifacts in users.items() if folders[label].name in artifacts)
        if waiting and not shared:
            kept[label] = waiting
        else:
            cancelled[label] = str(record["job"])
    if cancelled:
        call("scancel", *cancelled.values())
        _remember(cancelled, folders, records)
    return cancelled, kept


def _other_runs(run: Path) -> dict[Path, dict[str, str]]:
    """Return the other runs below the same root that were submitted, with the records of their last jobs."""
    found = {plan.parent: read_record(plan.parent / "slurm") for plan in run.parent.glob("*/plan.json")}
    return {path: record for path, record in found.items() if record and path.resolve() != run.resolve()}


def _remember(cancelled: Mapping[str, str], folders: Mapping[str, Path], records: Mapping[str, dict[str, str]]) -> None:
    """Slurm forgets ended jobs within minutes; the record keeps that they were cancelled."""
    for label in cancelled:
        write_json(folders[label] / RECORD, {**records[label], "cancelled": time.strftime("%F %T")})
