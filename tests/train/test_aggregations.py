"""Aggregations that need more than a sum, trained for two steps: the advantages in the rollout files are theirs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from rewards.composite import combine, normalize_then_sum
from rewards.config import RewardConfig
from train.config.compose import compose_recipe

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "assets" / "tiny_base"
GROUP = 4
EPSILON = 1e-4
"""What TRL adds to the standard deviation that it divides by."""

SPREAD = [f"rewards.components.length.{key}" for key in ("weight=1", "target=0", "maximum=100")]
SPREAD += ["rewards.components.math.weight=0", "rewards.components.checklist.gate=null"]
"""Paid by the length as well, a group hardly ever has rewards that are all equal."""

pytestmark = pytest.mark.slow


def rollouts(root: Path, *overrides: str) -> list[list[dict[str, Any]]]:
    """Train GRPO for two steps on the tiny base; return each step's rollouts."""
    if not TINY.is_dir():
        pytest.skip(f"needs the tiny base model at {TINY}")
    line = ["train", "debug=smoke", "~arms", "stages=[grpo]", "launcher.device=cpu", "launcher.threads=1"]
    done = subprocess.run(
        [sys.executable, "-m", "train.cli", *line, *overrides],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = sorted((root / "runs" / "latest" / "stages" / "grpo" / "rollouts").glob("step_*.parquet"))
    return [pq.read_table(file).to_pylist() for file in files]


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
        rewards = [reward or 0.0 for reward in normalize_then_sum(config, groups)]
        expected = scaled(rewards, statistics.stdev(rewards))
        assert [row["advantage"] for row in rows] == pytest.approx(expected, abs=1e-3)
        assert any(row["advantage"] for row in rows)
