"""The profile of a cluster: what ``sbatch`` and ``srun`` need to know there, read from a YAML file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml
from pydantic import Field, ValidationError, field_validator

import adhere
from adhere.rewards.errors import ConfigError, nearest
from adhere.rewards.strict import Strict, field_texts
from adhere.train.config.schema import SLURM_MEMORY, SLURM_TIME, LauncherConfig, SlurmConfig

SRUN_OURS = {
    "nodes", "ntasks", "ntasks-per-node", "overlap", "export", "export-file", "nodelist", "exclude", "kill-on-bad-exit",
    "wait", "cpus-per-task", "jobid", "output", "error", "input", "multi-prog", "pty", "preserve-env",
}  # fmt: skip
"""Options of ``srun`` that the job's own script depends on."""

RESOURCES = re.compile(
    r"gres|gpus|gpu-|exclusive|mem|cpus|ntasks|tasks|nodes$|nodelist|exclude|constraint|partition|time|mincpus|tmp|cores-"
    r"|sockets|threads-|licenses|switches|contiguous|core-spec|extra-node-info|distribution"
)
"""How options of ``sbatch`` begin that say what a job takes; the finish job takes less."""


class Share(Strict):
    """What jobs of one sort take, where that is not what a training stage takes."""

    partition: str | None = Field(default=None, min_length=1)
    """Partition that they go to; ``None`` is the profile's."""

    qos: str | None = None
    """Quality of service; ``None`` is the profile's."""

    time: str | None = Field(default=None, pattern=SLURM_TIME)
    """Time limit."""

    memory: str | None = Field(default=None, pattern=SLURM_MEMORY)
    """Memory, as ``--mem`` takes it."""

    cpus_per_task: int | None = Field(default=None, ge=1)
    """CPU cores."""

    sbatch: dict[str, str] = Field(default_factory=dict)
    """Further options of ``sbatch`` by their long name."""


FINISH = {"time": "00:30:00", "memory": "4G", "cpus_per_task": 1}
"""What the job that ends a run takes where ``finish:`` does not say otherwise."""


class Profile(Strict):
    """One cluster, or one partition of it."""

    partition: str = Field(min_length=1)
    """Partition that jobs go to."""

    account: str | None = None
    """Account that is billed."""

    qos: str | None = None
    """Quality of service."""

    gpus_per_node: int = Field(ge=0)
    """GPUs that a node has; a job takes one for each of its ranks there. 0 is a cluster without GPUs."""

    gpu_type: str | None = None
    """Type in ``--gres=gpu:TYPE:N``, where the cluster wants one."""

    gpu_memory_gib: float | None = Field(default=None, gt=0.0)
    """Memory of one GPU in GiB, which ``adhere plan`` compares its estimate with."""

    cpus_per_task: int | None = Field(default=None, ge=1)
    """CPU cores that a job takes of a node; one that takes only some of its GPUs gets the same share of these."""

    memory: str | None = Field(default=None, pattern=SLURM_MEMORY)
    """Memory that a job takes of a node, as ``--mem`` takes it; ``"0"`` is all of it, where it takes all GPUs."""

    constraint: str | None = None
    """Features that a node must have."""

    time: str = Field(pattern=SLURM_TIME)
    """Time limit of a job (``D-HH:MM:SS``)."""

    shared: Path
    """Folder that the login node and every compute node see under this name; ``run.root`` lies below it."""

    evaluate: Share = Share()
    """What the job of an evaluation takes, where that is not what training takes."""

    finish: Share = Share.model_validate(FINISH)
    """What the job that ends a run takes: by default one core, 4 GB and half an hour of the profile's partition."""

    setup: list[str] = Field(default_factory=list)
    """Shell lines run on every node before the worker, such as ``module load cuda``."""

    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the workers, such as ``{NCCL_SOCKET_IFNAME: ib0}``; ``$NAME`` in a value is filled in on
    the node."""

    srun: dict[str, str] = Field(default_factory=dict)
    """Options of ``srun`` by their long name, for whatever runs our Python: Pyxis' ``{container-image: FILE}``."""

    container: str | None = None
    """Words before the interpreter, such as ``apptainer exec --nv --bind /shared image.sif``."""

    python: str | None = None
    """Interpreter on the nodes that has adhere's dependencies; ``None`` is the one that submits."""

    @field_validator("finish", mode="after")
    @classmethod
    def _little(cls, given: Share) -> Share:
        return Share.model_validate(FINISH | given.model_dump(exclude_unset=True))

    @field_validator("environment", mode="after")
    @classmethod
    def _names(cls, given: dict[str, str]) -> dict[str, str]:
        for name in given:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"'{name}' is not the name of an environment variable")
        return given

    @field_validator("srun", mode="after")
    @classmethod
    def _srun(cls, given: dict[str, str]) -> dict[str, str]:
        options = {name.lstrip("-"): value for name, value in given.items()}
        if taken := sorted(SRUN_OURS & set(options)):
            raise ValueError(f"adhere decides {taken[0]}; leave it out")
        return options

    @property
    def elsewhere(self) -> bool:
        """Whether jobs run another Python than the one that submits, so that its packages say nothing of theirs."""
        return (
            self.container is not None
            or any(name.startswith("container") for name in self.srun)
            or self.interpreter != sys.executable
        )

    @property
    def interpreter(self) -> str:
        """The interpreter that runs workers."""
        return self.python or sys.executable


