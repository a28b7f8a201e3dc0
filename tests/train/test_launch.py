"""What is started for a stage: how many processes, how they share the model, and how many threads each has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adhere.train.config.schema import LauncherConfig
from adhere.train.launch.local.stage import launch_line, ranks_of, worker_environment

SPEC = Path("runs/artifacts/sft-0123/stage.yaml")


def line(kind: str, **settings: object) -> list[str]:
    return launch_line(LauncherConfig.model_validate(settings), kind, SPEC)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"strategy": "ddp", "processes": 4}, ["--multi_gpu"]),
        ({"strategy": "fsdp2", "processes": 4}, ["--use_fsdp"]),
        ({"strategy": "zero2"}, ["--use_deepspeed", "--zero_stage", "2"]),
        ({"strategy": "zero3", "processes": 4, "offload": True}, ["--use_deepspeed", "--zero_stage", "3", "cpu"]),
    ],
)
def test_a_training_stage_is_launched_with_its_strategy(settings: dict[str, object], wanted: list[str]) -> None:
    started = line("grpo", **settings)
    assert started[started.index("--num_processes") + 1] == str(settings.get("processes", 1))
    assert set(wanted) <= set(started)
    assert started[-3:] == ["-m", "adhere.train.worker", str(SPEC)]


def test_a_lone_process_needs_no_launcher() -> None:
    plain = [sys.executable, "-m", "adhere.train.worker", str(SPEC)]
    assert line("sft") == line("grpo", strategy="ddp") == line("sft", device="cpu") == plain
    for strategy in ("ddp", "fsdp2", "zero2", "zero3"):
        assert line("evaluate", strategy=strategy, processes=4) == plain


def test_a_lone_process_sees_one_gpu_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers would wrap its model in DataParallel and multiply its batch."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert worker_environment(LauncherConfig(), 1)["CUDA_VISIBLE_DEVICES"] == "3"
    assert worker_environment(LauncherConfig(strategy="ddp", processes=2), 2)["CUDA_VISIBLE_DEVICES"] == "3,5"


def test_the_cores_that_a_job_may_use_are_divided_among_the_ranks_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr("os.cpu_count", lambda: 96)
    launcher = LauncherConfig(strategy="ddp", processes=4, device="cpu")
    found = {kind: worker_environment(launcher, ranks_of(launcher, kind)) for kind in ("grpo", "evaluate")}
    assert (found["grpo"]["OMP_NUM_THREADS"], found["evaluate"]["OMP_NUM_THREADS"]) == ("4", "16")
    assert found["grpo"]["CUDA_VISIBLE_DEVICES"] == ""
