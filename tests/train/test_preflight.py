"""The worst-case step before training names memory that does not suffice; test_strategies holds that it is undone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tiny_run import ONE_ARM, REPOSITORY, command

SHORT = [*ONE_ARM, "sft.max_steps=2", "sft.learning_rate=1e-4", "grpo.max_steps=2"]


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
