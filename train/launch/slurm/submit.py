"""Submit a run to Slurm: one job a stage, arrays where stages are alike, each waiting for what it starts from."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adhere.records.jobs import JobRecord, read_job, write_job
from adhere.records.names import slug
from adhere.records.run import RunFolder
from adhere.rewards.errors import StageError
from adhere.rewards.files import write_json, write_text
from adhere.rewards.plugins import plugin_modules, plugin_packages
from adhere.train.launch.local.stage import worker_flags
from adhere.train.launch.serve.servers import packages_of_stage, servers_of
from adhere.train.launch.slurm.batches import Batch, plan_batches
from adhere.train.launch.slurm.jobfile import finish_file, job_files, nodes_of, write_job_files
from adhere.train.launch.slurm.profile import Profile, check_profile, load_profile
from adhere.train.launch.slurm.queue import call, client, jobs, largest_array, submit
from adhere.train.launch.slurm.snapshot import snapshot
from adhere.train.run.hub import hub_items, missing_files
from adhere.train.run.run import spec_of, write_spec

if TYPE_CHECKING:
    from adhere.train.run.graph import PlannedStage
    from adhere.train.run.run import Run


POLL_SECONDS = 5.0
HELD = ("JobHeldUser", "JobHeldAdmin")
"""Slurm's words for a job that was held; the second where root held it."""

FINISH = {False: "adhere.train.run.finish", True: "adhere.train.ablation.end"}
"""What the job that ends a run does, by whether the run is an ablation."""


@dataclass(frozen=True, slots=True)
class Round:
    """Stages that are submitted together; those of kind ``grpo`` pause at the optimizer step ``until``, where a job
    decides which of them go on in the next round. ``None`` is their end."""

    stages: Sequence[PlannedStage]
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """What was submitted: every job or array by its id, the jobs that decide by step, the stages found in the queue,
    the job that ends the run, and whether that one waited in the queue already."""

    batches: Mapping[str, Batch]
    rungs: Mapping[int, str]
    queued: Mapping[str, str]
    last: str | None
    found: bool = False


