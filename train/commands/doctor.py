"""``adhere doctor``: what a run would find on this machine. Nothing is changed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Grade = Literal["ok", "note", "bad"]
MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "bad": "[red]bad[/]"}

NEEDED = (
    "torch",
    "trl",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "hydra-core",
    "omegaconf",
    "math-verify",
)
OPTIONAL = ("deepspeed", "vllm", "bitsandbytes", "wandb", "trackio", "openai")
CONFLICTS = {
    "lighteval": "pins latex2sympy2_extended 1.0.6, which math-verify 0.9 cannot use; keep it in another environment",
    "nvidia-ifbench": "pulls langchain and spacy pins; keep it in another environment",
}
LOW_DISK_GB = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    grade: Grade
    what: str
    detail: str


def doctor() -> int:
    """Print the report; exit code 1 when something is bad."""
    findings = [*_versions(), *_pins(), *_devices(), *_disk(), *_tracking(), *_cluster()]
    table = Table(show_header=False, box=None)
    for finding in findings:
        table.add_row(MARKS[finding.grade], finding.what, finding.detail)
    Console().print(table)
    return int(any(finding.grade == "bad" for finding in findings))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions() -> list[Finding]:
    found = [Finding("ok", "python", f"{platform.python_version()} at {sys.executable}")]
    for name in NEEDED:
        version = _version(name)
        found.append(Finding("ok", name, version) if version else Finding("bad", name, "is not installed"))
    missing = [name for name in OPTIONAL if _version(name) is None]
    found += [Finding("ok", name, str(_version(name))) for name in OPTIONAL if name not in missing]
    return [*found, Finding("note", "optional", f"not installed: {', '.join(missing)}")] if missing else found


def _pins() -> list[Finding]:
    found = [Finding("bad", name, why) for name, why in CONFLICTS.items() if _version(name)]
    runtime = _version("antlr4-python3-runtime")
    if runtime is None or not runtime.startswith("4.9."):
        found.append(Finding("bad", "antlr4", f"runtime is {runtime}; hydra-core 1.3 and math-verify 0.9 need 4.9.3"))
    check = subprocess.run([sys.executable, "-P", "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        found.append(
            Finding(
                "bad",
                "pip check",
                check.stdout.strip().splitlines()[0] if check.stdout else check.stderr.strip(),
            )
        )
    return found or [Finding("ok", "pip check", "no conflicting packages")]


def _devices() -> list[Finding]:
    import torch

    cores = Finding("ok", "cpu", f"{os.cpu_count()} cores")
    if not torch.cuda.is_available():
        return [cores, Finding("note", "gpu", "none: recipes run on the CPU in float32")]
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
    return [
        cores,
        *(Finding("ok", "gpu", f"{g.name}, {g.total_memory / 2**30:.0f} GiB, {half}") for g in gpus),
    ]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return [Finding("ok" if free > LOW_DISK_GB else "note", "disk", f"{free:.0f} GiB free at {Path.cwd()}")]


def _tracking() -> list[Finding]:
    online = bool(os.environ.get("WANDB_API_KEY"))
    wandb = "WANDB_API_KEY is set: runs are tracked online" if online else "no WANDB_API_KEY: plain files only"
    offline = os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
    hub = (
        Finding("note", "hub", "HF_HUB_OFFLINE is set: hub models and data sets come from the cache")
        if offline
        else None
    )
    return [Finding("ok", "tracking", wandb), *([hub] if hub else [])]


def _cluster() -> list[Finding]:
    sbatch = shutil.which("sbatch")
    return [Finding("ok", "slurm", f"sbatch at {sbatch}" if sbatch else "no sbatch on this machine")]
