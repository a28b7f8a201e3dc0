"""Run one stage on this machine: the only place that starts processes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rewards.errors import ConfigError, StageError
from train.artifacts import Artifact
from train.config.schema import LauncherConfig
from train.launch.orphans import end_with_parent

TAIL_LINES = 15


def launch_line(launcher: LauncherConfig, kind: str, spec: Path) -> list[str]:
    """Return the command that runs the stage described by ``spec``."""
    ranks = ranks_of(launcher, kind)
    line = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--quiet",
        "--num_machines",
        "1",
        "--num_processes",
        str(ranks),
    ]
    line += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        *(_strategy(launcher) if kind != "evaluate" else _one_process(launcher)),
        "-m",
        "train.worker",
    ]
    return [*line, str(spec)]


def ranks_of(launcher: LauncherConfig, kind: str) -> int:
    """Return how many processes a stage has; an evaluation is always one."""
    return launcher.processes if kind != "evaluate" else 1


def _one_process(launcher: LauncherConfig) -> list[str]:
    return ["--cpu"] if launcher.device == "cpu" else []


def _strategy(launcher: LauncherConfig) -> list[str]:
    if launcher.processes == 1 and launcher.strategy in ("single", "ddp"):
        return _one_process(launcher)
    port = ["--main_process_port", "0"]  # a free one, so that two runs on a machine do not meet
    if launcher.strategy == "ddp":
        return ["--multi_gpu", *port]
    if launcher.strategy == "fsdp2":
        wrap = ["--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP", "--fsdp_reshard_after_forward", "true"]
        offload = ["--fsdp_offload_params", str(launcher.offload).lower()]
        state = ["--fsdp_state_dict_type", "FULL_STATE_DICT"]
        return ["--use_fsdp", "--fsdp_version", "2", *wrap, *offload, *state, *port]
    where = "cpu" if launcher.offload else "none"
    zero = ["--use_deepspeed", "--zero_stage", launcher.strategy[-1], "--offload_optimizer_device", where, *port]
    if launcher.strategy == "zero3":
        zero += ["--offload_param_device", where, "--zero3_init_flag", "true", "--zero3_save_16bit_model", "true"]
    return zero


def run_stage(artifact: Artifact, launcher: LauncherConfig, kind: str, label: str) -> None:
    """Run the stage and wait for it; its output goes to the terminal and to a log file of this attempt.

    Raises:
        StageError: the stage ended without ``DONE``; the message has the last lines and the log's path.
    """
    artifact.logs.mkdir(parents=True, exist_ok=True)
    log = artifact.logs / f"attempt_{len(list(artifact.logs.iterdir()))}.log"
    line = launch_line(launcher, kind, artifact.spec)
    process = subprocess.Popen(
        line,
        env=environment(launcher, ranks_of(launcher, kind)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )
    tail = _follow(process, log)
    if process.returncode != 0 or not artifact.done:
        raise StageError(_explain(label, process.returncode, log, tail))


def _follow(process: subprocess.Popen[bytes], log: Path) -> Sequence[str]:
    """Copy the output to terminal and ``log`` until the process ends; an interrupt ends the whole process group."""
    assert process.stdout is not None
    try:
        with log.open("wb") as out:
            while chunk := os.read(process.stdout.fileno(), 65536):
                out.write(chunk)
                out.flush()
                sys.stderr.buffer.write(chunk)
                sys.stderr.flush()
        process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        raise
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return [line for line in lines if line.strip()]


def _explain(label: str, code: int, log: Path, tail: Sequence[str]) -> str:
    reasons = [line.removeprefix("adhere: ") for line in tail if line.startswith("adhere: ")]
    if reasons:
        return f"{label}: {reasons[-1]}\n  log: {log}"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    own = next((i for i, line in enumerate(tail) if "accelerate/commands/launch.py" in line), len(tail) + 2) - 2
    last = "\n".join(f"  | {line}" for line in tail[max(0, own - TAIL_LINES) : own])
    return f"{label}: the worker ended with {how} and no word of its own; its last lines:\n{last}\n  log: {log}"


def environment(launcher: LauncherConfig, ranks: int) -> dict[str, str]:
    """Return the environment of the workers: this one, threads per rank, and patient OpenMP threads."""
    threads = launcher.threads or max(1, (os.cpu_count() or 1) // ranks)
    # Spinning OpenMP threads keep the cores from whatever else runs: 3 times slower beside one other process.
    env = {"OMP_WAIT_POLICY": "passive", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **os.environ}
    env |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if launcher.device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
        # accelerate takes DeepSpeed for a GPU's: told to use the CPU it would silently train by DDP.
        env |= {"DS_ACCELERATOR": "cpu"} if launcher.strategy.startswith("zero") else {"ACCELERATE_USE_CPU": "true"}
    return env


def check_launcher(launcher: LauncherConfig) -> None:
    """Fail before anything starts where the strategy needs a package that is not installed.

    Raises:
        ConfigError: names the extra to install.
    """
    if launcher.strategy.startswith("zero") and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(f"launcher.strategy: {launcher.strategy} needs DeepSpeed: pip install 'adhere[deepspeed]'")
