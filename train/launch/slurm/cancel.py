"""Take a run's jobs out of Slurm's queue, by their exact ids."""

from __future__ import annotations

from adhere.records.jobs import JobRecord, read_job, remember_cancelled
from adhere.records.run import RunFolder, runs_below
from adhere.train.launch.slurm.queue import call, jobs


def cancel_run(run: RunFolder, *, shared: bool) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Cancel the queued jobs of ``run``; return them by label, and the stages kept with the runs that wait for them.

    Raises:
        ConfigError: no Slurm on this machine.
        StageError: Slurm refuses.
    """
    files = {stage.label: run.artifact(stage).job for stage in run.plan().stages}
    files["comparison and cards"] = run.last_job
    records = {label: record for label, path in files.items() if (record := read_job(path))}
    others: dict[str, tuple[RunFolder, JobRecord]] = {
        other.path.name: (other, record)
        for other in runs_below(run.root)
        if other.path.resolve() != run.path.resolve() and (record := read_job(other.last_job))
    }
    rounds = run.rounds_jobs()
    known = [*(record.job for record in records.values()), *(record.job for _, record in others.values()), *rounds]
    queue = {job.id for job in jobs(known).values() if job.queued}
    users = {
        name: {stage.artifact for stage in other.plan().stages}
        for name, (other, record) in others.items()
        if record.job in queue
    }
    cancelled, kept = {}, {}
    for label, record in records.items():
        if record.job not in queue:
            continue
        waiting = sorted(name for name, artifacts in users.items() if files[label].parent.name in artifacts)
        if waiting and not shared:
            kept[label] = waiting
        else:
            cancelled[label] = record.job
    # The later rounds of successive halving, and the jobs that decide between them.
    further = {name: job for job, name in rounds.items() if job in queue and job not in cancelled.values()}
    if cancelled or further:
        call("scancel", *further.values(), *cancelled.values())
        for label in cancelled:
            remember_cancelled(files[label], records[label])
    return cancelled | further, kept
