"""Rubrics as rewards by their recipe: one question for each item, or one about all; avoided pitfalls pay."""

from __future__ import annotations

from pathlib import Path

import pytest
from judge_server import ScriptedServer

from adhere.records.tables import read_rollout_files, rollout_files
from adhere.rewards.segments import split_response
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run, write_spec
from adhere.train.worker import attempt

WEIGHTS = {"essential": 100.0, "important": 70.0, "optional": 30.0, "pitfall": 90.0}


def answer(message: str, _: object) -> str:
    """Say that every pitfall is avoided and nothing else is met; of a whole rubric, that it is half met."""
    if "Taking all of them together" in message:
        return "50"
    asked = message.rpartition("Requirement to grade: ")[2].splitlines()[0]
    return "100" if " does not " in asked else "0"


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "questions"), [("explicit", 4), ("implicit", 1)])
def test_a_rubric_is_graded_as_its_arm_says(tmp_path: Path, arm: str, questions: int) -> None:
    with ScriptedServer(answer) as judge:
        run = plan_run(
            [
                "recipe=rar", f"run.root={tmp_path}", "tracking.wandb=off", "launcher.device=cpu", "grpo.max_steps=1",
                "grpo.per_device_batch_size=4", "grpo.group_size=4", "grpo.max_completion_length=72",
                f"rewards.components.checklist.judge.base_url={judge.url}", "grpo.temperature=2",
            ]
        )  # fmt: skip
        (stage,) = (stage for stage in order(run.graph) if stage.name == arm)
        write_spec(run, stage)
        attempt(run.artifact(stage.key))
    rows = read_rollout_files(rollout_files(run.artifact(stage.key).rollouts)).to_pylist()
    answers = [(split_response(row["response"]).answer or "").strip() for row in rows]
    answered = [row for row, text in zip(rows, answers, strict=True) if text]
    assert {row["checklist_score"] for row, text in zip(rows, answers, strict=True) if not text} <= {0.0}
    assert answered and {row["checklist_status"] for row in answered} == {"ok"}
    expected = {0.5} if arm == "implicit" else {90.0 / (100.0 + 70.0 + 70.0 + 90.0), 90.0 / sum(WEIGHTS.values())}
    assert {round(row["checklist_score"], 6) for row in answered} <= {round(value, 6) for value in expected}
    pairs = {(row["prompt"], text) for row, text in zip(rows, answers, strict=True) if text}
    graded = [request for request in judge.requests if "RESPONSE" in str(request)]
    assert len(graded) == questions * len(pairs)