def slurm_folder() -> Path:
    """Return the folder of templates and profiles: those that ship with the package."""
    return Path(adhere.__file__).resolve().parent / "slurm"


def load_profile(name: str | None) -> Profile:
    """Read the profile called ``name`` in ``slurm/profiles/``, or the YAML file of that path.

    Raises:
        ConfigError: there is none, or it is not a profile; the message names file and key.
    """
    folder = slurm_folder() / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name is None:
        raise ConfigError(
            f"launcher.slurm.profile: name the cluster: {', '.join(known)}, or a YAML file like those in {folder}"
        )
    given = name.endswith((".yaml", ".yml")) or "/" in name
    path = Path(name).expanduser() if given else folder / f"{name}.yaml"
    if not path.is_file():
        hint = "" if given else f"{nearest(name, known)}; there are {', '.join(known)}"
        raise ConfigError(f"launcher.slurm.profile: there is no {path if given else name!r}{hint}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Profile.model_validate(content if content is not None else {})
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {_problem(dict(e))}" for e in error.errors())) from error


def _problem(error: dict[str, object]) -> str:
    place = error["loc"]
    key = ".".join(map(str, place)) if isinstance(place, tuple) else str(place)
    if error["type"] == "missing":
        return f"{key}: is missing; {field_texts(Profile).get(key, 'every profile needs it')}"
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key{nearest(key, Profile.model_fields)}"
    return f"{key or 'the file'}: {error['msg']}"


def check_profile(profile: Profile, launcher: LauncherConfig, root: Path) -> None:
    """Check that the launcher's ranks fit the cluster's nodes, and that the runs lie where every node sees them.

    Raises:
        ConfigError: names the key and what to set.
    """
    nodes, ranks, gpus = launcher.nodes, launcher.processes, profile.gpus_per_node
    if gpus and launcher.device == "cpu":
        raise ConfigError("launcher.device: cpu on a profile with gpus_per_node > 0 leaves its GPUs idle; use auto")
    if ranks % nodes:
        raise ConfigError(f"launcher.processes: {ranks} ranks cannot be divided among {nodes} nodes")
    if gpus and ranks > nodes * gpus:
        raise ConfigError(
            f"launcher.processes: {ranks} ranks need {ranks // nodes} GPUs a node, the profile's gpus_per_node is "
            f"{gpus}; set launcher.nodes={-(-ranks // gpus)}, or fewer processes"
        )
    if not root.is_relative_to(profile.shared.expanduser().resolve()):
        raise ConfigError(
            f"run.root: {root} is not below {profile.shared}, the folder that all nodes see (the profile's shared); "
            f"choose run.root={profile.shared}/..."
        )


def notice_doubts(profile: Profile, slurm: SlurmConfig) -> list[str]:
    """Return a warning about a notice that comes as soon as the job starts."""
    time = slurm.time or profile.time
    seconds = time_seconds(time)
    if slurm.notice_seconds < seconds:
        return []
    return [
        f"launcher.slurm.notice_seconds: {slurm.notice_seconds} is not less than the job's time limit of {time} "
        f"({seconds} s): every attempt stops at its first step; lower it, or raise launcher.slurm.time"
    ]


def time_seconds(time: str) -> int:
    """Return the seconds of a time limit in any of the forms of ``sbatch --time``: ``M``, ``H:M:S``, ``D-H:M``, …"""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # after days come hours
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:  # a single number, or the first of two, is minutes
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
