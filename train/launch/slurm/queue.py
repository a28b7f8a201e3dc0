"""What Slurm says of jobs, by one call of ``squeue``, and the clients themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from adhere.records.jobs import Job
from adhere.rewards.errors import ConfigError, StageError


def client(name: str) -> str:
    """Return the path of a Slurm client.

    Raises:
        ConfigError: it is not on this machine.
    """
    path = shutil.which(name)
    if path is None:
        raise ConfigError(
            f"launcher=slurm: there is no {name} on this machine; log in to the cluster's login node, or use "
            f"launcher=local"
        )
    return path


def call(name: str, *arguments: str) -> str:
    """Run a Slurm client and return what it prints.

    Raises:
        StageError: it failed; the message has Slurm's words.
    """
    done = subprocess.run([client(name), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StageError(f"{name}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout


def jobs(ids: Iterable[str]) -> dict[str, Job]:
    """Return the jobs of ``ids`` that Slurm knows, array tasks as ``JOB_TASK``; what it has forgotten is left out.

    Raises:
        StageError: the controller does not answer.
    """
    wanted = sorted({job.partition("_")[0] for job in ids})
    if not wanted:
        return {}
    try:
        found = call("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%N", "-j", ",".join(wanted))
    except StageError as error:
        if "Invalid job id" in str(error):
            return {}
        raise
    return {line.split("|")[0]: Job(*line.split("|", 3)) for line in found.splitlines()}


def largest_array() -> int | None:
    """Return how many tasks an array may have here; ``None`` where Slurm does not say.

    Raises:
        StageError: the controller does not answer.
    """
    found = re.findall(r"(?:MaxArraySize\s*=\s*|max_array_tasks=)(\d+)", call("scontrol", "show", "config"))
    return min((int(number) for number in found if int(number) > 0), default=None)


def submit(file: str, options: Sequence[str]) -> str:
    """Submit a batch file and return the job's id.

    Raises:
        StageError: Slurm rejects it; the message has its words and the file.
    """
    try:
        return call("sbatch", "--parsable", *options, file).strip().split(";")[0]
    except StageError as error:
        raise StageError(
            f"Slurm rejects {file}: {str(error).removeprefix('sbatch: ').removeprefix('sbatch: error: ')}; "
            f"correct the profile or launcher.slurm and run the same command again"
        ) from error
