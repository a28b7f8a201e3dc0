"""The quickstart cut to seconds, and how a test runs it: as a user does, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = [
    "recipe=quickstart",
    "launcher.device=cpu",
    "launcher.threads=1",
    "data.train_size=48",
    "data.evaluation_size=8",
    "sft.max_steps=6",
    "sft.per_device_batch_size=8",
    "sft.warmup_steps=0",
    "grpo.max_steps=5",
    "grpo.per_device_batch_size=8",
    "grpo.group_size=4",
    "grpo.max_completion_length=64",
    "evaluation.sampling.max_new_tokens=64",
    "evaluation.bootstrap=100",
]
ONE_ARM = ["~arms"]


def command(root: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "adhere.train.cli", "train", *SMALL, f"run.root={root}", *overrides]


def adhere(root: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(root, *overrides), cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def stage(root: Path, label: str) -> Path:
    return root / "latest" / "stages" / label


def fails(root: Path, *overrides: str) -> str:
    done = subprocess.run(
        command(root, *overrides), cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode != 0
    return done.stderr


def workers_below(folder: str) -> list[int]:
    """Return the processes of workers whose ``stage.yaml`` has a path that holds ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "adhere.train.worker" in line and folder in line:
                found.append(int(entry.name))
    return found
