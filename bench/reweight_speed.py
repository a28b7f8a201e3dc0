"""Seconds that re-weighting takes: 100,000 rollouts of one GRPO stage under several other rewards.

    python bench/reweight_speed.py [--rollouts 100000] [--steps 125]

The rollout files are written by the trainer's own writer, with texts of the usual length and three requirements a
rollout, and a timeout in 1 % of them. What is timed is the whole command, from reading the
files to writing its tables, without the start of Python.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from adhere.rewards.arithmetic import signal, values_array, weights_array
from adhere.rewards.config import RewardConfig
from adhere.train.cli import main as adhere
from adhere.train.config.compose import compose_recipe
from adhere.train.config.stage import StageSpec
from adhere.train.stages.grpo_trainer import AdhereGRPOTrainer

GROUP = 8
POINTS = ["weights=[{checklist: 0}, {checklist: 0.25}, {checklist: 0.5}, {checklist: 2}]", "gate=[true,false]"]
POINTS += ["aggregation=[weighted_sum,normalize_then_sum,product]"]


def row(config: RewardConfig, number: int, rng: random.Random) -> dict[str, Any]:
    """Return one rollout as the trainer gathers it."""
    parts = [rng.choice([0.0, 1.0, 1.0]) for _ in range(3)]
    scores: dict[str, float | None] = {
        "math": rng.choice([0.0, 1.0]), "checklist": sum(parts) / 3, "format": rng.choice([0.0, 1.0]), "length": 1.0,
    }  # fmt: skip
    broken = rng.random() < 0.01
    verdicts = {n: {"score": s, "status": "ok", "detail": "as it is"} for n, s in scores.items()}
    if broken:
        verdicts["math"] = {"score": None, "status": "timeout", "detail": "5 s"}
    values = {n: None if broken else s for n, s in scores.items()}
    if not broken and scores["math"] == 0.0:
        values["checklist"] = 0.0
    text = f"Response {rng.random()}. " + "It says what such a response says. " * 20
    return {
        "item_id": f"item-{number // GROUP}", "source": rng.choice(["gsm8k", "math"]), "prompt": text[:200],
        "response": text, "answer": "19", "tokens": rng.randrange(20, 200), "finished": True,
        "correct": None if broken else scores["math"] == 1.0, "followed": scores["checklist"] == 1.0,
        "requirements": [{"id": str(i), "text": "Say it.", "score": s, "status": "ok", "detail": ""}
                         for i, s in enumerate(parts)],
        "verdicts": verdicts, "values": values,
    }  # fmt: skip


def write_stage(folder: Path, rollouts: int, steps: int) -> None:
    """Write a stage of the quickstart's composite with this many rollouts."""
    recipe = compose_recipe(["recipe=quickstart", "~arms", f"grpo.max_steps={steps}", f"grpo.group_size={GROUP}"])
    config, rng = recipe.rewards, random.Random(0)
    size = rollouts // steps // GROUP * GROUP
    for step in range(steps):
        rows = [row(config, i, rng) for i in range(size)]
        groups = [[r["values"] for r in rows[i : i + GROUP]] for i in range(0, size, GROUP)]
        writer = SimpleNamespace(
            _group_size=GROUP, _rows=rows, _rollouts_folder=folder / "rollouts",
            state=SimpleNamespace(global_step=step),
        )  # fmt: skip
        found = signal(config, values_array(config, groups), weights_array(config)).advantages
        AdhereGRPOTrainer._write_rollouts(writer, found.ravel().tolist())  # type: ignore[arg-type]
    spec = StageSpec(kind="grpo", label="grpo", key="0", artifact=folder, inputs={}, recipe=recipe)
    (folder / "stage.yaml").write_text(spec.model_dump_json(), encoding="utf-8")


def main() -> None:
    """Write the stage, re-weight it, and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=125)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_stage(folder, arguments.rollouts, arguments.steps)
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 2**20
        wall, cpu = time.perf_counter(), time.process_time()
        assert adhere(["reweight", str(folder), *POINTS, f"out={folder / 'out'}"]) == 0
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs; {size:.0f} MiB of files")
    print(f"{arguments.rollouts:,} rollouts under 24 other rewards: {wall:.2f} s, {cpu:.2f} s of CPU (target 5 s)")


if __name__ == "__main__":
    main()
