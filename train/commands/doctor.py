"""``adhere doctor``: what a run would find on this machine; of a finished run, whether its files are whole."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adhere.records.artifact import newest_whole
from adhere.records.run import RunFolder, find_run
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import DECLARED, WEIGHTS

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
class CheckResult:
    """One line of the report."""

    grade: Grade
    what: str
    detail: str


def doctor(run: str | None = None, /) -> int:
    """Check versions, conflicting packages, devices, disk and tracking, or the files of a run; exit 1 for what is bad.

    Of a run every checkpoint and all weights are read, about 1.8 GB a second where the disk keeps up, and compared with
    the checksums that were written. Damaged weights are marked, so that the next run makes that stage again.

    Args:
        run: A run's folder, or its name below runs/.
    """
    if run is not None:
        return show(run_findings(find_run(run)))
    import torch

    findings = [CheckResult("ok", "python", f"{platform.python_version()} at {sys.executable}")]
    for name in NEEDED:
        version = _version(name)
        findings.append(CheckResult("ok", name, version) if version else CheckResult("bad", name, "is not installed"))
    optional = {name: _version(name) for name in OPTIONAL}
    findings += [CheckResult("ok", name, version) for name, version in optional.items() if version]
    if missing := [name for name, version in optional.items() if version is None]:
        findings.append(CheckResult("note", "optional", f"not installed: {', '.join(missing)}"))

    # Packages that cannot stand beside each other.
    clashes = [CheckResult("bad", name, why) for name, why in CONFLICTS.items() if _version(name)]
    runtime = _version("antlr4-python3-runtime")
    if runtime is None or not runtime.startswith("4.9."):
        clashes.append(
            CheckResult("bad", "antlr4", f"runtime is {runtime}; hydra-core 1.3 and math-verify 0.9 need 4.9.3")
        )
    check = subprocess.run([sys.executable, "-P", "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        said = check.stdout.strip().splitlines()[0] if check.stdout else check.stderr.strip()
        clashes.append(CheckResult("bad", "pip check", said))
    findings += clashes or [CheckResult("ok", "pip check", "no conflicting packages")]

    findings.append(CheckResult("ok", "cpu", f"{os.cpu_count()} cores"))
    if torch.cuda.is_available():
        half = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        for gpu in (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())):
            findings.append(CheckResult("ok", "gpu", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {half}"))
    else:
        findings.append(CheckResult("note", "gpu", "none: recipes run on the CPU in float32"))

    free = shutil.disk_usage(Path.cwd()).free / 2**30
    findings.append(CheckResult("ok" if free > LOW_DISK_GB else "note", "disk", f"{free:.0f} GiB free at {Path.cwd()}"))
    online = bool(os.environ.get("WANDB_API_KEY"))
    wandb = "WANDB_API_KEY is set: runs are tracked online" if online else "no WANDB_API_KEY: plain files only"
    findings.append(CheckResult("ok", "tracking", wandb))
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        findings.append(CheckResult("note", "hub", "HF_HUB_OFFLINE is set: models and data sets come from the cache"))
    sbatch = shutil.which("sbatch")
    findings.append(CheckResult("ok", "slurm", f"sbatch at {sbatch}" if sbatch else "no sbatch on this machine"))

    return show(findings)


def show(findings: Sequence[CheckResult]) -> int:
    """Print the findings, and return the exit code."""
    table = Table(show_header=False, box=None)
    for finding in findings:
        table.add_row(MARKS[finding.grade], escape(finding.what), escape(finding.detail))
    Console().print(table)
    return int(any(finding.grade == "bad" for finding in findings))


def run_findings(run: RunFolder) -> list[CheckResult]:
    """Compare the checkpoints and the weights of a run's stages with what was written of them."""
    findings = []
    for stage in run.plan().stages:
        artifact = run.artifact(stage)
        if artifact.done:
            reason = artifact.damage(weights=makes_weights(stage.kind))
            files = artifact.manifest().get("files") if reason is None else None
            if reason is not None:
                artifact.mark_damaged(reason)
                findings.append(CheckResult("bad", stage.label, f"{reason}; the next run makes this stage again"))
            elif files is not None:
                size = sum(file["bytes"] for file in files.values()) / 1e9
                findings.append(CheckResult("ok", stage.label, f"done; {len(files)} files of {size:.2g} GB are whole"))
            else:
                old = makes_weights(stage.kind)
                without = "done; an earlier version wrote it, without checksums" if old else "done"
                findings.append(CheckResult("note" if old else "ok", stage.label, without))
            continue
        whole, damaged = newest_whole(artifact.checkpoints)
        for path, reason in damaged.items():
            instead = "no checkpoint is whole" if whole is None else f"{whole.name} is resumed from instead"
            findings.append(CheckResult("bad", stage.label, f"{path.name} is damaged: {reason}; {instead}"))
        if not damaged:
            kept = "no checkpoint" if whole is None else f"{whole.name} is whole"
            findings.append(CheckResult("ok", stage.label, f"not done; {kept}"))
    return findings


def makes_weights(kind: str) -> bool:
    """Return whether stages of the kind make weights; of a plug-in's kind that is not imported here, no."""
    return kind in DECLARED and kind_of(kind).makes == WEIGHTS


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
