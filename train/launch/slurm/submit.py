"""Submit a run to Slurm: one job a stage, arrays where stages are alike, each waiting for what it starts from."""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adhere.records.jobs import JobRecord, read_job, write_job
from adhere.records.names import slug
from adhere.records.run import RunFolder
from adhere.rewards.plugins import plugin_modules, plugin_packages
from adhere.train.launch.local.stage import worker_flags
from adhere.train.launch.serve.servers import packages_of_stage, servers_of
from adhere.train.launch.slurm.batches import Batch, plan_batches
from adhere.train.launch.slurm.jobfile import job_files, nodes_of, write_finish, write_job_files
from adhere.train.launch.slurm.profile import Profile, check_profile, load_profile
from adhere.train.launch.slurm.queue import client, jobs, submit
from adhere.train.launch.slurm.snapshot import snapshot
from adhere.train.run.run import spec_of, write_spec

if TYPE_CHECKING:
    from adhere.train.run.graph import PlannedStage
    from adhere.train.run.run import Run


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted: every job or array by its id, the stages found in the queue, the job that ends the run."""

    batches: Mapping[str, Batch]
    queued: Mapping[str, str]
    last: str | None


def submit_run(run: Run, waiting: Sequence[PlannedStage]) -> Submission:
    """Submit the ``waiting`` stages of a prepared run and a last job that compares its models; return at once.

    Raises:
        ConfigError: no Slurm here, or a profile that does not fit the launcher or the run's folder.
        StageError: Slurm rejects a job; what was submitted before stays queued, and the same command goes on.
    """
    profile = profile_of(run)
    client("sbatch")
    run.root.mkdir(parents=True, exist_ok=True)
    # One command at a time looks for queued stages and submits, so that none is submitted twice.
    with (run.root / ".submit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = snapshot(run.root, packages_of(run))
        queued = queued_stages(run, waiting)
        batches = batches_of(run, waiting, queued)
        made, submitted = dict(queued), list[str]()
        for batch in batches:
            # The files lie in a folder of their own, which no queued job reads.
            folder = folder_of(run, batch, submissions_of(run))
            for stage in batch.stages:
                artifact = run.artifact(stage.key)
                write_spec(run, stage)
                artifact.begin()
                for stale in (artifact.attempts, artifact.servers):
                    stale.unlink(missing_ok=True)
            file = write_job_files(folder, files_of(run, batch, folder, profile, code))
            job = submit(str(file), dependency(batch, made, submitted))
            submitted.append(job)
            # Each artifact remembers which job makes it.
            tasks = [job] if len(batch.stages) == 1 else [f"{job}_{index}" for index in range(len(batch.stages))]
            for stage, task in zip(batch.stages, tasks, strict=True):
                made[stage.key] = task
                write_job(
                    run.artifact(stage.key).job, JobRecord(task, str(run.path), str(folder / f"slurm-{task}.out"))
                )
        last = None
        if batches:
            # The comparison of the models starts when no stage can run any more, however they ended.
            folder = RunFolder(run.path).slurm
            file = write_finish(folder, run.path, run.recipe.launcher, profile, code)
            ids = ":".join(sorted({job.partition("_")[0] for job in made.values()}, key=int))
            last = submit(str(file), [f"--dependency=afterany:{ids}"])
            record = JobRecord(last, str(run.path), str(folder / f"finish-{last}.out"))
            write_job(RunFolder(run.path).last_job, record)
    return Submission(dict(zip(submitted, batches, strict=True)), queued, last)


def profile_of(run: Run) -> Profile:
    """Return the profile of the run's cluster.

    Raises:
        ConfigError: there is none, or it does not fit the launcher of an arm or the run's folder.
    """
    profile = load_profile(run.recipe.launcher.slurm.profile)
    for stage in run.graph.stages.values():
        check_profile(profile, stage.recipe.launcher, run.root)
    return profile


def packages_of(run: Run) -> set[str]:
    """Return the top-level packages of users that the run's processes import: plug-ins, and rewards in Python."""
    recipes = [stage.recipe for stage in run.graph.stages.values()]
    modules = [*plugin_modules(), *(module for recipe in recipes for module in recipe.plugins)]
    named = set().union(*(plugin_packages(recipe.model_dump()) for recipe in recipes))
    return named | {module.partition(".")[0] for module in modules}


def queued_stages(run: Run, waiting: Sequence[PlannedStage]) -> dict[str, str]:
    """Return the jobs of stages that are in the queue already, by the stages' keys."""
    records = {stage.key: read_job(run.artifact(stage.key).job) for stage in waiting}
    known = {key: record.job for key, record in records.items() if record}
    found = jobs(known.values())
    return {key: job for key, job in known.items() if job in found and found[job].queued}


def batches_of(run: Run, waiting: Sequence[PlannedStage], queued: Collection[str]) -> list[Batch]:
    """Return what is submitted together of the ``waiting`` stages, without those that are ``queued`` already."""

    def shape(stage: PlannedStage) -> tuple[object, ...]:
        """Return what decides a job's resources and launch line; stages of one array have the same."""
        launcher = stage.recipe.launcher
        return (
            nodes_of(launcher, stage.kind),
            *((server.gpus, server.seconds) for server in servers_of(spec_of(run, stage))),
            *worker_flags(launcher, stage.kind),
            launcher.threads,
            launcher.device,
            launcher.slurm.model_dump_json(),
        )

    return plan_batches([stage for stage in waiting if stage.key not in queued], set(queued), shape)


def submissions_of(run: Run) -> int:
    """Return how many batches the run has submitted so far."""
    return len(list(RunFolder(run.path).slurm.glob("[0-9]*-*")))


def name_of(batch: Batch) -> str:
    """Return what a batch is called: its stage, or its kind and how many they are."""
    return batch.stages[0].label if len(batch.stages) == 1 else f"{batch.kind}-x{len(batch.stages)}"


def folder_of(run: Run, batch: Batch, number: int) -> Path:
    """Return where the files of the run's batch ``number`` lie."""
    return RunFolder(run.path).slurm / f"{number:03d}-{slug(name_of(batch))}"


def files_of(run: Run, batch: Batch, folder: Path, profile: Profile, code: Path) -> dict[str, str]:
    """Return the files of a batch's job by their names.

    Args:
        run: the run.
        batch: of its stages.
        folder: where the files go.
        profile: of the cluster.
        code: the snapshot that the job runs.
    """
    first = batch.stages[0]
    return job_files(
        folder,
        f"{run.path.name}-{name_of(batch)}",
        first.kind,
        [run.artifact(stage.key).path for stage in batch.stages],
        first.recipe.launcher,
        profile,
        code,
        servers_of(spec_of(run, first)),
        sorted(set().union(*(packages_of_stage(stage.kind, stage.recipe) for stage in batch.stages))),
    )


def dependency(batch: Batch, made: Mapping[str, str], submitted: Sequence[str]) -> list[str]:
    """Return the options of ``sbatch`` by which a batch waits for what it starts from.

    ``made`` are the jobs of stages by their keys, ``submitted`` those of the batches before it.
    """
    jobs_of = {"aftercorr": [submitted[index] for index in batch.along], "afterok": [made[key] for key in batch.after]}
    waits = [f"{how}:{':'.join(ids)}" for how, ids in jobs_of.items() if ids]
    return [f"--dependency={','.join(waits)}", "--kill-on-invalid-dep=yes"] if waits else []
