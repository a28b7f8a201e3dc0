"""A stage that is stopped at every step ends as one that never was: weights, logged figures, rollouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from attempts import differences, prepare, step_by_step, whole
from safetensors.torch import load_file

import adhere.train.stages.grpo
import adhere.train.stages.sft

pytestmark = [pytest.mark.slow, pytest.mark.long]

LEARNS = ["stages=[grpo]", "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null"]
GROWS = "{schedule: linear, start: 0.2, end: 1.0, over: 1.0}"
CASES = {
    "sft over two passes of the data, logging every third step": [
        "stages=[sft]", "data.train_size=24", "sft.max_steps=5", "sft.logging_steps=3",
    ],
    "grpo over two passes of the data, with a weight that grows": [
        *LEARNS, "data.train_size=6", "grpo.max_steps=5", f"rewards.components.checklist.weight={GROWS}",
    ],
    "grpo in TRL's own stream": [*LEARNS, "grpo.exact_trl=true", "grpo.max_steps=5"],
    "grpo with two iterations over two steps of two micro-batches": [
        *LEARNS, "grpo.gradient_accumulation=2", "+grpo.trl.num_iterations=2", "+grpo.trl.steps_per_generation=4",
        "grpo.logging_steps=3",
    ],
}  # fmt: skip


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_stopped_at_every_step_it_ends_as_if_it_never_was(tmp_path: Path, overrides: list[str]) -> None:
    one, other = prepare(tmp_path / "whole", *overrides), prepare(tmp_path / "steps", *overrides)
    whole(one)
    assert step_by_step(other) == [1, 2, 3, 4]
    assert differences(one, other) == []


@pytest.mark.parametrize("handoff", ["continue", "merge"])
def test_adapters_go_on_too(tmp_path: Path, handoff: str) -> None:
    adapter = ["model.adapter.kind=lora", "model.adapter.rank=4", f"model.adapter.handoff={handoff}"]
    sft = prepare(tmp_path, *adapter, "stages=[sft]", "sft.max_steps=2", "sft.learning_rate=1e-5")
    assert step_by_step(sft) == [1]
    given = [*adapter, *LEARNS, "grpo.max_steps=3"]
    one, other = (prepare(tmp_path / name, *given, model=sft.path) for name in ("whole", "steps"))
    whole(one)
    assert step_by_step(other) == [1, 2]
    assert differences(one, other) == []


@pytest.mark.parametrize("kind", ["sft", "grpo"])
def test_killed_while_it_hands_over_it_is_not_trained_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given = [
        f"stages=[{kind}]", f"{kind}.max_steps=2", f"{kind}.learning_rate=1e-3", f"{kind}.save_every_minutes=1e-6",
        "grpo.temperature=2",
        "rewards.components.checklist.gate=null",
    ]  # fmt: skip
    one, other = prepare(tmp_path / "whole", *given), prepare(tmp_path / "killed", *given)
    whole(one)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(getattr(adhere.train.stages, kind), "save_for_handoff", killed)
        with pytest.raises(KeyboardInterrupt):
            whole(other)
    assert not other.done
    saved = {path.name for path in other.checkpoints.glob("checkpoint-*")}
    assert saved == {"checkpoint-1", "checkpoint-2"}, "the first is of the clock, the second of the last step"
    whole(other)
    assert differences(one, other) == []


def test_the_best_checkpoint_is_handed_over_whether_stopped_or_not(tmp_path: Path) -> None:
    given = [*LEARNS, "grpo.learning_rate=1e-2", "grpo.max_steps=4", "grpo.save_steps=1"]
    one, other = (prepare(tmp_path / name, *given, "grpo.hand_over=best") for name in ("whole", "steps"))
    whole(one)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []
    best = json.loads((one.path / "manifest.json").read_text())["best"]
    assert best == json.loads((other.path / "manifest.json").read_text())["best"]
    assert best["by"] == "joint" and best["step"] < 4, "the last checkpoint is the best one: nothing is shown"
    short = prepare(tmp_path / "short", *given, f"grpo.max_steps={best['step']}")
    whole(short)
    a, b = (load_file(artifact.model / "model.safetensors") for artifact in (one, short))
    assert all(torch.equal(a[name], b[name]) for name in a)
