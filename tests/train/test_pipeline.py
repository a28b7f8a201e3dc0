"""The pipeline from its public command to its artifacts, with real training of the tiny model.

Every test runs ``adhere`` in processes of its own, as a user does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from tiny_run import ONE_ARM, REPOSITORY, adhere, command, stage, workers_below

REFERENCE = Path(__file__).with_name("plain_trl.py")
pytestmark = pytest.mark.slow


def weights(root: Path, label: str) -> dict[str, torch.Tensor]:
    return load_file(stage(root, label) / "model" / "model.safetensors")


def metrics(root: Path, label: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (stage(root, label) / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    adhere(root)
    return root


def test_a_recipe_leaves_models_rollouts_metrics_and_a_comparison(finished: Path) -> None:
    run = finished / "latest"
    for name in ("results.md", "results.csv", "results.png", "recipe.yaml", "plan.json"):
        assert (run / name).stat().st_size > 0
    table = (run / "results.md").read_text()
    assert all(f"| {name} |" in table for name in ("base", "sft", "math_only", "composite"))
    assert (stage(finished, "grpo-composite") / "model" / "README.md").read_text().count("adhere train")
    rollouts = [
        row
        for p in sorted((stage(finished, "grpo-composite") / "rollouts").iterdir())
        for row in pq.read_table(p).to_pylist()
    ]
    assert len(rollouts) == 5 * 8
    assert {row["step"] for row in rollouts} == set(range(5))
    assert all(row["requirements"] for row in rollouts)
    assert all(row["math_status"] == "ok" and row["checklist_status"] == "ok" for row in rollouts)
    last = metrics(finished, "grpo-composite")[-2]
    for component in ("math", "checklist", "format", "length"):
        for figure in ("mean", "std", "scored", "zero_spread_groups", "errors", "timeouts", "seconds"):
            assert f"components/{component}/{figure}" in last
    assert {"rates/joint", "rates/accuracy", "rates/hacc"} <= last.keys()


def test_a_gated_checklist_is_paid_only_beside_a_right_answer(finished: Path) -> None:
    folder = stage(finished, "grpo-composite") / "rollouts"
    for path in folder.iterdir():
        for row in pq.read_table(path).to_pylist():
            assert row["checklist_value"] == (row["checklist_score"] if row["math_score"] == 1.0 else 0.0)


def test_the_same_recipe_again_does_nothing_and_another_weight_reuses_sft(finished: Path) -> None:
    again = adhere(finished)
    assert "nothing to do" in again.stdout and "running" not in again.stdout
    other = adhere(finished, "rewards.components.checklist.weight=0.5", "stages=[sft,grpo,{evaluate:{of:[grpo]}}]")
    assert "reused  sft" in other.stdout
    assert "reused  grpo[math_only]" in other.stdout
    assert "running grpo[composite]" in other.stdout


@pytest.mark.parametrize(
    ("label", "pace"),
    [
        ("sft", ["stages=[sft]", "sft.max_steps=12", "sft.save_steps=2"]),
        ("grpo", ["stages=[grpo]", "grpo.save_steps=1", "rewards.components.checklist.gate=null"]),
    ],
)
def test_killed_at_any_moment_and_resumed_gives_the_same_weights(tmp_path: Path, label: str, pace: list[str]) -> None:
    # Two passes over each generation of two micro-batches, so that checkpoints fall inside a generation buffer.
    overrides = [*ONE_ARM, *pace, "grpo.gradient_accumulation=2", "+grpo.trl.num_iterations=2"]
    adhere(tmp_path / "whole", *overrides)
    killed = 0
    for checkpoint in ("checkpoint-2", "checkpoint-4"):
        process = subprocess.Popen(
            command(tmp_path / "killed", *overrides),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(tmp_path / "killed" / "artifacts", f"{label}-*/checkpoints/{checkpoint}/COMPLETE", process)
        killed += kill_hard(process)
    resumed = adhere(tmp_path / "killed", *overrides)
    assert killed == 2
    assert f"running {label}" in resumed.stdout
    whole, again = weights(tmp_path / "whole", label), weights(tmp_path / "killed", label)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    steps = [row["step"] for row in metrics(tmp_path / "killed", label)]
    assert steps == [*range(1, steps[-1] + 1), steps[-1]], "a step is logged twice, or not at all"


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob(pattern)):
        assert process.poll() is None, f"ended before {pattern} was there"
        assert time.monotonic() < deadline, f"{pattern} did not come"
        time.sleep(0.02)


def kill_hard(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL the driver; its workers have to end by themselves before this returns."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while workers_below("/killed/"):
        assert time.monotonic() < deadline, "a killed driver left its workers behind"
        time.sleep(0.1)
    return 1


def test_math_alone_is_plain_trl_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "artifacts", tmp_path / "artifacts")  # its SFT is reused
    adhere(
        tmp_path, *ONE_ARM, "stages=[sft,grpo]", "rewards.components.checklist.weight=0", "grpo.kl_coefficient=0.01",
        "grpo.exact_trl=true",
    )  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, str(REFERENCE), str(stage(tmp_path, "grpo").resolve()), str(tmp_path / "plain")],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours, plain = weights(tmp_path, "grpo"), load_file(tmp_path / "plain" / "model.safetensors")
    start = weights(tmp_path, "sft")
    assert all(torch.equal(ours[name], plain[name]) for name in plain)
    assert any(not torch.equal(ours[name], start[name]) for name in start), (
        "nothing was learned, so nothing was compared"
    )


def test_two_ranks_train_one_model(finished: Path, tmp_path: Path) -> None:
    adhere(
        tmp_path / "two", *ONE_ARM, "stages=[sft,grpo]", "strategy=ddp", "launcher.processes=2",
        "launcher.device=cpu", "launcher.threads=1",
        "sft.per_device_batch_size=4", "grpo.per_device_batch_size=4",
    )  # fmt: skip
    for label in ("sft", "grpo"):
        manifest = json.loads((stage(tmp_path / "two", label) / "manifest.json").read_text())
        assert manifest["ranks"] == 2
    one, two = weights(finished, "sft"), weights(tmp_path / "two", "sft")
    # Sums over two ranks round differently, and Adam makes a full step of a gradient that is all rounding: compare with
    # how far training went. Ranks with other data, or alone, end as far from each other as from the start.
    start = load_file(REPOSITORY / "recipes" / "assets" / "tiny_base" / "model.safetensors")
    assert distance(one, two) < 0.001 * distance(one, start), "two ranks saw other data than one"
    for a, b in zip(metrics(finished, "sft"), metrics(tmp_path / "two", "sft"), strict=True):
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
            assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3)
    rows = pq.read_table(next((stage(tmp_path / "two", "grpo") / "rollouts").iterdir())).to_pylist()
    assert len(rows) == 8 and [row["group"] for row in rows] == [0] * 4 + [1] * 4
    assert len({row["item_id"] for row in rows[:4]}) == 1, "a group has to be one prompt, over all ranks"


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return float(sum((one[name] - other[name]).double().square().sum() for name in one) ** 0.5)
