"""A stage that is stopped at every step ends as one that never was: weights, logged figures, rollouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from attempts import differences, prepare, step_by_step, whole

pytestmark = pytest.mark.slow

LEARNS = ["stages=[grpo]", "grpo.learning_rate=1e-3"]
CASES = {
    # 12 steps of 8 of 48 items: two passes over the data.
    "sft": ["stages=[sft]", "sft.max_steps=9"],
    "sft that logs every fourth step": ["stages=[sft]", "sft.max_steps=6", "sft.logging_steps=4"],
    "grpo": [*LEARNS],
    "grpo over two passes of the data": [*LEARNS, "data.train_size=6", "grpo.max_steps=7"],
    "grpo with two iterations of two micro-batches": [
        *LEARNS, "grpo.gradient_accumulation=2", "+grpo.trl.num_iterations=2", "grpo.logging_steps=3",
    ],
    "grpo with four steps of a generation": [*LEARNS, "+grpo.trl.steps_per_generation=4"],
    "grpo with a weight that grows": [
        *LEARNS, "rewards.components.checklist.weight={kind: linear, start: 0.0, end: 1.0}",
    ],
}  # fmt: skip


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_stopped_at_every_step_it_ends_as_if_it_never_was(tmp_path: Path, overrides: list[str]) -> None:
    one, other = prepare(tmp_path / "whole", *overrides), prepare(tmp_path / "steps", *overrides)
    whole(one)
    stopped = step_by_step(other)
    assert stopped == list(range(1, len(stopped) + 1)) and len(stopped) >= 4
    assert differences(one, other) == []
