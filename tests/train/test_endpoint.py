"""A model behind an endpoint, measured by the public command: the server is ``transformers serve`` on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import served
from tiny_run import REPOSITORY

MODEL = REPOSITORY / "recipes" / "assets" / "tiny_base"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(MODEL, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


def evaluate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", "evaluate", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_an_endpoint_is_measured_like_a_folder(endpoint: str, tmp_path: Path) -> None:
    check = {"id": "c", "text": "No commas.", "check": {"type": "rule", "constraint": "punctuation:no_comma"}}
    with (tmp_path / "sums.jsonl").open("w", encoding="utf-8") as out:
        for n in range(6):
            question = {"role": "user", "content": f"What is {n} + 4?\nPut the final answer in \\boxed{{}}. No commas."}
            out.write(json.dumps({"messages": [question], "answer": str(n + 4), "checklist": [check]}) + "\n")
    served = ["backend=openai", f"base_url={endpoint}"]
    common = ["suite=sums.jsonl", "sampling.max_new_tokens=64"]
    for name, arguments in {"there": [str(MODEL), *served], "here": [str(MODEL)]}.items():
        done = evaluate(tmp_path, *arguments, *common, f"run.root={name}")
        assert done.returncode == 0, done.stderr
    results = {
        name: json.loads((tmp_path / name / "latest/stages/evaluate-base/results.json").read_text())["metrics"]
        for name in ("there", "here")
    }
    assert results["there"]["accuracy"] == results["here"]["accuracy"]
    assert results["there"]["hacc"] == results["here"]["hacc"]
    refused = evaluate(tmp_path, "another-model", *served, *common, "run.root=refused")
    assert refused.returncode != 0
    assert f"{endpoint}/chat/completions refuses model 'another-model'" in refused.stderr
    assert "requested 'another-model'" in refused.stderr
