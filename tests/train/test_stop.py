"""A run that is asked to stop: by a signal to its driver, by a file, by the loss of a rank."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attempts import differences, prepare, step_by_step, whole
from tiny_run import ONE_ARM, REPOSITORY, command
from transformers import TrainerControl, TrainerState, TrainingArguments

from adhere.records.artifact import Artifact, newest_checkpoint
from adhere.rewards.errors import AdhereError, ConfigError, StageError
from adhere.train.config.stage import read_spec
from adhere.train.launch.local.signals import Notice
from adhere.train.launch.local.stage import launch_line, run_stage, worker_environment
from adhere.train.stages.best_checkpoint import Best
from adhere.train.stages.callbacks import CompleteCheckpoints, StepClock

ATTEMPTS = REPOSITORY / "tests" / "support" / "attempts.py"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_stage_at_a_step_and_a_second_ctrl_c_at_once(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        command(tmp_path, *ONE_ARM, "stages=[sft,grpo]", "sft.max_steps=2000"), cwd=REPOSITORY, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    rows = tmp_path / "latest" / "stages" / "sft" / "metrics.jsonl"
    wait_for(rows.exists, process)
    process.send_signal(number)
    wait_for((rows.parent / "STOP").exists, process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    assert "stopping at the end of this step, with a checkpoint" in said
    artifact = Artifact(rows.parent)
    assert not artifact.done and not artifact.model.exists() and not (rows.parent.parent / "grpo").exists()
    if number == signal.SIGTERM:
        step = json.loads(artifact.requeue.read_text())["step"]
        assert f"adhere train: sft: stopped at step {step}; the same command goes on from there" in said
        assert newest_checkpoint(artifact.checkpoints) == artifact.checkpoints / f"checkpoint-{step}"
    else:
        assert "interrupted; finished stages are kept" in said


def test_an_evaluation_stops_between_batches_and_goes_on_with_the_rest(tmp_path: Path) -> None:
    given = ["stages=[evaluate]", "evaluation.batch_size=3"]
    one, other = prepare(tmp_path / "whole", *given), prepare(tmp_path / "steps", *given)
    whole(one)
    assert step_by_step(other) == [3, 6]
    a, b = (json.loads((artifact.path / "results.json").read_text()) for artifact in (one, other))
    assert a["metrics"] == b["metrics"]


def test_a_stage_that_cannot_go_on_says_so_beside_it_until_it_is_tried_again(tmp_path: Path) -> None:
    artifact = prepare(tmp_path, "stages=[sft]", "sft.max_length=8")
    artifact.requeue.touch()
    with pytest.raises(AdhereError):
        whole(artifact)
    assert "8" in json.loads(artifact.failed.read_text())["message"]
    assert not artifact.requeue.exists()
    prepare(tmp_path, "stages=[sft]", "sft.max_steps=2")
    artifact.stop.touch()  # left by an attempt that died: it is not meant for this one
    whole(artifact)
    assert artifact.done and not artifact.failed.exists() and not artifact.stop.exists()


def test_two_ranks_stop_as_one_and_the_loss_of_one_ends_both(tmp_path: Path) -> None:
    given = [
        "stages=[grpo]", "strategy=ddp", "launcher.processes=2", "grpo.per_device_batch_size=4", "grpo.save_steps=1",
        "grpo.learning_rate=1e-3", "grpo.max_steps=4", "rewards.components.checklist.gate=null",
    ]  # fmt: skip
    killed = prepare(tmp_path / "killed", *given)
    launcher = read_spec(killed.spec).recipe.launcher
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_stage, killed, launcher, "grpo", "grpo")
        deadline = time.monotonic() + 300
        ranks: dict[int, int] = {}
        while len(ranks) < 2 or not (killed.checkpoints / "checkpoint-1" / "COMPLETE").exists():
            assert not running.done() and time.monotonic() < deadline
            ranks = ranks if len(ranks) == 2 else ranks_of(killed)
            time.sleep(0.01)
        os.kill(ranks[1], signal.SIGKILL)
        with pytest.raises(StageError, match="ended with SIGKILL"):
            running.result(timeout=60)
    assert not ranks_of(killed) and not killed.requeue.exists() and not killed.failed.exists()

    line = [*launch_line(launcher, "grpo", killed.spec)[:-3], str(ATTEMPTS), str(tmp_path), *given]
    done = subprocess.run(
        line,
        cwd=REPOSITORY,
        env=worker_environment(launcher, 2) | {"PYTHONPATH": f"{ATTEMPTS.parent}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "attempts stopped at [1, 2, 3]" in done.stdout
    undisturbed = Artifact(tmp_path / "whole" / "grpo")
    assert differences(undisturbed, killed) == []
    assert differences(undisturbed, Artifact(tmp_path / "steps" / "grpo")) == []


def test_a_notice_is_a_file_and_a_second_one_does_no_harm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stop = tmp_path / "STOP"
    with Notice(stop) as notice:
        assert not stop.exists() and not notice.expired
        for number in (signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stop.exists() and notice.exit_code == 128 + signal.SIGUSR1 and not notice.expired
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err.count("stopping at the end of this step") == 1


def test_the_time_after_a_notice_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADHERE_NOTICE_SECONDS", "0.001")
    with Notice(tmp_path / "STOP") as notice:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert notice.expired
    monkeypatch.setenv("ADHERE_NOTICE_SECONDS", "soon")
    with pytest.raises(ConfigError, match="ADHERE_NOTICE_SECONDS: 'soon' is not a number"):
        Notice(tmp_path / "STOP")


def test_a_step_longer_than_the_notice_is_told_once_with_what_to_set(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clock, state = StepClock(tmp_path / "timing.json", notice=0.001), TrainerState(is_world_process_zero=True)
    given = (TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]), state, TrainerControl())
    for _ in range(2):
        clock.on_step_begin(*given)
        time.sleep(0.01)
        clock.on_step_end(*given)
        clock.on_save(*given)
    said = capfd.readouterr().err
    assert said.count("adhere: note: a step takes up to") == 1
    assert "set launcher.slurm.notice_seconds to at least 1" in said
    assert json.loads((tmp_path / "timing.json").read_text())["step_longest"] >= 0.01


def test_a_checkpoint_goes_only_when_a_newer_one_is_complete_and_the_best_stays(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    kept = []
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 5), (6, 5)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        state = TrainerState(global_step=step, best_global_step=best, is_world_process_zero=True)
        CompleteCheckpoints().on_save(arguments, state, TrainerControl())
        kept.append(sorted(int(path.name.rpartition("-")[2]) for path in tmp_path.iterdir()))
    assert kept == [[1], [1, 2], [2, 3], [2, 4], [4, 5], [5, 6]]


def test_the_best_is_chosen_by_the_mean_joint_rate_since_the_checkpoint_before() -> None:
    best = Best(save_steps=2)
    joints = [0.2, 0.4, 0.9, 0.1, 0.3, 0.6]
    chosen = []
    for step, joint in enumerate(joints, start=1):
        best.observe({"joint": joint, "accuracy": 1.0 - joint, "reward": 0.0})
        chosen.append(best.compare(step, last=6))
        resumed = Best(save_steps=2)
        resumed.load_state(best.state())
        best = resumed
    assert chosen == [False, True, False, True, False, False]
    assert best.found == {"by": "joint", "value": 0.5, "step": 4}
    without = Best(save_steps=1)
    without.observe({"joint": math.nan, "accuracy": 0.25, "reward": 1.0})
    assert without.compare(1, last=2) and without.found == {"by": "accuracy", "value": 0.25, "step": 1}


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not seen():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ranks_of(artifact: Artifact) -> dict[int, int]:
    """Return the process of every live rank that runs the artifact's stage."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            variables = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        rank = next((int(v.removeprefix("RANK=")) for v in variables if v.startswith("RANK=")), None)
        if rank is not None and "adhere.train.worker" in line and str(artifact.spec) in line:
            found[rank] = int(entry.name)
    return found
