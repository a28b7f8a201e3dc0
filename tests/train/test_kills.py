"""A stage of any kind that is killed with its driver ends, run again, with the same bytes as one that never was."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tiny_run import ONE_ARM, REPOSITORY, adhere, command, stage

from adhere.records.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.long]

GIVEN = [
    *ONE_ARM,
    "stages={sft: {}, grpo: {from: sft}, both: {kind: merge, from: sft, inputs: {models: [sft, grpo]}}, "
    "evaluate: {of: [both]}}",
    "sft.max_steps=3", "sft.save_steps=1", "sft.learning_rate=1e-3",
    "grpo.max_steps=3", "grpo.save_steps=1", "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null",
]  # fmt: skip
MOMENTS = {
    "sft": "checkpoints/checkpoint-1/COMPLETE",
    "grpo": "checkpoints/checkpoint-1/COMPLETE",
    "both": "model.partial",
    "evaluate-both": "responses.jsonl",
}
"""By stage, a file that shows that it works now."""


def worker_of(artifact: Artifact) -> int:
    """Return the process that runs the stage."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"adhere.train.worker" in words and os.fsencode(artifact.spec.resolve()) in words:
                return int(folder.name)
    raise AssertionError(f"no worker runs {artifact.path}")


def test_each_kind_of_stage_survives_kill_9(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    adhere(undisturbed, *GIVEN)
    reused: list[str] = []
    for label, moment in MOMENTS.items():
        artifact = Artifact(stage(killed, label))
        running = subprocess.Popen(
            command(killed, *GIVEN), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 300
        while not (artifact.path / moment).exists():
            assert running.poll() is None and not artifact.done and time.monotonic() < deadline
            time.sleep(0.002)
        worker = worker_of(artifact)
        os.kill(running.pid, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        output = running.communicate()[0].decode()
        assert all(f"reused  {name}" in output for name in reused)
        assert not artifact.done and not artifact.failed.exists()
        reused.append(label.replace("-both", "[both]"))
    adhere(killed, *GIVEN)

    for label in MOMENTS:
        one, two = stage(undisturbed, label), stage(killed, label)
        tables = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
        assert tables or label in ("sft", "both")
        for table in tables:
            a, b = (pq.read_table(folder / table) for folder in (one, two))
            names = [name for name in a.column_names if "seconds" not in name]
            assert a.select(names).equals(b.select(names))
        if label != "evaluate-both":
            assert (one / "model" / "model.safetensors").read_bytes() == (
                two / "model" / "model.safetensors"
            ).read_bytes()


def test_of_two_drivers_of_one_run_one_works_and_the_other_waits_or_says_so(tmp_path: Path) -> None:
    given = [*ONE_ARM, "stages=[sft]", "sft.max_steps=40"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    drivers = [subprocess.Popen(command(tmp_path, *given), cwd=REPOSITORY, **pipes) for _ in range(2)]
    outputs = [driver.communicate(timeout=500)[0] for driver in drivers]
    codes = [driver.returncode for driver in drivers]
    assert 0 in codes
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0 or "another process is running this stage; wait for it or end it" in output, output
    artifact = Artifact(stage(tmp_path, "sft"))
    assert artifact.done and not artifact.failed.exists()
    steps = [row for row in artifact.metrics.read_text().splitlines()]
    assert len(steps) == len(set(steps))
