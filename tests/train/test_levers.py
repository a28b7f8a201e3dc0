"""Levers that a rehearsal names: a gate that closes late, and updates as long as their evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, logged, prepare, step_by_step, whole
from transformers import TrainerControl, TrainerState, TrainingArguments

from adhere.evaluation.reweight import read_rollouts, recorded_signal
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import default_engine
from adhere.rewards.rollout import Rollout, checklist_of
from adhere.train.stages.callbacks import FollowLiveShare


def config(**checklist: Any) -> RewardConfig:
    rules = {"kind": "checklist", "gate": "math", **checklist}
    return RewardConfig.model_validate({"components": {"math": {"kind": "math"}, "checklist": rules}})


def test_a_gate_closes_at_its_share_of_training() -> None:
    late = config(gate_from=0.7)
    assert late.scheduled and not config().scheduled
    assert [late.gate_of("checklist", step, 10) for step in (0, 6, 7, 9)] == [None, None, "math", "math"]
    assert config().gate_of("checklist", 0, 10) == late.gate_of("checklist") == "math"
    with pytest.raises(ValueError, match="there is no gate to close"):
        config(gate=None, gate_from=0.5)


def test_the_composite_pays_a_wrong_answer_that_obeys_until_the_gate_closes() -> None:
    composite = Composite(config(gate_from=0.5), default_engine())
    listed = checklist_of(json.dumps([{"id": "a", "text": "", "check": {"constraint": "punctuation:no_comma"}}]))
    wrong = Rollout(prompt="2 + 2?", response="\\boxed{5}", answer="4", checklist=listed)
    paid = []
    for step in (0, 4, 5, 9):
        composite.at(step, 10)
        paid.append(composite.score([wrong]).values["checklist"][0])
    assert paid == [1.0, 1.0, 0.0, 0.0]


def test_an_update_is_as_long_as_its_groups_are_many() -> None:
    def moved(share: float) -> float:
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.AdamW([weight], lr=0.1)
        follow = FollowLiveShare()
        follow.share = share
        weight.grad = torch.ones(1)
        follow.on_pre_optimizer_step(TrainingArguments(), TrainerState(), TrainerControl(), optimizer=optimizer)
        optimizer.step()
        return -weight.item()

    assert moved(0.25) == pytest.approx(moved(1.0) / 4.0)
    assert moved(0.0) == 0.0


@pytest.mark.slow
def test_both_levers_resume_exactly_and_are_recorded(tmp_path: Path) -> None:
    words = [
        "stages=[grpo]", "grpo.max_steps=4", "grpo.learning_rate=1e-3", "grpo.learning_rate_follows=live_share",
        "rewards.components.checklist.gate_from=0.5", "grpo.temperature=1.5", "grpo.per_device_batch_size=32",
    ]  # fmt: skip
    one, other = prepare(tmp_path / "whole", *words), prepare(tmp_path / "steps", *words)
    plain = prepare(tmp_path / "plain", *[word for word in words if "follows" not in word])
    for artifact in (one, plain):
        whole(artifact)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []
    shares = [row["live_share"] for row in logged(one) if "live_share" in row]
    assert len(shares) == 4 and min(shares) < 1.0
    assert any("weights" in line for line in differences(one, plain)), "the learning rate did not follow"
    late = config(gate_from=0.5)
    rollouts = read_rollouts(one.rollouts, ["math", "checklist"], 4)
    found = recorded_signal(late, rollouts, 4)
    assert abs(found.advantages - rollouts.recorded).max() < 1e-5
