"""Evaluations of one model share a process, which loads it once; each keeps its folder, its log and its state."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_run import ONE_ARM, REPOSITORY, SMALL, adhere, command, stage

from adhere.records.artifact import Artifact
from adhere.train.drive import one_process
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run

STAGES = (
    "stages={sft: {}, long: {kind: evaluate, of: [base, sft]}, "
    "short: {kind: evaluate, of: [base, sft], with: ['evaluation.sampling.max_new_tokens=32']}}"
)
GIVEN = [*ONE_ARM, STAGES, "sft.max_steps=1"]
LABELS = ("long-base", "short-base", "long-sft", "short-sft")


def test_what_shares_a_process() -> None:
    stages = {stage.label: stage for stage in order(plan_run([*SMALL, *GIVEN]).graph)}
    first = stages["long[base]"]
    other = stages["short[base]"]
    assert one_process(first, other) and one_process(other, first)
    assert not one_process(first, stages["long[sft]"])
    assert not one_process(stages["sft"], stages["sft"])

    def changed(section: str, **values: object) -> bool:
        recipe = other.recipe
        section_of = getattr(recipe, section).model_copy(update=values)
        return one_process(first, replace(other, recipe=recipe.model_copy(update={section: section_of})))

    assert changed("evaluation", batch_size=3)
    assert not changed("model", dtype="bfloat16")
    assert not changed("launcher", threads=7)
    assert not changed("evaluation", backend="vllm")
    judge = "evaluation.judge={model: m, serve: {command: transformers}}"
    graph = f'stages={{one: {{kind: evaluate, of: [base]}}, two: {{kind: evaluate, of: [base], with: ["{judge}"]}}}}'
    overrides = [*SMALL, *ONE_ARM, graph]
    judged = {stage.label: stage for stage in order(plan_run(overrides).graph)}
    assert not one_process(judged["one[base]"], judged["two[base]"])


def loads(root: Path, label: str) -> int:
    return sum(log.read_text().count("loading /") for log in (stage(root, label) / "logs").iterdir())


@pytest.mark.slow
def test_a_model_is_loaded_once_for_its_evaluations_also_after_a_kill(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    done = adhere(undisturbed, *GIVEN)
    assert done.stdout.count("then    short[") == 2
    assert [loads(undisturbed, label) for label in LABELS] == [1, 0, 1, 0]
    for label in LABELS:
        artifact = Artifact(stage(undisturbed, label))
        assert artifact.done and artifact.manifest()["label"] == label.replace("-", "[") + "]"
        logs = [log.read_text() for log in artifact.logs.iterdir()]
        assert len(logs) == 1 and artifact.manifest()["label"] in logs[0] and "\x1e" not in logs[0]

    running = subprocess.Popen(
        command(killed, *GIVEN), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 300
    while not (stage(killed, "long-base") / "DONE").exists():
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    running.kill()
    running.wait()
    again = adhere(killed, *GIVEN)
    assert "reused  long[base]" in again.stdout
    for label in LABELS:
        a, b = (pq.read_table(stage(root, label) / "responses.parquet") for root in (undisturbed, killed))
        assert a.equals(b)
        one, two = (json.loads((stage(root, label) / "results.json").read_text()) for root in (undisturbed, killed))
        assert one["metrics"] == two["metrics"]
