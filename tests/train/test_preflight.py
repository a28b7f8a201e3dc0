"""The worst-case step before training: it changes nothing, and memory that does not suffice is named at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from attempts import run_graph
from safetensors.torch import load_file
from tiny_run import ONE_ARM, REPOSITORY, command

SHORT = [*ONE_ARM, "sft.max_steps=2", "sft.learning_rate=1e-4", "grpo.max_steps=2"]


@pytest.mark.slow
def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    recipe = [*SHORT, "stages=[sft,grpo]", "rewards.components.checklist.gate=null", "grpo.learning_rate=1e-3"]
    runs = run_graph(tmp_path / "plain", *recipe), run_graph(tmp_path / "checked", *recipe, "preflight=true")
    for label in ("sft", "grpo"):
        plain, checked = (load_file(run[label].model / "model.safetensors") for run in runs)
        assert all(torch.equal(plain[name], checked[name]) for name in plain)


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_named_before_training(tmp_path: Path) -> None:
    wanted = command(tmp_path, *SHORT, "stages=[sft]", "preflight=true", "sft.per_device_batch_size=20000")
    done = subprocess.run(
        ["bash", "-c", 'ulimit -v 9000000; exec "$0" "$@"', *wanted],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "preflight: a step of 20000 sequences" in done.stderr
    assert not list(tmp_path.glob("artifacts/*/metrics.jsonl")), "it trained before it looked"
    assert "lower sft.per_device_batch_size" in done.stderr and "sft.gradient_checkpointing=true" in done.stderr
