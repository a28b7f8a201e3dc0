"""``adhere fetch``: models and data of a hub on loopback come into the cache, and their commits into the run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import commit_of, fake_hub
from tiny_run import REPOSITORY

pytestmark = pytest.mark.slow

ROWS = [{"question": f"What is {a} + 2?", "answer": f"{a + 2}", "solution": f"It is {a + 2}."} for a in range(12)]


def adhere(*line: str, cache: Path, endpoint: str, code: int = 0, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint, **more}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", *line],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def repositories(tmp_path: Path) -> dict[str, Path]:
    model, data = tmp_path / "model", tmp_path / "data"
    shutil.copytree(REPOSITORY / "recipes/assets/tiny_base", model)
    (model / "pytorch_model.bin").write_bytes(b"not read")
    data.mkdir()
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return {"models/lab/tiny": model, "datasets/lab/sums": data}


def test_what_is_fetched_is_pinned_and_stays_when_the_hub_moves_on(
    tmp_path: Path, repositories: dict[str, Path]
) -> None:
    cache, root = tmp_path / "cache", tmp_path / "runs"
    source = "data.train=[{dataset: lab/sums, columns: {question: question, answer: answer, solution: solution}}]"
    words = ["recipe=quickstart", "~arms", "model.path=lab/tiny", source, "data.evaluation=[]", "stages=[sft]"]
    words += [f"run.root={root}", "run.name=mine", "data.decontaminate=false", "launcher.device=cpu", "sft.max_steps=1"]
    words += ["data.train_size=8", "sft.per_device_batch_size=2", "data.constraints=null"]
    model, data = commit_of(repositories["models/lab/tiny"]), commit_of(repositories["datasets/lab/sums"])
    with fake_hub(repositories) as (endpoint, asked):
        said = adhere("fetch", *words, cache=cache, endpoint=endpoint)
        assert f"fetched  model    lab/tiny {'':>31} {model[:12]}" in said and data[:12] in said
        pins = json.loads((root / "mine/hub.json").read_text())
        assert pins == {"model:lab/tiny": model, "dataset:lab/sums": data}
        assert not any("pytorch_model.bin" in path for path in asked)
        # The hub has a newer commit: the run keeps its own.
        (repositories["models/lab/tiny"] / "new.json").write_text("{}")
        assert model[:12] in adhere("fetch", *words, cache=cache, endpoint=endpoint)
        assert json.loads((root / "mine/hub.json").read_text()) == pins
    # Nothing answers any more, and the run trains on what was pinned.
    adhere("train", *words, cache=cache, endpoint="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    spec = (root / "mine/stages/sft/stage.yaml").read_text()
    assert f"revision: {model}" in spec and f"revision: {data}" in spec
    assert (root / "mine/stages/sft/DONE").exists()


def test_what_cannot_be_fetched_is_named_by_its_key(tmp_path: Path, repositories: dict[str, Path]) -> None:
    words = ["recipe=quickstart", "~arms", "stages=[sft]", f"run.root={tmp_path / 'runs'}"]
    with fake_hub(repositories) as (endpoint, _):
        said = adhere("fetch", *words, "model.path=lab/tinny", cache=tmp_path / "c", endpoint=endpoint, code=2)
        assert "model.path: 'lab/tinny' cannot be fetched" in said and "Traceback" not in said
        said = adhere("fetch", *words, cache=tmp_path / "c", endpoint=endpoint)
        assert "nothing to fetch" in said


def test_the_plan_of_a_cluster_says_what_is_missing(tmp_path: Path, repositories: dict[str, Path]) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(f"partition: gpu\ngpus_per_node: 0\ntime: '4:00:00'\nshared: {tmp_path}\n")
    words = ["recipe=quickstart", "~arms", "stages=[sft]", "model.path=lab/tiny", f"run.root={tmp_path / 'runs'}"]
    words += ["launcher=slurm", f"launcher.slurm.profile={profile}"]
    cache = tmp_path / "cache"
    with fake_hub(repositories) as (endpoint, _):
        said = adhere("plan", *words, cache=cache, endpoint=endpoint)
        assert "model lab/tiny: not fetched; adhere fetch" in said and "HF_HUB_OFFLINE" not in said
        adhere("fetch", *words, cache=cache, endpoint=endpoint)
        said = adhere("plan", *words, cache=cache, endpoint=endpoint)
        assert f"model lab/tiny: commit {commit_of(repositories['models/lab/tiny'])[:12]}" in said
        assert "  HF_HUB_OFFLINE=1" in said
        shutil.rmtree(cache)
        assert "not fetched" in adhere("plan", *words, cache=cache, endpoint=endpoint)
