"""The files of a job: ``job.sbatch``, ``node.sh`` and ``stages.txt``, rendered from the templates in ``slurm/``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from adhere.records.artifact import IN_TEMPLATES, SPEC
from adhere.records.names import slug
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import write_text
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import LauncherConfig
from adhere.train.launch.local.stage import ranks_of, worker_flags
from adhere.train.launch.serve.servers import Server
from adhere.train.launch.slurm.profile import Profile, slurm_folder

OURS = {"nodes", "ntasks-per-node", "array", "output", "error", "open-mode", "signal", "dependency", "requeue"}
"""Options of ``sbatch`` that the job's own script depends on."""

FINISH_TIME = "00:30:00"


def write_job_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the ``files`` of one job into ``folder``, and return the batch file."""
    for name, text in files.items():
        write_text(folder / name, text)
    return folder / "job.sbatch"


def job_files(
    folder: Path,
    name: str,
    kind: str,
    artifacts: Sequence[Path],
    launcher: LauncherConfig,
    profile: Profile,
    code: Path,
    servers: Sequence[Server] = (),
) -> dict[str, str]:
    """Return the text of each file of one job in ``folder``; several ``artifacts`` are an array.

    Args:
        folder: where the files go.
        name: of the job, for people.
        kind: of its stages.
        artifacts: the stages' folders, one for each task.
        launcher: ranks, nodes, device and options of ``sbatch``.
        profile: of the cluster.
        code: the snapshot that the job runs.
        servers: what runs beside the ranks: on their node where that is one and has the GPUs, otherwise on a node of
            their own.

    Raises:
        ConfigError: an option of ``launcher.slurm.sbatch`` is one that the job's script decides.
    """
    nodes = nodes_of(launcher, kind)
    ranks = ranks_of(launcher, kind) // nodes
    served = sum(server.gpus for server in servers) if profile.gpus_per_node and launcher.device != "cpu" else 0
    gpus = ranks if profile.gpus_per_node else 0
    apart = bool(servers) and (nodes > 1 or gpus + served > profile.gpus_per_node)
    gpus = max(gpus, served) if apart else gpus + served
    options = {
        **_place(profile, name, launcher.slurm.time or profile.time),
        "nodes": str(nodes + apart),
        "ntasks-per-node": "1",
    }
    # Of a node a job takes all that the profile says, or the share that its GPUs are of the node's.
    share = gpus / profile.gpus_per_node if profile.gpus_per_node else 1.0
    if gpus:
        options["gres"] = f"gpu:{profile.gpu_type}:{gpus}" if profile.gpu_type else f"gpu:{gpus}"
    if profile.cpus_per_task is not None:
        options["cpus-per-task"] = str(max(1, int(profile.cpus_per_task * share)))
    if profile.memory is not None and share == 1.0:
        options["mem"] = profile.memory
    elif profile.memory is not None and (found := re.fullmatch(r"(\d*[1-9]\d*)([KMGT]?)", profile.memory)):
        options["mem"] = f"{max(1, int(int(found[1]) * share))}{found[2]}"
    options |= {
        "output": str(folder / ("slurm-%A_%a.out" if len(artifacts) > 1 else "slurm-%j.out")),
        "open-mode": "append",
        "signal": f"B:USR1@{launcher.slurm.notice_seconds}",
        "requeue": "",
    }
    if len(artifacts) > 1:
        at_once = f"%{launcher.slurm.throttle}" if launcher.slurm.throttle else ""
        options["array"] = f"0-{len(artifacts) - 1}{at_once}"
    common = {"container": profile.container or "", "setup": "\n".join(profile.setup)}
    batch = common | {
        "options": _header(options | _extra(launcher)),
        "folder": shlex.quote(str(folder)),
        "python": shlex.quote(profile.interpreter),
        "code": shlex.quote(str(code)),
        "nodes": str(nodes),
        "max_requeues": str(launcher.slurm.max_requeues),
        "server": render("server.sh", {}).rstrip() if apart else "",
        "server_seconds": f"{sum(server.seconds for server in servers):g}",
        "last": 'LAST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tail -n 1)' if apart else "",
        "apart": '--exclude="$LAST"' if apart else "",
    }

    # What each node runs: accelerate, where there are ranks that share a model, and around it the servers beside them.
    launch, flags = "-m adhere.train.worker", worker_flags(launcher, kind)
    if flags:
        line = f"-m accelerate.commands.launch --num_machines {nodes}"
        if "--use_deepspeed" in flags and nodes > 1:
            flags += ["--deepspeed_multinode_launcher", "standard"]
        if ranks_of(launcher, kind) > 1:
            line += ' --main_process_port "$PORT"'
        if nodes > 1:
            line += ' --machine_rank "$SLURM_NODEID" --main_process_ip "$HEAD_ADDRESS" --rdzv_backend static'
        launch = f"{line} {shlex.join(flags)} {launch}"
    around = f'-m adhere.train.launch.serve.serving around "$ARTIFACT/{SPEC}" -- "$PYTHON"'
    node = common | {
        "gpus": str(gpus),
        "command": shlex.quote((profile.container or profile.interpreter).split()[0]),
        "suffix": "" if nodes == 1 else ".node$SLURM_NODEID",
        "threads": str(launcher.threads or f"$((${{SLURM_CPUS_ON_NODE:-{ranks}}} / {ranks}))"),
        "notice_seconds": str(launcher.slurm.notice_seconds),
        "environment": "    export ACCELERATE_USE_CPU=true CUDA_VISIBLE_DEVICES=" if launcher.device == "cpu" else "",
        "launch": launch,
        "around": around if servers and not apart else "",
    }
    return {
        "stages.txt": "".join(f"{path}\n" for path in artifacts),
        "node.sh": render("node.sh", node),
        "job.sbatch": render("job.sbatch", batch),
    }


def write_finish(folder: Path, run: Path, launcher: LauncherConfig, profile: Profile, code: Path) -> Path:
    """Write the batch file of the job that ends a run: one core, no GPU, half an hour.

    Args:
        folder: where the file goes.
        run: the run's folder.
        launcher: for its options of ``sbatch``.
        profile: of the cluster.
        code: the snapshot that the job runs.
    """
    options = {
        **_place(profile, f"{run.name}-finish", FINISH_TIME),
        "nodes": "1",
        "ntasks": "1",
        "output": str(folder / "finish-%j.out"),
        **_extra(launcher),
    }
    filled = {
        "options": _header(options),
        "code": shlex.quote(str(code)),
        "container": profile.container or "",
        "setup": "\n".join(profile.setup),
        "python": shlex.quote(profile.interpreter),
        "run": shlex.quote(str(run)),
    }
    write_text(folder / "finish.sbatch", render("finish.sbatch", filled))
    return folder / "finish.sbatch"


def nodes_of(launcher: LauncherConfig, kind: str) -> int:
    """Return how many machines a stage has; one where its kind is not distributed, as an evaluation."""
    return launcher.nodes if kind_of(kind).distributed else 1


def render(name: str, filled: Mapping[str, str]) -> str:
    """Return the template ``name`` with every ``@word@`` filled in; lines that become empty go."""
    lines, words = [], {**IN_TEMPLATES, **filled}
    for line in (slurm_folder() / name).read_text(encoding="utf-8").splitlines():
        new = re.sub(r"@([a-z_]+)@", lambda found: words[found[1]], line).rstrip()
        if new.strip() or not line.strip():
            lines.append(new)
    return "\n".join(lines) + "\n"


def _place(profile: Profile, name: str, time: str) -> dict[str, str]:
    options = {"job-name": slug(name), "partition": profile.partition}
    given = {"account": profile.account, "qos": profile.qos, "constraint": profile.constraint, "time": time}
    return options | {key: value for key, value in given.items() if value is not None}


def _extra(launcher: LauncherConfig) -> dict[str, str]:
    extra = {key.lstrip("-"): value for key, value in launcher.slurm.sbatch.items()}
    if taken := sorted(OURS & set(extra)):
        raise ConfigError(f"launcher.slurm.sbatch.{taken[0]}: adhere decides it; leave it out")
    return extra


def _header(options: Mapping[str, str]) -> str:
    lines = []
    for key, value in options.items():
        plain = value if re.fullmatch(r"\S*", value) and not set("'\"\\") & set(value) else json.dumps(value)
        lines.append(f"#SBATCH --{key}" + (f"={plain}" if value else ""))
    return "\n".join(lines)
