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
from adhere.train.launch.slurm.profile import RESOURCES, Profile, Share, slurm_folder

OURS = {
    "nodes", "ntasks-per-node", "array", "output", "error", "open-mode", "signal", "dependency", "requeue", "hold"
}  # fmt: skip
"""Options of ``sbatch`` that the job's own script depends on."""

CHECK_SECONDS = 900
"""How long the nodes may take to answer the check; a container's image may have to be fetched."""

DEFAULTS = {
    "NCCL_DEBUG": "WARN",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    "TRITON_CACHE_DIR": "$CACHE/triton",
    "TORCHINDUCTOR_CACHE_DIR": "$CACHE/inductor",
    "VLLM_CACHE_ROOT": "$CACHE/vllm",
    "MIOPEN_USER_DB_PATH": "$CACHE/miopen",
}
"""Environment of the workers on a node, where neither the profile nor the job's own environment has the variable.
``$CACHE`` is a folder in ``$TMPDIR``: caches of compiled code lock their files, which shared file systems may not."""


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
    packages: Sequence[str] = (),
    until: int | None = None,
    ended: Path | None = None,
    offline: bool = False,
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
        packages: what the nodes' Python has to have besides what every worker imports.
        until: the optimizer step at which this job's part of the stage ends.
        ended: a file that names, one a line, the artifacts that successive halving has ended by then.
        offline: whether the cache has all that the run takes from the hub.

    Raises:
        ConfigError: an option of ``launcher.slurm.sbatch`` is one that the job's script decides, or the servers take
            more GPUs than a node has.
    """
    nodes = nodes_of(launcher, kind)
    ranks = ranks_of(launcher, kind) // nodes
    served = sum(server.gpus for server in servers) if profile.gpus_per_node and launcher.device != "cpu" else 0
    gpus = ranks if profile.gpus_per_node else 0
    if served > profile.gpus_per_node:
        raise ConfigError(
            f"{servers[0].keys[0]}: the servers of a stage run on one node, and theirs take {served} GPUs where the "
            f"profile's gpus_per_node is {profile.gpus_per_node}; give them fewer"
        )
    apart = bool(servers) and (nodes > 1 or gpus + served > profile.gpus_per_node)
    gpus = max(gpus, served) if apart else gpus + served
    own, asked = (profile.evaluate if kind == "evaluate" else Share()), launcher.slurm
    time = (asked.evaluation_time or own.time if kind == "evaluate" else None) or asked.time or profile.time
    options = {
        **_place(profile, own, name, time),
        "nodes": str(nodes + apart),
        "ntasks-per-node": "1",
    }
    # Of a node a job takes all that the profile says, or the share that its GPUs are of the node's.
    share = gpus / profile.gpus_per_node if profile.gpus_per_node else 1.0
    if gpus:
        options["gres"] = f"gpu:{profile.gpu_type}:{gpus}" if profile.gpu_type else f"gpu:{gpus}"
    if own.cpus_per_task is not None:
        options["cpus-per-task"] = str(own.cpus_per_task)
    elif profile.cpus_per_task is not None:
        options["cpus-per-task"] = str(max(1, int(profile.cpus_per_task * share)))
    if kind == "evaluate" and (memory := asked.evaluation_memory or own.memory) is not None:
        options["mem"] = memory
    elif profile.memory is not None and share == 1.0:
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
        "options": _header(options | own.sbatch | _extra(launcher)),
        "srun": _srun(profile),
        "here": '"${STEP[@]}" --nodes=1 --ntasks=1 --nodelist="$FIRST"' if profile.srun else "",
        "all_nodes": str(nodes + apart),
        "check_seconds": str(CHECK_SECONDS),
        "until": "" if until is None else f"--until {until}",
        "ended": "" if ended is None else f'! grep -qxF -e "$ARTIFACT" {shlex.quote(str(ended))} || exit 1',
        "folder": shlex.quote(str(folder)),
        "python": shlex.quote(profile.interpreter),
        "code": shlex.quote(str(code)),
        "nodes": str(nodes),
        "max_requeues": str(launcher.slurm.max_requeues),
        "server": render("server.sh", {}).rstrip() if apart else "",
        "server_seconds": f"{sum(server.seconds for server in servers):g}",
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
    needs = ["--gpus", str(gpus), *(["--must"] if launcher.device == "cuda" else []), *packages]
    node = common | {
        "gpus": str(gpus),
        "requirements": shlex.join(needs),
        "command": shlex.quote(profile.container.split()[0] if profile.container else profile.interpreter),
        "suffix": "" if nodes == 1 else ".node$SLURM_NODEID",
        "threads": str(launcher.threads or f"$((${{SLURM_CPUS_ON_NODE:-{ranks}}} / {ranks}))"),
        "notice_seconds": str(launcher.slurm.notice_seconds),
        "environment": "\n".join(exports(profile, launcher, offline=offline)),
        "launch": launch,
        "around": around if servers and not apart else "",
    }
    return {
        "stages.txt": "".join(f"{path}\n" for path in artifacts),
        "node.sh": render("node.sh", node),
        "job.sbatch": render("job.sbatch", batch),
    }


def exports(profile: Profile, launcher: LauncherConfig, *, offline: bool = False) -> list[str]:
    """Return the shell lines that set the environment of the workers on a node: ours, then the profile's.

    With ``offline`` all that the run takes from the hub is in the cache, and nobody asks the hub.
    """
    lines = [
        f'export {name}="${{{name}-{value}}}"' for name, value in DEFAULTS.items() if name not in profile.environment
    ]
    for name, value in profile.environment.items():
        # Only $NAME is the shell's; what else it would read is the value's own.
        plain = re.sub(r'(["\\`]|\$(?![A-Za-z_{]))', r"\\\1", value)
        lines.append(f'export {name}="{plain}"')
    if offline:
        lines.append("export HF_HUB_OFFLINE=1")
    if launcher.device == "cpu":
        # accelerate takes DeepSpeed for a GPU's: with ACCELERATE_USE_CPU it would silently train by DDP.
        kind = "DS_ACCELERATOR=cpu" if launcher.strategy.startswith("zero") else "ACCELERATE_USE_CPU=true"
        lines.append(f"export {kind} CUDA_VISIBLE_DEVICES='' HIP_VISIBLE_DEVICES=''")
    return lines


def finish_file(
    folder: Path,
    run: Path,
    launcher: LauncherConfig,
    profile: Profile,
    code: Path,
    module: str = "adhere.train.run.finish",
    name: str = "finish",
    arguments: Sequence[str] = (),
) -> str:
    """Return the batch file of a job that looks at a run: by default the one that ends it. It takes what ``finish:`` of
    the profile says.

    Args:
        folder: where its output goes.
        run: the run's folder.
        launcher: for its options of ``sbatch``, without those that say what a job takes.
        profile: of the cluster.
        code: the snapshot that the job runs.
        module: what it runs, with the run's folder as its first argument.
        name: of the job.
        arguments: further ones of the module.
    """
    share = profile.finish
    options = _place(profile, share, f"{run.name}-{name}", share.time or profile.time) | {"nodes": "1", "ntasks": "1"}
    options["output"] = str(folder / f"{name}-%j.out")
    given = {"mem": share.memory, "cpus-per-task": share.cpus_per_task}
    options |= {key: str(value) for key, value in given.items() if value is not None}
    options |= {key: value for key, value in _extra(launcher).items() if not RESOURCES.match(key)}
    if share.partition is not None:
        options.pop("constraint", None)  # it names features of the profile's own partition
    filled = {
        "options": _header(options | share.sbatch),
        "code": shlex.quote(str(code)),
        "container": profile.container or "",
        "here": f"srun --export=ALL --mpi=none --ntasks=1 {_srun(profile)}" if profile.srun else "",
        "setup": "\n".join(profile.setup),
        "python": shlex.quote(profile.interpreter),
        "module": module,
        "run": shlex.join([str(run), *arguments]),
    }
    return render("finish.sbatch", filled)


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


def _place(profile: Profile, own: Share, name: str, time: str) -> dict[str, str]:
    options = {"job-name": slug(name), "partition": own.partition or profile.partition}
    qos = own.qos or profile.qos
    given = {"account": profile.account, "qos": qos, "constraint": profile.constraint, "time": time}
    return options | {key: value for key, value in given.items() if value is not None}


def _srun(profile: Profile) -> str:
    return shlex.join(f"--{key}={value}" if value else f"--{key}" for key, value in profile.srun.items())


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
