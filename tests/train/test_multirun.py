"""Sweeps: ``-m`` plans or runs every point, and an error meant for the user stays one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]


def adhere(command: str, root: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "adhere.train.cli", command, "-m", "recipe=quickstart", f"run.root={root}"]
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


def test_a_sweep_of_ablations_plans_each_of_them(tmp_path: Path, model_folder: Path) -> None:
    points = ["weights=[{checklist: 0},{checklist: 1}]", "seeds=[0],[0,1]", "--plan"]
    done = adhere("ablate", tmp_path / "runs", f"model.path={model_folder}", *points)
    assert done.returncode == 0, done.stderr
    assert "2 points × 1 seeds = 2 arms" in done.stdout and "2 points × 2 seeds = 4 arms" in done.stdout


def test_a_sweep_of_audits_ends_with_the_worst_of_their_exit_codes(tmp_path: Path) -> None:
    weights = ["rewards.components.checklist.gate=math,null", "rewards.components.math.weight=0"]
    done = adhere("audit", tmp_path / "runs", *weights, "items=1", f"out={tmp_path}")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "audit passed" in done.stdout and "audit failed" in done.stdout