def submit_run(run: Run, rounds: Sequence[Round]) -> Submission:
    """Submit the stages of a prepared run, round by round, and a job that ends it; return at once.

    The job that ends the run is submitted first, and held until the others are in the queue: nothing is queued that it
    would not follow. Where it is gone from the queue and stages are in it, it is submitted again.

    Raises:
        ConfigError: no Slurm here, or a profile that does not fit the launcher or the run's folder.
        StageError: Slurm rejects a job; what was submitted before stays queued, and the same command goes on.
    """
    profile = profile_of(run)
    client("sbatch")
    run.root.mkdir(parents=True, exist_ok=True)
    place = RunFolder(run.path)
    # One command at a time looks for queued stages and submits, so that none is submitted twice.
    with (run.root / ".submit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = snapshot(run.root, packages_of(run))
        queued = queued_stages(run, [stage for turn in rounds for stage in turn.stages])
        deciding = standing(place.rounds_jobs()) if len(rounds) > 1 else {}
        trained = {stage.key for turn in rounds for stage in turn.stages if stage.kind == "grpo"}
        if deciding or (len(rounds) > 1 and trained & {*queued}):
            # Which stages go on is being decided: what is in the queue is all that there is to do.
            rounds = [Round([stage for turn in rounds for stage in turn.stages if stage.key in queued])]
        most = largest_array()
        batches = [batches_of(run, turn.stages, queued, most) for turn in rounds]
        ending = read_job(place.last_job)
        waits = jobs([ending.job]).get(ending.job) if ending else None
        last = waits.id if waits and waits.state == "PENDING" else None
        # One that is held is what a command left that was cut off before it had said what to wait for.
        found = waits is not None and last is not None and waits.reason not in HELD
        if found and not any(batches):
            return Submission({}, {}, queued, last, found)
        if last is None:
            file = place.slurm / "finish.sbatch"
            write_text(
                file, finish_file(place.slurm, run.path, run.recipe.launcher, profile, code, FINISH[bool(run.members)])
            )
            last = submit(str(file), ["--hold"])
            write_job(place.last_job, JobRecord(last, str(run.path), str(place.slurm / f"finish-{last}.out")))
        else:
            call("scontrol", "hold", last)

        if any(batches):
            place.ended_file.unlink(missing_ok=True)
        made, every, rungs = dict(queued), dict[str, Batch](), dict[int, str]()
        records, begun = list[dict[str, Any]](), set[str]()
        try:
            for number, (turn, together) in enumerate(zip(rounds, batches, strict=True)):
                decided, submitted = list(rungs.values())[-1:], list[str]()
                of_stages = dict[str, JobRecord]()
                for batch in together:
                    until = turn.until if batch.kind == "grpo" else None
                    # The files lie in a folder of their own, which no queued job reads.
                    folder = folder_of(run, batch, submissions_of(run))
                    fresh = [stage for stage in batch.stages if stage.key not in begun]
                    for stage in fresh:
                        artifact = run.artifact(stage.key)
                        write_spec(run, stage, until)
                        artifact.begin()
                        for stale in (artifact.attempts, artifact.servers):
                            stale.unlink(missing_ok=True)
                    ended = place.ended_file if decided else None
                    file = write_job_files(folder, files_of(run, batch, folder, profile, code, until, ended))
                    job = submit(str(file), dependency(batch, made, submitted, decided))
                    submitted.append(job)
                    every[job] = batch
                    tasks = [job] if len(batch.stages) == 1 else [f"{job}_{i}" for i in range(len(batch.stages))]
                    for stage, task in zip(batch.stages, tasks, strict=True):
                        made[stage.key] = task
                        of_stages[stage.key] = JobRecord(task, str(run.path), str(folder / f"slurm-{task}.out"))
                    # Each artifact remembers which job makes it; at a rung it is told which one does next.
                    for stage in fresh:
                        write_job(run.artifact(stage.key).job, of_stages[stage.key])
                        begun.add(stage.key)
                rung = None
                if turn.until is not None:
                    name = f"rung-{turn.until}"
                    text = finish_file(
                        place.slurm, run.path, run.recipe.launcher, profile, code,
                        "adhere.train.ablation.rung", name, [str(number)],
                    )  # fmt: skip
                    write_text(place.slurm / f"{name}.sbatch", text)
                    after = [f"--dependency=afterany:{':'.join(submitted)}"] if submitted else []
                    rung = rungs[turn.until] = submit(str(place.slurm / f"{name}.sbatch"), after)
                jobs_here = {key: asdict(record) for key, record in of_stages.items()}
                records.append({"until": turn.until, "rung": rung, "jobs": jobs_here})
                if len(rounds) > 1:
                    write_json(place.rounds_file, {"rounds": records})
        except StageError as error:
            names = [f"{name_of(batch)} job {job}" for job, batch in every.items()]
            said = f"; submitted before: {', '.join(names)}, and job {last}, which ends the run" if names else ""
            raise StageError(f"{error}{said}") from error
        finally:
            # However it went: the job that ends the run follows what is in the queue, or goes with it.
            ids = {job.partition("_")[0] for job in (*made.values(), *deciding)} | {*every, *rungs.values()}
            if ids:
                call("scontrol", "update", f"jobid={last}", f"Dependency=afterany:{':'.join(sorted(ids, key=int))}")
                call("scontrol", "release", last)
            else:
                call("scancel", last)
                place.last_job.unlink(missing_ok=True)
    return Submission(every, rungs, queued, last, found)


def wait_for(run: Run) -> None:
    """Wait until the job that ends the run is gone from the queue.

    Raises:
        StageError: a stage is not done then.
    """
    record = read_job(RunFolder(run.path).last_job)
    while record is not None and standing([record.job]):
        time.sleep(POLL_SECONDS)
    lost = [stage.label for stage in run.graph.stages.values() if not run.artifact(stage.key).done]
    if lost:
        raise StageError(f"{', '.join(lost)}: did not come to the end; adhere status {run.path} says why")


def standing(ids: Iterable[str]) -> dict[str, str]:
    """Return the states of those of the jobs ``ids`` that are in the queue."""
    wanted = {*ids}
    return {job.id: job.state for job in jobs(wanted).values() if job.queued and job.id in wanted}


def profile_of(run: Run) -> Profile:
    """Return the profile of the run's cluster.

    Raises:
        ConfigError: there is none, or it does not fit the launcher of an arm or the run's folder.
    """
    profile = load_profile(run.recipe.launcher.slurm.profile)
    for stage in run.graph.stages.values():
        check_profile(profile, stage.recipe.launcher, run.root)
    return profile


def offline_of(run: Run) -> bool:
    """Whether all that the run takes from the hub is pinned and in the local cache, which the nodes share."""
    items = hub_items((stage.kind, stage.recipe) for stage in run.graph.stages.values())
    return bool(items) and not missing_files(RunFolder(run.path), items)


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


def batches_of(
    run: Run, waiting: Sequence[PlannedStage], queued: Collection[str], most: int | None = None
) -> list[Batch]:
    """Return what is submitted together of the ``waiting`` stages, without those that are ``queued`` already; at most
    ``most`` in an array."""

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

    return plan_batches([stage for stage in waiting if stage.key not in queued], set(queued), shape, most)


def submissions_of(run: Run) -> int:
    """Return how many batches the run has submitted so far."""
    return len(list(RunFolder(run.path).slurm.glob("[0-9]*-*")))


def name_of(batch: Batch) -> str:
    """Return what a batch is called: its stage, or its kind and how many they are."""
    return batch.stages[0].label if len(batch.stages) == 1 else f"{batch.kind}-x{len(batch.stages)}"


def folder_of(run: Run, batch: Batch, number: int) -> Path:
    """Return where the files of the run's batch ``number`` lie."""
    return RunFolder(run.path).slurm / f"{number:03d}-{slug(name_of(batch))}"


def files_of(
    run: Run,
    batch: Batch,
    folder: Path,
    profile: Profile,
    code: Path,
    until: int | None = None,
    ended: Path | None = None,
) -> dict[str, str]:
    """Return the files of a batch's job by their names.

    Args:
        run: the run.
        batch: of its stages.
        folder: where the files go.
        profile: of the cluster.
        code: the snapshot that the job runs.
        until: the optimizer step at which the job's part of its stages ends.
        ended: a file that names the artifacts that successive halving has ended by then.
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
        until,
        ended,
        offline_of(run),
    )


def dependency(
    batch: Batch, made: Mapping[str, str], submitted: Sequence[str], decided: Sequence[str] = ()
) -> list[str]:
    """Return the options of ``sbatch`` by which a batch waits for what it starts from.

    ``made`` are the jobs of stages by their keys, ``submitted`` those of the batches before it, ``decided`` those that
    decide which of its stages go on.
    """
    after = [*(made[key] for key in batch.after), *decided]
    jobs_of = {"aftercorr": [submitted[index] for index in batch.along], "afterok": after}
    waits = [f"{how}:{':'.join(ids)}" for how, ids in jobs_of.items() if ids]
    return [f"--dependency={','.join(waits)}", "--kill-on-invalid-dep=yes"] if waits else []
