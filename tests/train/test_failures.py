"""What a run says when it cannot go on: one clear message, an exit code, finished stages kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import ONE_ARM, adhere, fails, stage

pytestmark = pytest.mark.slow


def test_a_model_that_never_ends_a_response_stops_the_stage_with_the_reason(tmp_path: Path) -> None:
    said = fails(tmp_path, *ONE_ARM, "stages=[sft,grpo]", "grpo.max_completion_length=4")
    assert "grpo: hand-off: none of 8 greedy samples ended within 4 tokens" in said.splitlines()[-2]
    assert (stage(tmp_path, "sft") / "DONE").exists()
    # So hot that every token is as likely as the end token, one of 642: soon a whole step has no finished completion.
    said = fails(
        tmp_path,
        *ONE_ARM,
        "stages=[sft,grpo]",
        "grpo.temperature=1000",
        "grpo.max_clipped_steps=1",
        "grpo.max_steps=40",
    )
    assert "no completion ended by itself in 1 consecutive steps (clipped ratio 1.0)" in said.splitlines()[-2]


def test_rewards_that_cannot_be_scored_stop_training_and_are_no_zeros(tmp_path: Path) -> None:
    # The official checker reads a keyword as a regular expression, and this one is none.
    check = {"type": "rule", "constraint": "keywords:existence", "kwargs": {"keywords": ["("]}}
    rows = tmp_path / "odd.jsonl"
    with rows.open("w", encoding="utf-8") as out:
        for n in range(8):
            question = {"role": "user", "content": f"What is {n} + 1 + 1? Say (."}
            row = {
                "messages": [question],
                "answer": str(n + 2),
                "target": f"\\boxed{{{n + 2}}}",
                "checklist": [{"id": "say", "text": "Say (.", "check": check}],
            }
            out.write(json.dumps(row) + "\n")
    said = fails(
        tmp_path, *ONE_ARM, "stages=[sft,grpo]", f"data.train=[{{path: {rows}}}]", "data.train_size=8",
        "rewards.components.checklist.gate=null", "rewards.components.checklist.mode=compat",
    )  # fmt: skip
    assert "100% of this step's rollouts could not be scored (rewards.max_error_share is 20%)" in said.splitlines()[-2]
    assert "checklist: error" in said.splitlines()[-2]
    assert (stage(tmp_path, "sft") / "DONE").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk on which SFT's checkpoints do not fit."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(small_disk: Path) -> None:
    saves = [*ONE_ARM, "stages=[sft]", "sft.save_steps=2"]
    said = fails(small_disk, *saves)
    assert f"the disk that holds {small_disk}" in said.splitlines()[-2]
    assert "is full; free some space and run the same command again" in said.splitlines()[-2]
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    adhere(small_disk, *saves)
    assert (stage(small_disk, "sft") / "DONE").exists()


def test_a_disk_without_room_for_a_log_is_named_too(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=44k", str(small_disk)], check=True)
    assert "the disk or its quota is full" in fails(small_disk, *ONE_ARM, "stages=[sft]").splitlines()[-1]
