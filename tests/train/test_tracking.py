"""Trackers beside the plain files: W&B offline leaves a run directory, trackio its data base."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "assets" / "tiny_base"


@pytest.mark.slow
def test_wandb_offline_and_trackio_record_two_steps_of_grpo(tmp_path: Path) -> None:
    if not TINY.is_dir():
        pytest.skip(f"needs the tiny base model at {TINY}")
    line = ["train", "debug=smoke", "~arms", "stages=[grpo]", "launcher.device=cpu", "launcher.threads=1"]
    line += ["tracking.wandb=offline", "tracking.trackio=true", "tracking.project=tracked"]
    known = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "TRACKIO_"))}
    done = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", *line],
        cwd=tmp_path,
        env={**known, "PYTHONPATH": str(ROOT), "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    artifact = (tmp_path / "runs" / "latest" / "stages" / "grpo").resolve()

    rows = [json.loads(text) for text in (artifact / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows if "rates/joint" in row] == [1, 2]

    (run,) = (artifact / "wandb").glob("offline-run-*")
    (record,) = run.glob("*.wandb")
    assert b"rates/joint" in record.read_bytes()
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in run.glob("files/media/table/rollouts_*.json")]
    steps = {row[table["columns"].index("step")] for table in tables for row in table["data"]}
    assert steps == {0, 1}

    (base,) = (tmp_path / "trackio").glob("tracked*.db")
    with sqlite3.connect(base) as connection:
        logged = [json.loads(text) for (text,) in connection.execute("SELECT metrics FROM metrics ORDER BY step")]
    assert sum(row.get("rollouts", {}).get("_type") == "trackio.table" for row in logged) == 2
    assert sum("rates/joint" in row or "train/rates/joint" in row for row in logged) == 2


def test_an_unknown_mode_of_wandb_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.wandb: .*'offline'.*got 'ofline'"):
        compose_recipe(["tracking.wandb=ofline"])
