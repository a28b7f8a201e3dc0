"""One word for where a stage stands, from its files alone and with the queue's answer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from adhere.records.artifact import Artifact, complete, held, locked_inodes
from adhere.records.jobs import Job, JobRecord, write_job
from adhere.records.state import Queue, Standing, State, find_state

BY_SCANCEL = "by scancel; the same command goes on from its newest checkpoint"
RECORD = JobRecord("17", "/runs/x", "/runs/x/slurm/slurm-17.out")


def stands(artifact: Artifact, queue: Queue | None = None, *upstream: Standing, ended_early: bool = False) -> Standing:
    return find_state(artifact, "grpo[a]", locked_inodes(), queue=queue, upstream=upstream, ended_early=ended_early)


def begun(tmp_path: Path, *, host: str | None = None, checkpoint: int | None = None) -> Artifact:
    """Return an artifact that an attempt was made at; ``host`` is what its lock says."""
    artifact = Artifact(tmp_path / "grpo-0")
    artifact.logs.mkdir(parents=True)
    (artifact.logs / "attempt_0.log").touch()
    if host is not None:
        artifact.lock.write_text(host + "\n", encoding="utf-8")
    if checkpoint is not None:
        folder = artifact.checkpoints / f"checkpoint-{checkpoint}"
        folder.mkdir(parents=True)
        complete(folder).touch()
    return artifact


def test_nothing_there_is_to_run_and_so_is_a_stage_that_is_only_planned(tmp_path: Path) -> None:
    artifact = Artifact(tmp_path / "sft-0")
    assert stands(artifact).state is State.TO_RUN
    artifact.path.mkdir()
    artifact.spec.touch()
    assert stands(artifact).state is State.TO_RUN


def test_a_process_that_holds_the_stage_is_running_and_stopping_once_it_was_asked_to(tmp_path: Path) -> None:
    artifact = begun(tmp_path)
    with held(artifact):
        assert stands(artifact) == Standing("grpo[a]", State.RUNNING, "on this machine")
        artifact.stop.touch()
        assert stands(artifact).state is State.STOPPING
    assert stands(artifact).state is State.STOPPED  # the lock says that it was this machine


def test_one_stopped_folder_is_stopped_in_every_command(tmp_path: Path) -> None:
    artifact = begun(tmp_path, host=socket.gethostname(), checkpoint=40)
    assert stands(artifact) == Standing("grpo[a]", State.STOPPED, "by a kill, with a checkpoint at step 40")
    artifact.hand_back(40)
    assert stands(artifact) == Standing("grpo[a]", State.STOPPED, "with a checkpoint at step 40")


@pytest.mark.parametrize("host", [None, "another-node"])
def test_what_may_run_elsewhere_is_neither_called_running_nor_stopped(tmp_path: Path, host: str | None) -> None:
    artifact = begun(tmp_path, host=host, checkpoint=40)
    assert stands(artifact).state is State.STARTED


def test_a_job_whose_queue_was_not_asked_may_still_go_on(tmp_path: Path) -> None:
    artifact = begun(tmp_path, host=socket.gethostname())
    write_job(artifact.job, RECORD)
    artifact.hand_back(7)
    assert stands(artifact).state is State.STARTED


def test_done_and_failed_win_over_what_an_attempt_left(tmp_path: Path) -> None:
    artifact = begun(tmp_path, checkpoint=3)
    artifact.fail("out of disk")
    assert stands(artifact) == Standing("grpo[a]", State.FAILED, "out of disk")
    artifact.failed.write_text("", encoding="utf-8")
    assert stands(artifact) == Standing("grpo[a]", State.FAILED, "")
    artifact.finish({"kind": "grpo"})
    assert stands(artifact).state is State.DONE


def test_halving_ends_a_stage_early_unless_it_failed(tmp_path: Path) -> None:
    artifact = begun(tmp_path, checkpoint=3)
    assert stands(artifact, ended_early=True).state is State.ENDED_EARLY
    artifact.fail("no")
    assert stands(artifact, ended_early=True).state is State.FAILED


@pytest.mark.parametrize(
    ("job", "state", "detail"),
    [
        (Job("17", "RUNNING", "None", "node1"), State.RUNNING, "on node1"),
        (Job("17", "PENDING", "Dependency", ""), State.PENDING, "after sft"),
        (Job("17", "PENDING", "Resources", ""), State.PENDING, "waits for free nodes"),
        (Job("17", "CANCELLED", "None", ""), State.CANCELLED, BY_SCANCEL),
        (Job("17", "TIMEOUT", "None", ""), State.ENDED, f"without an error message (TIMEOUT): {RECORD.output}"),
        (None, State.ENDED, f"without an error message (Slurm has forgotten the job): {RECORD.output}"),
    ],
)  # fmt: skip
def test_the_queue_decides_what_files_cannot(tmp_path: Path, job: Job | None, state: State, detail: str) -> None:
    found = stands(begun(tmp_path), Queue(RECORD, job), Standing("sft", State.RUNNING))
    assert found == Standing("grpo[a]", state, detail)


def test_what_waits_for_a_failed_stage_is_cancelled_and_the_first_reason_is_handed_on(tmp_path: Path) -> None:
    artifact = begun(tmp_path)
    first = stands(artifact, Queue(RECORD, None), Standing("sft", State.FAILED, "out of disk"))
    assert first == Standing("grpo[a]", State.CANCELLED, "because sft failed: out of disk")
    assert stands(artifact, Queue(RECORD, None), first).detail == first.detail


def test_each_state_is_settled_lost_active_or_none_of_them() -> None:
    for state in State:
        assert state.settled + state.lost + state.active <= 1, state
