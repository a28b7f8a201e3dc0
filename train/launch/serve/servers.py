"""The servers that a stage needs beside its ranks: which there are, what starts them, and where each finds its GPUs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from adhere.rewards.errors import ConfigError, StageError
from adhere.rewards.judge.config import JudgeConfig
from adhere.train.config.generation import SERVED_MEMORY
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import ON_POLICY
from adhere.train.config.schema import LauncherConfig, Recipe
from adhere.train.config.stage import StageSpec

LOOPBACK = "127.0.0.1"
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
"""The variables that say which GPUs a process may use: of NVIDIA, AMD (which reads the first, too) and Intel."""

JUDGE_NEEDS = {"vllm": ("vllm", "adhere[vllm]"), "transformers": ("fastapi", "transformers[serving]")}
"""The package that serves a judge, and the extra that brings it, by the command."""

SCALE_OUT_SINCE = (0, 30)
"""vLLM's version from which TRL's client needs its ``--enable-scale-out``."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the recipe wants it.

    ``keys`` are the dotted keys that its address stands for; the first one, and ``model``, go into messages.
    ``arguments`` are those of its command besides model, host and port, ``seconds`` what it has to get healthy.
    """

    name: str
    keys: tuple[str, ...]
    command: Literal["vllm", "transformers"]
    model: str
    gpus: int
    port: int | None
    seconds: float
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] | None = None
    suffix: str = ""

    @property
    def port_key(self) -> str:
        """The key that decides its port."""
        return f"{self.keys[0]}.{'serve.' if self.suffix else ''}port"

    def url(self, host: str, port: int) -> str:
        """Return the address that its keys take."""
        return f"http://{host}:{port}{self.suffix}"


def servers_of(spec: StageSpec) -> list[Server]:
    """Return the servers that the launcher has to start for the stage; equal judges share one."""
    recipe = spec.recipe
    served = spec.kind in ON_POLICY and recipe.grpo.generation == "vllm_server" and not recipe.grpo.vllm.base_url
    found = [_rollouts(spec)] if served else []
    return [*found, *judge_servers(judges_of(spec.kind, recipe))]


def judges_of(kind: str, recipe: Recipe) -> dict[str, JudgeConfig]:
    """Return the judges that a stage asks, by their dotted keys."""
    if kind == "evaluate":
        return {"evaluation.judge": recipe.evaluation.judge} if recipe.evaluation.judge else {}
    if not kind_of(kind).scores:
        return {}
    components = recipe.rewards.components.items()
    judges = {f"rewards.components.{name}.judge": getattr(component, "judge", None) for name, component in components}
    return {key: judge for key, judge in judges.items() if judge is not None}


def judge_servers(judges: Mapping[str, JudgeConfig]) -> list[Server]:
    """Return one server for each model and way to serve it among ``judges``."""
    servers: list[Server] = []
    for key, judge in judges.items():
        if judge.serve is None:
            continue
        wanted = judge.serve
        split = wanted.command == "vllm" and wanted.gpus > 1
        server = Server(
            name="",
            keys=(key,),
            command=wanted.command,
            model=judge.model,
            gpus=wanted.gpus,
            port=wanted.port,
            seconds=wanted.start_seconds,
            arguments=(*(["--tensor-parallel-size", str(wanted.gpus)] if split else []), *wanted.options),
            suffix="/v1",
        )
        same = next(
            (i for i, s in enumerate(servers) if replace(s, keys=(), name="") == replace(server, keys=())), None
        )
        if same is None:
            servers.append(replace(server, name=f"judge_{len(servers)}"))
        else:
            servers[same] = replace(servers[same], keys=(*servers[same].keys, key))
    return servers


def server_command(server: Server, host: str, port: int, *, cpu: bool = False) -> list[str]:
    """Return the command that starts ``server``.

    Args:
        server: what to serve.
        host: the address that it listens on.
        port: of that address.
        cpu: whether transformers is kept off the GPUs; vLLM takes what ``CUDA_VISIBLE_DEVICES`` shows.
    """
    # Run as modules: the scripts' own first lines may name another interpreter than the one that has the packages.
    programs = {
        "vllm": [sys.executable, "-P", "-m", "vllm.entrypoints.cli.main", "serve"],
        "transformers": [sys.executable, "-P", "-m", "transformers.cli.transformers", "serve"],
    }
    line = [*programs[server.command], server.model, "--host", host, "--port", str(port)]
    return [*line, *(["--device", "cpu"] if cpu and server.command == "transformers" else []), *server.arguments]


def engine_seed(seed: int, replica: int = 0) -> int:
    """Return the seed of a vLLM engine, 31 bits: another one for every recipe seed and every engine of a run."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{replica}".encode()).digest()[:4], "big") >> 1


