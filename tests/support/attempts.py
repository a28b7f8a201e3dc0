"""Attempts at one stage in this process, as its worker makes them: whole, or stopped after every single step.

python -m accelerate.commands.launch ... tests/support/attempts.py FOLDER override ...
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from accelerate import PartialState
from safetensors.torch import load_file
from tiny_run import ONE_ARM, SMALL

from adhere.records.artifact import STOP_CLEARED, Artifact, Stopped
from adhere.records.objects import write_yaml
from adhere.train.config.stage import StageSpec
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run, write_spec
from adhere.train.worker import attempt

TIMED = ("step_time", "seconds", "time", "per_second", "runtime")
"""Ends of the names of logged figures that no two runs have in common."""


def prepare(root: Path, *overrides: str, model: Path | None = None) -> Artifact:
    """Write the spec of the recipe's only stage below ``root``, as the driver does; it starts from ``model``."""
    run = plan_run([*SMALL, *ONE_ARM, f"run.root={root}", "tracking.wandb=off", *overrides])
    (stage,) = order(run.graph)
    artifact = Artifact(root / stage.kind)
    inputs = {"model": model} if model else {}
    spec = StageSpec(
        kind=stage.kind, label=stage.label, key=stage.key, artifact=artifact.path, inputs=inputs, recipe=run.recipe
    )
    write_yaml(artifact.spec, spec.model_dump(mode="json"))
    return artifact


def run_graph(root: Path, *overrides: str) -> dict[str, Artifact]:
    """Run every stage of a recipe with one arm below ``root``, in order; return the artifacts by the stages' labels."""
    run = plan_run([*SMALL, *ONE_ARM, f"run.root={root}", "tracking.wandb=off", *overrides])
    for stage in order(run.graph):
        write_spec(run, stage)
        attempt(run.artifact(stage.key))
    return {stage.label: run.artifact(stage.key) for stage in order(run.graph)}


def whole(artifact: Artifact) -> None:
    """Run the stage without a break."""
    attempt(artifact)


def step_by_step(artifact: Artifact) -> list[int]:
    """Ask every attempt to stop at once, until the stage is done; return the steps at which attempts stopped."""
    os.environ[STOP_CLEARED] = "1"
    stopped = []
    while not artifact.done:
        if os.environ.get("RANK", "0") == "0":
            artifact.stop.touch()
        try:
            attempt(artifact)
        except Stopped as end:
            stopped.append(end.step)
            assert len(stopped) < 100, "attempts make no progress"
        PartialState().wait_for_everyone()  # rank 0 alone writes DONE, after the others have left
    del os.environ[STOP_CLEARED]
    return stopped


def logged(artifact: Artifact) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.jsonl`` without what is a matter of speed."""
    rows = [json.loads(line) for line in (artifact.path / "metrics.jsonl").read_text().splitlines()]
    assert sum("train_runtime" in row for row in rows) == 1, "one summary ends the file"
    return [{name: value for name, value in row.items() if not name.endswith(TIMED)} for row in rows]


def differences(one: Artifact, other: Artifact) -> list[str]:
    """Return in what two artifacts of one stage differ: weights, logged figures, rollouts, drift figures."""
    learned = any(row.get("grad_norm", 0.0) > 0.0 for row in logged(one))
    found = [] if learned else ["nothing was learned, nothing compared"]
    (name,) = (path.name for path in one.model.glob("*model.safetensors"))
    a, b = load_file(one.model / name), load_file(other.model / name)
    found += [f"weights of {name}" for name in a if not torch.equal(a[name], b[name])]
    for left, right in zip(logged(one), logged(other), strict=True):
        keys = left.keys() | right.keys()
        found += [
            f"step {left['step']}: {key} {left.get(key)} and {right.get(key)}"
            for key in sorted(keys)
            if str(left.get(key)) != str(right.get(key))
        ]
    files = [sorted(p.name for p in (artifact.path / "rollouts").glob("*")) for artifact in (one, other)]
    if files[0] != files[1]:
        return [*found, f"rollouts: {files[0]} and {files[1]}"]
    found += [
        f"rollouts/{name}"
        for name in files[0]
        if pq.read_table(one.path / "rollouts" / name) != pq.read_table(other.path / "rollouts" / name)
    ]
    drift = [artifact.path / "monitors.jsonl" for artifact in (one, other)]
    if drift[0].exists() and drift[0].read_text() != drift[1].read_text():
        found.append("monitors.jsonl")
    return found


def main() -> None:
    """Below FOLDER, in every rank: a stage without a break, one step by step, and the rest of one that was killed."""
    folder, overrides = Path(sys.argv[1]), sys.argv[2:]
    whole(prepare(folder / "whole", *overrides))
    stopped = step_by_step(prepare(folder / "steps", *overrides))
    whole(prepare(folder / "killed", *overrides))
    if os.environ["RANK"] == "0":
        print(f"attempts stopped at {stopped}")


if __name__ == "__main__":
    main()
