"""Two drivers that are started on one run at once: one works, the other waits for it or says that it cannot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tiny_run import ONE_ARM, REPOSITORY, command, stage

from adhere.records.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.long]


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
