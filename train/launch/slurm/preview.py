"""What submitting a run to Slurm would write and say, for ``adhere plan``; nothing is written or submitted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adhere.records.run import RunFolder
from adhere.rewards.errors import StageError
from adhere.train.launch.slurm.jobfile import exports, finish_file
from adhere.train.launch.slurm.profile import load_profile, notice_doubts
from adhere.train.launch.slurm.queue import largest_array
from adhere.train.launch.slurm.submit import (
    batches_of,
    dependency,
    files_of,
    folder_of,
    name_of,
    offline_of,
    profile_of,
    queued_stages,
    submissions_of,
)
from adhere.train.run.hub import hub_items, missing_files, pins

if TYPE_CHECKING:
    from adhere.train.run.graph import PlannedStage
    from adhere.train.run.run import Run


def with_gpu_memory(run: Run) -> Run:
    """Return the run with the GPU memory of its cluster's profile, for stages that do not name any themselves.

    Raises:
        ConfigError: the profile is missing or wrong.
    """
    memory = load_profile(run.recipe.launcher.slurm.profile).gpu_memory_gib
    if memory is None:
        return run
    stages = {}
    for key, stage in run.graph.stages.items():
        size = stage.recipe.launcher.gpu_memory_gib or memory
        launcher = stage.recipe.launcher.model_copy(update={"gpu_memory_gib": size})
        stages[key] = replace(stage, recipe=stage.recipe.model_copy(update={"launcher": launcher}))
    return replace(run, graph=replace(run.graph, stages=stages))


def hub_lines(run: Run) -> list[str]:
    """Return what the run takes from the hub, and which commit of it is in the cache."""
    items = hub_items((stage.kind, stage.recipe) for stage in run.graph.stages.values())
    known, gone = pins(RunFolder(run.path)), missing_files(RunFolder(run.path), items)
    absent = "not fetched; adhere fetch with these words brings it"
    return [f"{i.kind} {i.id}: {absent if i in gone else f'commit {known[i.name][:12]}'}" for i in items]


def submission_lines(run: Run, waiting: Sequence[PlannedStage]) -> list[str]:
    """Return the ``sbatch`` lines of the ``waiting`` stages and the options in each batch file.

    ``<NAME>`` stands for the job that NAME will be, ``<NAME>_I`` for task I of it. Where Slurm's clients are, stages
    that are in the queue already are left out, as they are when the run is submitted.

    Raises:
        ConfigError: the profile does not fit the launcher or the run's folder.
        StageError: Slurm is here and does not answer.
    """
    profile = profile_of(run)
    queued = queued_stages(run, waiting) if shutil.which("squeue") else {}
    made = dict(queued)
    lines = [f"warning: {text}" for text in notice_doubts(profile, run.recipe.launcher.slurm)]
    lines += [f"hub      {text}" for text in hub_lines(run)]
    lines += [f"queued   {stage.label}: job {queued[stage.key]}" for stage in waiting if stage.key in queued]
    submitted: list[str] = []
    most = None
    if shutil.which("scontrol"):
        try:
            most = largest_array()
        except StageError as error:
            lines.append(f"warning: Slurm does not say how large an array may be ({str(error)[:80]})")
    for number, batch in enumerate(batches_of(run, waiting, queued, most), submissions_of(run)):
        folder = folder_of(run, batch, number)
        waits = dependency(batch, made, submitted)
        options = files_of(run, batch, folder, profile, run.root / "code")["job.sbatch"].splitlines()
        lines += ["", f"{name_of(batch)}:", f"  {' '.join(['sbatch', *waits, str(folder / 'job.sbatch')])}"]
        lines += [f"  {line}" for line in options if line.startswith("#SBATCH")]
        job = f"<{name_of(batch)}>"
        submitted.append(job)
        several = len(batch.stages) > 1
        made |= {stage.key: f"{job}_{i}" if several else job for i, stage in enumerate(batch.stages)}
    if submitted:
        ids = ":".join([*dict.fromkeys(job.partition("_")[0] for job in queued.values()), *submitted])
        place = RunFolder(run.path).slurm
        ending = finish_file(place, run.path, run.recipe.launcher, profile, run.root / "code").splitlines()
        lines += ["", "comparison and cards, submitted first and held until the others are in the queue:"]
        lines.append(f"  sbatch --dependency=afterany:{ids} {place / 'finish.sbatch'}")
        lines += [f"  {line}" for line in ending if line.startswith("#SBATCH")]
        lines += ["", "environment on the nodes:", "  ulimit -n and -l: the hard limits; CACHE is below TMPDIR"]
        lines += [
            f"  {line.removeprefix('export ')}"
            for line in exports(profile, run.recipe.launcher, offline=offline_of(run))
        ]
    return lines