def packages_of_stage(kind: str, recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Return the packages that a stage needs besides adhere's own: for each the key that asks for it, and the extra."""
    found = {}
    if recipe.launcher.strategy.startswith("zero") and kind_of(kind).distributed:
        found["deepspeed"] = (f"launcher.strategy: {recipe.launcher.strategy}", "adhere[deepspeed]")
    if kind in ON_POLICY and recipe.grpo.generation.startswith("vllm"):
        found["vllm"] = (f"grpo.generation: {recipe.grpo.generation}", "adhere[vllm]")
    if kind == "evaluate" and recipe.evaluation.backend == "vllm":
        found["vllm"] = ("evaluation.backend: vllm", "adhere[vllm]")
    if kind_of(kind).makes is not None and recipe.model.adapter.kind == "qlora":
        found["bitsandbytes"] = ("model.adapter.kind: qlora", "adhere[qlora]")
    section = "grpo" if kind in ON_POLICY else kind
    if section in ("sft", "grpo", "dpo") and getattr(recipe, section).optimizer == "adamw_8bit":
        found["bitsandbytes"] = (f"{section}.optimizer: adamw_8bit", "adhere[qlora]")
    return judge_packages(judges_of(kind, recipe)) | found


def judge_packages(judges: Mapping[str, JudgeConfig]) -> dict[str, tuple[str, str]]:
    """Return the packages that serve ``judges``: for each the key that asks for it, and the extra."""
    found: dict[str, tuple[str, str]] = {}
    for key, judge in judges.items():
        if judge.serve is not None:
            package, extra = JUDGE_NEEDS[judge.serve.command]
            found.setdefault(package, (f"{key}.serve.command: {judge.serve.command}", extra))
    return found


def check_servers(stages: Iterable[tuple[str, Recipe]], *, elsewhere: bool = False) -> None:
    """Fail before anything starts where a stage's servers or generation need what this machine does not have.

    Args:
        stages: the kinds of a run's stages, each with its recipe.
        elsewhere: whether they run under another Python, whose packages their jobs look for.

    Raises:
        ConfigError: names every key, and the extra to install.
    """
    problems: dict[str, None] = {}
    for kind, recipe in stages:
        needed = {} if elsewhere else packages_of_stage(kind, recipe)
        checks = [partial(require, package, what, extra) for package, (what, extra) in needed.items()]
        for check in (*checks, partial(_check_models, judges_of(kind, recipe))):
            try:
                check()
            except ConfigError as error:
                problems[str(error)] = None
    if problems:
        raise ConfigError("\n".join(problems))


def check_judges(judges: Mapping[str, JudgeConfig]) -> None:
    """Fail where a judge is to be served by a package that is not installed, or from a folder that is not there.

    Raises:
        ConfigError: names the key, and the extra to install.
    """
    for package, (what, extra) in judge_packages(judges).items():
        require(package, what, extra)
    _check_models(judges)


def _check_models(judges: Mapping[str, JudgeConfig]) -> None:
    for key, judge in judges.items():
        if judge.serve is not None and Path(judge.model).is_absolute() and not Path(judge.model).is_dir():
            raise ConfigError(f"{key}.model: there is no folder '{judge.model}'")


def visible_gpus() -> list[str]:
    """Return the identifiers of the GPUs that a process started here may use, without importing torch."""
    name = next((name for name in GPU_VARIABLES if name in os.environ), None)
    if name is None and (amd := os.environ.get("ROCR_VISIBLE_DEVICES")):
        return [str(i) for i in range(len(amd.split(",")))]  # HIP numbers anew what this layer below it leaves
    given = None if name is None else os.environ[name]
    if given is not None:
        return [part for part in (p.strip() for p in given.split(",")) if part and part != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=60)
    return [str(i) for i, line in enumerate(li for li in listed.stdout.splitlines() if li.startswith("GPU "))]


def showing(gpus: Sequence[str]) -> dict[str, str]:
    """Return the environment in which a process sees only ``gpus`` of those that this one may use."""
    name = next((name for name in GPU_VARIABLES if name in os.environ), GPU_VARIABLES[0])
    return {name: ",".join(gpus)}


def split_gpus(
    launcher: LauncherConfig, servers: Sequence[Server], visible: Sequence[str], ranks: int
) -> tuple[list[str], list[list[str]]]:
    """Return the GPUs of the ``ranks`` and of each server: ranks take the first, servers the last, none shares one.

    On a machine without GPUs, or with ``launcher.device=cpu``, all of them are empty.

    Args:
        launcher: its device decides whether GPUs count.
        servers: each with the number of GPUs that it needs.
        visible: identifiers of this machine's GPUs.
        ranks: GPUs that training takes, one a rank.

    Raises:
        ConfigError: there are too few; or a server cannot do without.
    """
    if launcher.device == "cpu" or not visible:
        for server in servers:
            if server.variables:
                raise ConfigError(f"{server.keys[0]}: a server of rollouts needs GPUs, and this machine shows none")
        return [], [[] for _ in servers]
    wanted = sum(server.gpus for server in servers)
    if ranks + wanted > len(visible):
        parts = ", ".join(f"{server.gpus} for {server.keys[0]}" for server in servers)
        raise ConfigError(
            f"launcher.processes: {ranks} ranks and {wanted} GPUs of servers ({parts}) need {ranks + wanted} GPUs, "
            f"this machine shows {len(visible)}; lower one of them"
        )
    left, shares = list(visible), []
    for server in reversed(servers):
        cut = len(left) - server.gpus
        left, share = left[:cut], left[cut:]
        shares.append(share)
    return left[:ranks], shares[::-1]


def free_port(host: str, wanted: int | None, key: str) -> int:
    """Return ``wanted`` where it is free on ``host``, or any free port where none is wanted.

    Raises:
        StageError: ``wanted`` is taken; ``key`` opens the message.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, wanted or 0))
        except OSError as error:
            raise StageError(
                f"{key}: {f'port {wanted} is taken' if wanted else 'no port can be had'} on {host} ({error.strerror}); "
                + ("name another, or null for a free one" if wanted else "is it an address of this machine?")
            ) from error
        return int(tried.getsockname()[1])


def _rollouts(spec: StageSpec) -> Server:
    recipe, config = spec.recipe, spec.recipe.grpo.vllm
    # vLLM serves whole weights; those of an adapter arrive merged with the first weight transfer.
    adapter = (Path(spec.model_path) / "adapter_config.json").exists()
    model = recipe.model.path if adapter else spec.model_path
    arguments = ["--tensor-parallel-size", str(config.tensor_parallel)]
    arguments += ["--data-parallel-size", str(config.gpus // config.tensor_parallel)]
    arguments += ["--gpu-memory-utilization", str(config.gpu_memory_utilization or SERVED_MEMORY)]
    # One seed of the engine, none in the requests: a request's seed would be the same for every step's group.
    arguments += ["--seed", str(engine_seed(recipe.grpo_seed)), "--dtype", recipe.model.dtype]
    if config.max_model_length is not None:
        arguments += ["--max-model-len", str(config.max_model_length)]
    if recipe.model.revision is not None and model == recipe.model.path:
        arguments += ["--revision", recipe.model.revision]
    if recipe.model.trust_remote_code:
        arguments.append("--trust-remote-code")
    if _vllm_version() >= SCALE_OUT_SINCE:
        arguments.append("--enable-scale-out")
    arguments += ["--weight-transfer-config", json.dumps({"backend": "nccl"})]
    arguments += ["--logprobs-mode", "processed_logprobs", "--max-logprobs", "-1", *config.options]
    return Server(
        name="vllm",
        keys=("grpo.vllm",),
        command="vllm",
        model=model,
        gpus=config.gpus,
        port=config.port,
        seconds=config.start_seconds,
        arguments=tuple(arguments),
        variables={"VLLM_SERVER_DEV_MODE": "1"},
    )


def _vllm_version() -> tuple[int, ...]:
    try:
        version = importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return (0,)
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def require(package: str, what: str, extra: str) -> None:
    """Check that ``package`` is installed, which the setting ``what`` needs and ``extra`` brings.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"{what} needs {package}, which is not installed: pip install '{extra}'")
