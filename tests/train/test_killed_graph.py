"""A graph that is killed with -9 in each kind of stage and run again: equal results, and nothing is made twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences
from safetensors.torch import load_file
from tiny_run import ONE_ARM, REPOSITORY, adhere, command, workers_below

from adhere.records.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.long]

GRAPH = [
    *ONE_ARM,
    "stages={tuned: {kind: sft}, look: {kind: rehearse, from: tuned}, taught: {kind: grpo, from: tuned}, "
    "half: {kind: merge, inputs: {models: [tuned, taught]}}, last: {kind: evaluate, of: [half]}}",
    "run.name=graph", "sft.max_steps=12", "sft.save_steps=1", "grpo.save_steps=1", "grpo.learning_rate=1e-3",
    "rehearse.groups=8", "evaluation.batch_size=1", "rewards.components.checklist.gate=null",
]  # fmt: skip
IN_THE_MIDDLE = {
    "sft": "checkpoints/checkpoint-3/COMPLETE",
    "rehearse": "responses.jsonl",
    "grpo": "checkpoints/checkpoint-2/COMPLETE",
    "merge": "model.partial",
    "evaluate": "responses.jsonl",
}
"""What a stage of each kind has written when it is killed, in the order in which the stages run."""


def artifacts(root: Path) -> dict[str, Artifact]:
    return {path.name.partition("-")[0]: Artifact(path) for path in (root / "artifacts").iterdir()}


def finished(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each stage that is done was done, and its manifest, which holds how long it took."""
    return {
        kind: ((a.path / "DONE").stat().st_mtime_ns, (a.path / "manifest.json").read_bytes())
        for kind, a in artifacts(root).items()
        if a.done
    }


def kill_in_the_middle(root: Path, kind: str) -> None:
    """Start the run and kill its worker and its driver once the stage of ``kind`` has written what it resumes from."""
    driver = subprocess.Popen(
        command(root, *GRAPH), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list((root / "artifacts").glob(f"{kind}-*/{IN_THE_MIDDLE[kind]}")):
        assert driver.poll() is None, f"it ended before {kind} was seen"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for number in [*workers_below(f"{root}/artifacts/{kind}-"), driver.pid]:
        os.kill(number, signal.SIGKILL)
    driver.wait()
    while workers_below(f"{root}/"):
        assert time.monotonic() < deadline, "a killed driver left its workers behind"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    adhere(root, *GRAPH)
    return root


def test_killed_in_every_kind_of_stage_it_ends_as_if_it_never_was(undisturbed: Path, tmp_path: Path) -> None:
    done: dict[str, tuple[int, bytes]] = {}
    for place, kind in enumerate(IN_THE_MIDDLE):
        for _ in range(5):
            kill_in_the_middle(tmp_path, kind)
            killed = artifacts(tmp_path)[kind]
            if not killed.done:
                break
            shutil.rmtree(killed.path)  # it came to its end before the kill: once more
        assert not killed.done, f"{kind} was never killed before its end"
        assert finished(tmp_path).keys() == set(list(IN_THE_MIDDLE)[:place])
        assert finished(tmp_path).items() >= done.items(), "a finished stage was made again"
        done = finished(tmp_path)
    last = adhere(tmp_path, *GRAPH).stdout
    assert [word for word in ("tuned", "look", "taught", "half") if f"reused  {word} " not in last] == []
    assert finished(tmp_path).items() >= done.items()
    assert "nothing to do" in adhere(tmp_path, *GRAPH).stdout

    ours, theirs = artifacts(tmp_path), artifacts(undisturbed)
    assert {kind: a.path.name for kind, a in ours.items()} == {kind: a.path.name for kind, a in theirs.items()}
    for kind in ("sft", "grpo"):
        assert differences(theirs[kind], ours[kind]) == []
    one, other = (load_file(found["merge"].model / "model.safetensors") for found in (theirs, ours))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    def read(artifact: Artifact, name: str) -> Any:
        return json.loads((artifact.path / name).read_text(encoding="utf-8"))

    assert read(ours["evaluate"], "results.json")["metrics"] == read(theirs["evaluate"], "results.json")["metrics"]
    assert read(ours["rehearse"], "rehearsal.json") == read(theirs["rehearse"], "rehearsal.json")
    for kind in ("rehearse", "evaluate"):
        rows = [
            sorted((found[kind].path / "responses.jsonl").read_text(encoding="utf-8").splitlines())
            for found in (ours, theirs)
        ]
        assert len(rows[0]) == len(rows[1]), f"{kind}: a response was drawn twice, or not at all"
    tables = [(root / "graph" / "results.csv").read_text(encoding="utf-8") for root in (tmp_path, undisturbed)]
    assert tables[0] == tables[1]
