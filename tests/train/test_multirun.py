"""Sweeps: ``-m`` plans or runs every point, and an error meant for the user stays one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


def adhere(command: str, root: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    line = [
        sys.executable,
        "-m",
        "adhere.train.cli",
        command,
        "-m",
        "recipe=quickstart",
        f"run.root={root}",
        *overrides,
    ]
    return subprocess.run([*line, *overrides], cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)


def test_plan_of_a_sweep_plans_each_point_and_starts_nothing(tmp_path: Path, model_folder: Path) -> None:
    done = adhere("plan", tmp_path / "runs", f"model.path={model_folder}", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("to run    sft ") == 2
    assert not (tmp_path / "runs" / "artifacts").exists()


def test_an_error_in_a_sweep_is_one_line_and_an_exit_code(tmp_path: Path, model_folder: Path) -> None:
    done = adhere("train", tmp_path / "runs", f"model.path={model_folder}", "seed=0,1", "grpo.group_size=7")
    assert done.returncode == 2
    assert "grpo.group_size: 7 does not divide" in done.stderr
    assert "Traceback" not in done.stderr
