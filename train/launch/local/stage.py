"""Run a stage, or several of one model, on this machine: a worker, or accelerate around ranks; servers beside it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from adhere.records.artifact import EXIT_STOPPED, NEXT_STAGE, STOP_CLEARED, Artifact, held
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import LauncherConfig, Recipe
from adhere.train.config.stage import read_spec
from adhere.train.config.trackers import INTEGRATIONS, TRACKERS, chosen
from adhere.train.launch.local.screen import Screen
from adhere.train.launch.local.signals import Interrupted, Notice
from adhere.train.launch.orphans import end_with_parent
from adhere.train.launch.serve.servers import check_servers, require, visible_gpus
from adhere.train.launch.serve.serving import serving

TAIL_LINES = 15
SAID = "adhere: error: "
"""How a worker begins the line that says why it ended."""

LEAVING_SECONDS = 10.0
"""How long a worker may still run after its driver was killed."""


def launch_line(launcher: LauncherConfig, kind: str, *specs: Path) -> list[str]:
    """Return the command that runs the stage described by ``specs``, or several one after another, on this machine."""
    flags = worker_flags(launcher, kind)
    ranks = {"--multi_gpu", "--use_fsdp", "--use_deepspeed"} & set(flags)
    port = ["--main_process_port", "0"] if ranks else []  # a free one, so that two runs on a machine do not meet
    line = ["-m", "accelerate.commands.launch", "--num_machines", "1", *flags, *port] if flags else []
    return [sys.executable, *line, "-m", "adhere.train.worker", *map(str, specs)]


def worker_flags(launcher: LauncherConfig, kind: str) -> list[str]:
    """Return the flags of ``accelerate launch`` for a stage, wherever it runs: ranks, and how they share the model.

    Empty where a single process shares nothing: it starts directly, seconds earlier.
    """
    ranks = ranks_of(launcher, kind)
    if not kind_of(kind).distributed or (ranks == 1 and launcher.strategy in ("single", "ddp")):
        return []
    line = ["--quiet", "--num_processes", str(ranks), "--mixed_precision", "no", "--dynamo_backend", "no"]
    if launcher.strategy == "ddp":
        return [*line, "--multi_gpu"]
    if launcher.strategy == "fsdp2":
        wrap = ["--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP", "--fsdp_reshard_after_forward", "true"]
        offload = ["--fsdp_offload_params", str(launcher.offload).lower()]
        state = ["--fsdp_state_dict_type", "FULL_STATE_DICT"]
        return [*line, "--use_fsdp", "--fsdp_version", "2", *wrap, *offload, *state]
    where = "cpu" if launcher.offload else "none"
    line += ["--use_deepspeed", "--zero_stage", launcher.strategy[-1], "--offload_optimizer_device", where]
    if launcher.strategy == "zero3":
        line += ["--offload_param_device", where, "--zero3_init_flag", "true", "--zero3_save_16bit_model", "true"]
    return line


def ranks_of(launcher: LauncherConfig, kind: str) -> int:
    """Return how many processes a stage has; one where its kind is not distributed, as an evaluation."""
    return launcher.processes if kind_of(kind).distributed else 1


def run_stage(
    artifact: Artifact, launcher: LauncherConfig, kind: str, label: str, then: Sequence[tuple[Artifact, str]] = ()
) -> None:
    """Run the stage and wait for it; its output goes to the terminal and to a log file of this attempt.

    A notice (SIGINT, SIGTERM, SIGUSR1) asks the worker to stop at its next step; the stop is waited for.

    Args:
        artifact: the stage's folder, with its ``stage.yaml``.
        launcher: ranks, strategy, device and threads.
        kind: of the stage.
        label: its name in messages.
        then: stages, with their labels, that the same process runs afterwards; of the same kind and launcher, and
            without servers.

    Raises:
        StageError: another process runs the stage; or the stage, or a server beside it, ended without ``DONE``: the
            message has the last lines and the log's path.
        Interrupted: it stopped because it was asked to; the message has the step that it goes on from.
    """
    artifacts, labels = [artifact, *(a for a, _ in then)], [label, *(name for _, name in then)]
    line = launch_line(launcher, kind, *(a.spec for a in artifacts))
    ranks = ranks_of(launcher, kind)
    artifact.logs.mkdir(parents=True, exist_ok=True)
    _begin(artifact, label)
    with Notice(artifact.stop) as notice, serving(read_spec(artifact.spec), artifact, ranks) as servers:
        process = subprocess.Popen(
            line,
            env=worker_environment(launcher, ranks) | servers.environment | {STOP_CLEARED: "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        servers.guard(process)
        log = _follow(process, artifacts, notice)
    # The stages ran in this order: the first that is not done is where the worker ended.
    artifact, label = next(
        ((a, n) for a, n in zip(artifacts, labels, strict=True) if not a.done), (artifacts[-1], labels[-1])
    )
    if notice.signum is not None and artifact.done:
        raise Interrupted(f"{label}: is done; the same command goes on with what follows", notice.exit_code)
    if artifact.requeue.exists():
        step = artifact.stopped_at()
        code = notice.exit_code if notice.signum is not None else EXIT_STOPPED
        raise Interrupted(f"{label}: stopped at step {step}; the same command goes on from there", code)
    if process.returncode != 0 or not artifact.done:
        raise StageError(_explain(artifact, label, process.returncode, log))


def _begin(artifact: Artifact, label: str) -> None:
    """Remove the marker files of an earlier attempt, once no process runs the stage: a live one needs its ``STOP``.

    An attempt that is stopping is waited for, and one whose driver was killed has a few seconds to be gone.

    Raises:
        StageError: another process runs the stage, and is not about to end.
    """
    started, told = time.monotonic(), False
    while True:
        try:
            with held(artifact):
                artifact.begin()
            return
        except StageError:
            if not artifact.stop.exists() and time.monotonic() - started > LEAVING_SECONDS:
                raise
        if not told:
            print(f"  waiting for the attempt at {label} that still runs", flush=True)
            told = True
        time.sleep(0.2)


def _follow(process: subprocess.Popen[bytes], artifacts: Sequence[Artifact], notice: Notice) -> Path:
    """Copy the output to each stage's log, and to the terminal what is news, until its end; return the last log.

    An interrupt ends the whole process group.
    """
    assert process.stdout is not None
    waiting = list(artifacts[1:])

    def show(part: bytes) -> None:
        sys.stderr.buffer.write(part)
        sys.stderr.flush()

    screen = Screen(show)
    try:
        log = _new_log(artifacts[0])
        while chunk := _read(process.stdout.fileno(), notice):
            for number, part in enumerate(chunk.split(NEXT_STAGE.encode())):
                if number > 0:
                    following = waiting.pop(0)
                    log = _new_log(following)
                    notice.follow(following.stop)
                with log.open("ab") as out:
                    out.write(part)
                screen.write(part)
        screen.close()
        process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise
    return log


def _new_log(artifact: Artifact) -> Path:
    artifact.logs.mkdir(parents=True, exist_ok=True)
    log = artifact.logs / f"attempt_{len(list(artifact.logs.glob('attempt_*.log')))}.log"
    log.touch()
    return log


def _read(output: int, notice: Notice) -> bytes:
    """Return what the process has written next, nothing at its end.

    Raises:
        Interrupted: it still runs when the time after a notice is over.
    """
    while not notice.expired:
        if select.select([output], [], [], 1.0)[0]:
            return os.read(output, 65536)
    raise Interrupted(
        "no step ended within ADHERE_NOTICE_SECONDS of the notice; the same command goes on from the newest checkpoint",
        notice.exit_code,
    )


def _explain(artifact: Artifact, label: str, code: int, log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    tail = [line for line in lines if line.strip()]
    reasons = [line.removeprefix(SAID) for line in tail if line.startswith(SAID)]
    if artifact.failed.exists():
        reasons = [artifact.message().replace("\n", " ")]
    if reasons:
        return f"{label}: {reasons[-1]}\n  log: {log}"
    killed = code == -signal.SIGKILL or any(re.search(r"exitcode\s*:\s*-9\b", line) for line in tail)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    how = "SIGKILL, as where the host's memory is out," if killed else how
    own = next((i for i, line in enumerate(tail) if "accelerate/commands/launch.py" in line), len(tail) + 2) - 2
    last = "\n".join(f"  | {line}" for line in tail[max(0, own - TAIL_LINES) : own])
    return f"{label}: the worker ended with {how} and without an error message; its last lines:\n{last}\n  log: {log}"


def worker_environment(launcher: LauncherConfig, ranks: int) -> dict[str, str]:
    """Return the environment of the workers: this one, threads per rank, and patient OpenMP threads."""
    threads = launcher.threads or max(1, len(os.sched_getaffinity(0)) // ranks)
    # Spinning OpenMP threads keep the cores from whatever else runs: 3 times slower beside one other process.
    env = {"OMP_WAIT_POLICY": "passive", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **os.environ}
    env |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    env["PYTHONSAFEPATH"] = "1"  # `python -m` would put the working folder, and what files lie there, before everything
    if launcher.device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
        # accelerate takes DeepSpeed for a GPU's: with ACCELERATE_USE_CPU it would silently train by DDP.
        env |= {"DS_ACCELERATOR": "cpu"} if launcher.strategy.startswith("zero") else {"ACCELERATE_USE_CPU": "true"}
    elif ranks == 1 and len(gpus := visible_gpus()) > 1:
        env["CUDA_VISIBLE_DEVICES"] = gpus[0]  # transformers would train a lone process by DataParallel on all of them
    return env


def check_machine(stages: Iterable[tuple[str, Recipe]], *, elsewhere: bool = False) -> None:
    """Fail before anything starts where this machine lacks what a stage needs: GPUs, packages, models to serve.

    Args:
        stages: the kinds of a run's stages, each with its recipe; all of them are looked at.
        elsewhere: whether they run under another Python, whose packages their jobs look for.

    Raises:
        ConfigError: a line for each key that cannot be met, and what to do.
    """
    stages, problems = list(stages), dict[str, None]()
    checks: list[Callable[[], None]] = [partial(check_servers, [stage], elsewhere=elsewhere) for stage in stages]
    for kind, recipe in stages:
        launcher, trains = recipe.launcher, kind_of(kind).distributed
        checks.append(partial(check_device, launcher))
        if recipe.model.kernels and not elsewhere:
            checks.append(partial(require, "kernels", "model.kernels", "kernels"))
        tracked = trains or kind == "evaluate"
        for name in chosen(recipe.tracking) if tracked and not elsewhere else []:
            if name in ("wandb", "trackio"):
                checks.append(partial(require, name, f"tracking.{name}", name))
            elif name not in TRACKERS and (packages := INTEGRATIONS[name]):
                here = next((package for package in packages if find_spec(package) is not None), packages[0])
                checks.append(partial(require, here, f"tracking.trackers={name}", here))
    for check in checks:
        try:
            check()
        except ConfigError as error:
            problems |= dict.fromkeys(str(error).splitlines())
    if problems:
        raise ConfigError("\n".join(problems))


def check_device(launcher: LauncherConfig) -> None:
    """Check that there is a GPU where the stage insists on one; whether torch can use it, the worker finds out.

    Raises:
        ConfigError: this machine shows none.
    """
    if launcher.device != "cuda" or launcher.kind != "local":
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not visible_gpus() and (
        hidden is not None or not Path("/dev/kfd").exists()
    ):  # AMD's driver, which torch calls cuda
        why = f"CUDA_VISIBLE_DEVICES is '{hidden}'" if hidden is not None else "nvidia-smi lists none"
        raise ConfigError(
            f"launcher.device: cuda, but this machine shows no GPU ({why}); use auto or cpu, or mend that"
        )
