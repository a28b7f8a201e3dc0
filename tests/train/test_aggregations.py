"""Aggregations and schedules, trained for a few steps: the advantages in the rollout files are theirs."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from reward_rows import advantage_shares, advantages, aggregate, combine

from adhere.rewards.config import RewardConfig
from adhere.train.cli import main
from adhere.train.config.compose import compose_recipe
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run, write_spec
from adhere.train.worker import attempt

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "assets" / "tiny_base"
GROUP = 4
EPSILON = 1e-4
"""What TRL adds to the standard deviation that it divides by."""

GRPO = ["debug=smoke", "~arms", "stages=[grpo]", "launcher.device=cpu", "launcher.threads=1"]
SPREAD = [f"rewards.components.length.{key}" for key in ("weight=1", "target=0", "maximum=100")]
SPREAD += ["rewards.components.math.weight=0", "rewards.components.checklist.gate=null"]
"""Paid by the length as well, a group hardly ever has rewards that are all equal."""

pytestmark = pytest.mark.slow


Step = tuple[list[dict[str, Any]], dict[str, float]]


def start(root: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start GRPO on the tiny base for two steps, or as many as ``overrides`` say."""
    if not TINY.is_dir():
        pytest.skip(f"needs the tiny base model at {TINY}")
    return subprocess.Popen(
        [sys.executable, "-m", "adhere.train.cli", "train", *GRPO, *overrides],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def trained(root: Path, *overrides: str) -> list[Step]:
    """Train to the end, one rank in this process; return each step's rollouts and its row of metrics.

    ``adhere reweight`` stops where it cannot recompute the recorded advantages from the recorded verdicts.
    """
    root.mkdir(exist_ok=True)
    if "strategy=ddp" in overrides:
        process = start(root, *overrides)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        stage = root / "runs" / "latest" / "stages" / "grpo"
    else:
        run = plan_run([*GRPO, f"run.root={root / 'runs'}", "tracking.wandb=off", *overrides])
        (planned,) = order(run.graph)
        write_spec(run, planned)
        attempt(run.artifact(planned.key))
        stage = run.artifact(planned.key).path
    assert main(["reweight", str(stage), "rewards.components.format.weight=1", f"out={root / 'reweight'}"]) == 0
    files = [pq.read_table(file).to_pylist() for file in sorted((stage / "rollouts").glob("step_*.parquet"))]
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return list(zip(files, [line for line in lines if "reward" in line], strict=True))


def rollouts(root: Path, *overrides: str) -> list[list[dict[str, Any]]]:
    """Train for two steps; return each step's rollouts."""
    return [rows for rows, _ in trained(root, *overrides)]


def grouped(rows: list[dict[str, Any]], config: RewardConfig) -> list[list[dict[str, float | None]]]:
    return [[values(row, config) for row in rows[i : i + GROUP]] for i in range(0, len(rows), GROUP)]


def values(row: dict[str, Any], config: RewardConfig) -> dict[str, float | None]:
    return {name: row[f"{name}_value"] for name in config.components}


def scaled(rewards: list[float], spread: float) -> list[float]:
    mean = statistics.mean(rewards)
    return [(reward - mean) / (spread + EPSILON) for reward in rewards]


def test_a_product_is_scaled_by_its_group(tmp_path: Path) -> None:
    overrides = ["rewards.aggregation=product", *SPREAD]
    config = compose_recipe(overrides).rewards
    steps = rollouts(tmp_path, *overrides, "grpo.per_device_batch_size=16")
    assert [len(rows) for rows in steps] == [16, 16]
    for rows in steps:
        for start in range(0, len(rows), GROUP):
            group = rows[start : start + GROUP]
            rewards = [combine(config, values(row, config)) or 0.0 for row in group]
            expected = scaled(rewards, statistics.stdev(rewards))
            assert [row["advantage"] for row in group] == pytest.approx(expected, abs=1e-3)
        assert any(row["advantage"] for row in rows)


def test_normalize_then_sum_is_whitened_over_the_batch(tmp_path: Path) -> None:
    overrides = ["rewards.aggregation=normalize_then_sum", *SPREAD]
    config = compose_recipe(overrides).rewards
    for rows in rollouts(tmp_path, *overrides, "grpo.per_device_batch_size=16"):
        groups = [[values(row, config) for row in rows[i : i + GROUP]] for i in range(0, len(rows), GROUP)]
        rewards = [reward or 0.0 for reward in aggregate(config, groups)]
        expected = scaled(rewards, statistics.stdev(rewards))
        assert [row["advantage"] for row in rows] == pytest.approx(expected, abs=1e-3)
        assert any(row["advantage"] for row in rows)


RISING = "rewards.components.length.weight={schedule: linear, start: 0, end: 1, over: 1.0}"
FALLING = "rewards.components.length.weight={schedule: linear, start: 1, end: 0, over: 1.0}"


@pytest.mark.parametrize("aggregation", ["saturation_aware", "saturation_batch", "lexicographic"])
def test_advantages_and_their_shares_are_those_of_the_files(aggregation: str, tmp_path: Path) -> None:
    overrides = [f"rewards.aggregation={aggregation}", *SPREAD, FALLING, "grpo.per_device_batch_size=16"]
    config = compose_recipe(overrides).rewards
    steps = trained(tmp_path, *overrides)
    for step, (rows, logged) in enumerate(steps):
        weights, groups = config.weights(step, len(steps)), grouped(rows, config)
        assert [row["advantage"] for row in rows] == pytest.approx(advantages(config, groups, weights), abs=2e-3)
        shares = advantage_shares(config, groups, weights)
        assert sum(shares.values()) == pytest.approx(1.0)
        assert {n: logged[f"components/{n}/advantage_share"] for n in shares} == pytest.approx(shares)
        assert logged["components/length/weight"] == weights["length"] == 1.0 - step / 2


def test_saturation_batch_takes_its_mean_over_all_ranks(tmp_path: Path) -> None:
    """Two real ranks over gloo, two groups on each: the advantages follow from the file of both."""
    overrides = ["rewards.aggregation=saturation_batch", *SPREAD, "grpo.per_device_batch_size=8"]
    config = compose_recipe(overrides).rewards
    for rows, _ in trained(tmp_path, *overrides, "strategy=ddp", "launcher.processes=2"):
        groups = grouped(rows, config)
        assert len(groups) == 4 and {row["batch"] for row in rows} == {rows[0]["step"]}
        assert [row["advantage"] for row in rows] == pytest.approx(advantages(config, groups), abs=2e-3)


def test_a_scheduled_sum_is_trl_s_and_a_killed_run_goes_on_in_step(tmp_path: Path) -> None:
    pace = ["grpo.max_steps=4", "grpo.save_steps=1", "grpo.per_device_batch_size=8"]
    overrides = [*SPREAD, RISING, *pace]
    config = compose_recipe(overrides).rewards
    whole = trained(tmp_path / "whole", *overrides)
    assert len(whole) == 4
    for step, (rows, logged) in enumerate(whole):
        weights, groups = config.weights(step, 4), grouped(rows, config)
        assert weights["length"] == step / 4
        assert [row["advantage"] for row in rows] == pytest.approx(advantages(config, groups, weights), abs=1e-3)
        paid = [sum(w * (values(row, config)[n] or 0.0) for n, w in weights.items()) for row in rows]
        assert logged["reward"] == pytest.approx(statistics.mean(paid), abs=1e-5)

    (tmp_path / "killed").mkdir()
    process = start(tmp_path / "killed", *overrides)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "killed").glob("runs/artifacts/grpo-*/checkpoints/checkpoint-2/COMPLETE")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    resumed = trained(tmp_path / "killed", *overrides)
    for (rows, logged), (again, logged_again) in zip(whole, resumed, strict=True):
        assert [row["advantage"] for row in rows] == [row["advantage"] for row in again]
        assert logged["components/length/weight"] == logged_again["components/length/weight"]
        assert logged["reward"] == logged_again["reward"]
