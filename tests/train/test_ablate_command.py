"""``adhere ablate`` as a user runs it: shared stages run once, a failed arm stops no other, a killed one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_run import REPOSITORY, SMALL

from adhere.records.artifact import Artifact, held

POINTS = ["weights=[{checklist: 0},{checklist: 1}]", "seeds=[0,1]", "grpo.save_steps=1"]

BROKEN = "['grpo.max_completion_length=2']"


def line(root: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "adhere.train.cli", "ablate", *SMALL, f"run.root={root}", *overrides]


def ablate(root: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line(root, *overrides), cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False
    )


def summary(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((root / "latest" / "arms.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_with_nothing_run_twice(tmp_path: Path) -> None:
    command = line(tmp_path, *POINTS, "stages=[sft,grpo]")
    first = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("artifacts/grpo-*/checkpoints/*/COMPLETE"))) < 2:
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    finished = {path.parent: path.stat().st_mtime_ns for path in tmp_path.glob("artifacts/*/DONE")}

    again = ablate(tmp_path, *POINTS, "stages=[sft,grpo]", "parallel=2")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done ") == 5 - len(finished)
    assert all((path / "DONE").stat().st_mtime_ns == when for path, when in finished.items())
    attempts = [len(list((path / "logs").glob("attempt_*.log"))) for path in tmp_path.glob("artifacts/sft-*")]
    assert attempts == [1]
    third = ablate(tmp_path, *POINTS, "stages=[sft,grpo]")
    assert "nothing to do" in third.stdout


def checkpointed(process: subprocess.Popen[str], root: Path) -> Path:
    """Wait for a first checkpoint of GRPO and return the artifact that has it."""
    deadline = time.monotonic() + 300
    while not (found := list(root.glob("artifacts/grpo-*/checkpoints/*/COMPLETE"))):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    return found[0].parents[2]


@pytest.mark.slow
def test_a_stop_file_stops_one_stage_and_a_sigterm_all_of_them(tmp_path: Path) -> None:
    command = line(
        tmp_path, *POINTS[:1], "grpo.save_steps=1", "grpo.max_steps=12", "stages=[sft,grpo,{evaluate:{of:[grpo]}}]"
    )
    first = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    stopped = checkpointed(first, tmp_path)
    (stopped / "STOP").touch()
    words = first.communicate(timeout=300)[1]
    assert first.returncode == 85, words
    assert "stopped; the same command goes on from there" in words
    assert [len(list(tmp_path.glob(f"artifacts/{kind}-*/DONE"))) for kind in ("grpo", "evaluate")] == [1, 1]

    second = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert any("running grpo" in line for line in second.stdout)
    second.send_signal(signal.SIGTERM)
    second.send_signal(signal.SIGTERM)
    words = second.communicate(timeout=300)[1]
    assert second.returncode == 143, words
    assert "the same command goes on from the checkpoints" in words
    with held(Artifact(stopped)):
        assert not (stopped / "FAILED").exists()


@pytest.mark.slow
def test_halving_ends_the_weak_early_and_a_failed_arm_stops_no_other(tmp_path: Path) -> None:
    points = [
        f"variants={{a: ['grpo.top_p=1.0'], b: ['grpo.top_p=0.9'], broken: {BROKEN}}}",
        "halving={rungs: [0.4], window: 0.4}",
        "stages=[sft,grpo,{evaluate:{of:[grpo]}}]",
    ]
    done = ablate(tmp_path, *points)
    assert done.returncode == 1
    assert "failed: grpo[broken]: hand-off: none of 8 greedy samples ended" in done.stderr
    found = summary(tmp_path)
    (rung,) = found["rungs"]  # type: ignore[misc]
    assert rung["step"] == 2
    assert sorted([*rung["kept"], *rung["ended"]]) == ["a", "b"]
    (kept,), (ended,) = rung["kept"], rung["ended"]
    stages = tmp_path / "latest" / "stages"
    assert (stages / f"grpo-{kept}" / "DONE").exists()
    assert (stages / f"evaluate-{kept}" / "results.json").exists()
    assert not (stages / f"grpo-{ended}" / "DONE").exists()
    assert (stages / f"grpo-{ended}" / "checkpoints" / "checkpoint-2" / "COMPLETE").exists()
    assert f"ended: {ended}" in done.stdout
    assert "halving left out 20 % of GRPO's steps" in done.stdout


@pytest.mark.slow
def test_the_plan_of_an_ablation_starts_nothing(tmp_path: Path, model_folder: Path) -> None:
    done = ablate(tmp_path, *POINTS, f"model.path={model_folder}", "--plan")
    assert done.returncode == 0, done.stderr
    assert "2 points × 2 seeds = 4 arms" in done.stdout
    assert done.stdout.count("to run    sft ") == 1
    assert list(tmp_path.glob("artifacts")) == []
