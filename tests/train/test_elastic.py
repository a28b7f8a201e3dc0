"""A stage goes on with another number of ranks: the same key, the same batches in the same order, a close result."""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file
from tiny_run import ONE_ARM, SMALL

import adhere.train.stages.grpo
import adhere.train.stages.sft
import adhere.train.worker
from adhere.records.artifact import EXIT_STOPPED, STOP_CLEARED, Artifact, Stopped
from adhere.train.config.compose import compose_recipe
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run, write_spec

STEPS = 4
LEARNS = [
    "sft.max_steps=4", "grpo.max_steps=4", "sft.learning_rate=1e-4", "grpo.learning_rate=1e-3",
    "rewards.components.checklist.gate=null", "tracking.wandb=off", "launcher.device=cpu",
]  # fmt: skip


def attempt(root: Path, kind: str, ranks: int, *, stop: bool) -> tuple[Artifact, str]:
    """Attempt the stage with so many ranks, each a process over gloo; with ``stop`` they are asked to end at once.

    Processes are forked, so that what they import is imported once. Returns the artifact and what the ranks said.
    """
    split = [f"{kind}.per_device_batch_size={8 // ranks}", f"launcher.processes={ranks}"]
    split += ["strategy=ddp"] if ranks > 1 else []
    run = plan_run([*SMALL, *ONE_ARM, *LEARNS, f"stages=[{kind}]", f"run.root={root}", *split])
    (stage,) = order(run.graph)
    artifact = run.artifact(stage.key)
    write_spec(run, stage)
    if stop:
        artifact.stop.touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = root / "said.log"
    children = []
    for rank in range(ranks):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                out = log.open("a", encoding="utf-8", buffering=1)
                sys.stdout = sys.stderr = out  # pytest has put others there
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                os.environ |= {"ACCELERATE_USE_CPU": "true", **({STOP_CLEARED: "1"} if stop else {})}
                if ranks > 1:
                    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
                    os.environ |= {name: str(value) for name, value in place.items()}
                    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                adhere.train.worker.RANK = rank
                adhere.train.worker.attempt(artifact)
                code = 0
            except Stopped:
                code = EXIT_STOPPED
            except BaseException:  # noqa: BLE001 - whatever it is, a forked child says it and ends
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    said = log.read_text(encoding="utf-8")
    assert codes == [EXIT_STOPPED if stop else 0] * ranks, said
    return artifact, said


def rows(artifact: Artifact) -> list[dict[str, float]]:
    found = [json.loads(line) for line in artifact.metrics.read_text(encoding="utf-8").splitlines()]
    return [row for row in found if "loss" in row]


def order_of_items(artifact: Artifact) -> list[list[str]]:
    files = sorted((artifact.path / "rollouts").glob("*.parquet"))
    return [sorted(pq.read_table(file, columns=["item_id"])["item_id"].to_pylist()) for file in files]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_from_two_ranks_to_one_and_back(tmp_path: Path, kind: str) -> None:
    whole, _ = attempt(tmp_path / "whole", kind, 2, stop=False)
    for ranks, step in ((2, 1), (1, 2)):
        elastic, said = attempt(tmp_path / "elastic", kind, ranks, stop=True)
        assert (elastic.checkpoints / f"checkpoint-{step}" / "COMPLETE").exists(), said
    assert "ranks that reached step 1: 2; that go on from it: 1" in said
    again, said = attempt(tmp_path / "elastic", kind, 2, stop=False)
    assert again.path == elastic.path and again.path.name == whole.path.name, said

    made = again.manifest()
    assert (made["steps"], made["ranks"]) == (STEPS, 2) and made["ranks_by_step"] == [[0, 2], [1, 1], [2, 2]]
    assert whole.manifest()["ranks_by_step"] == [[0, 2]]
    assert [row["step"] for row in rows(again)] == [row["step"] for row in rows(whole)]
    assert order_of_items(again) == order_of_items(whole)
    for figure in ("loss", "grad_norm"):
        ours, theirs = ([row[figure] for row in rows(artifact)] for artifact in (again, whole))
        assert any(theirs) and ours == pytest.approx(theirs, rel=1e-2, abs=1e-4), figure
    assert [row["learning_rate"] for row in rows(again)] == [row["learning_rate"] for row in rows(whole)]
    a, b = (load_file(artifact.model / "model.safetensors") for artifact in (again, whole))
    assert max(float((a[name] - b[name]).abs().max()) for name in a) < 1e-3


def key(kind: str, *overrides: str) -> str:
    (stage,) = order(plan_run([*SMALL, *ONE_ARM, f"stages=[{kind}]", *overrides]).graph)
    return stage.key


@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_a_key_holds_the_batch_and_not_its_factors(kind: str) -> None:
    def split(batch: int, accumulated: int, ranks: int, *more: str) -> str:
        several = ["strategy=ddp"] if ranks > 1 else []
        factors = [f"{kind}.per_device_batch_size={batch}", f"{kind}.gradient_accumulation={accumulated}"]
        return key(kind, *factors, f"launcher.processes={ranks}", *several, *more)

    same = {split(8, 1, 1), split(4, 2, 1), split(4, 1, 2), split(2, 2, 2), split(2, 1, 4)}
    assert len(same) == 1
    assert split(8, 2, 1) not in same and split(8, 1, 2) not in same and split(4, 1, 1) not in same
    if kind == "grpo":
        # A generation feeds two steps, however it is cut.
        twice = {split(8, 1, 1, "+grpo.trl.steps_per_generation=2"), split(4, 2, 1, "+grpo.trl.steps_per_generation=4")}
        assert len(twice) == 1 and not twice & same


def test_what_one_step_takes_is_part_of_the_plan_s_own_figures() -> None:
    recipe = compose_recipe([*SMALL, *ONE_ARM, "grpo.per_device_batch_size=2", "launcher.processes=4", "strategy=ddp"])
    assert recipe.completions_per_step == 2 * 4 * recipe.grpo.gradient_accumulation
