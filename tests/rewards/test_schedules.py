"""Weights over training: their values step by step, what is refused, and what follows them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.functions import RewardFunctions
from adhere.rewards.rollout import Rollout
from adhere.rewards.schedules import WeightSchedule

RISING = {"schedule": "linear", "start": 0.0, "end": 1.0, "over": 0.5}


def config(weight: Any, **settings: Any) -> RewardConfig:
    components = {"math": {"kind": "math", "timeout": 0.2}, "format": {"kind": "format", "weight": weight}}
    return RewardConfig.model_validate({"components": components, **settings})


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(deadline=2.0) as shared:
        yield shared


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"schedule": "constant", "value": 0.5}, [0.5] * 10),
        (RISING, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ({**RISING, "begin": 0.5}, [0, 0, 0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8]),
        ({**RISING, "start": 1.0, "end": 0.5, "over": 2, "unit": "steps"}, [1.0, 0.75, *[0.5] * 8]),
        ({"schedule": "step", "values": [[0, 1], [0.3, 0.5], [0.7, 0.2]]}, [*[1.0] * 3, *[0.5] * 4, *[0.2] * 3]),
        ({"schedule": "step", "values": [[0, 0], [8, 2]], "unit": "steps"}, [*[0.0] * 8, 2.0, 2.0]),
    ],
)  # fmt: skip
def test_a_schedule_step_by_step(schedule: dict[str, Any], expected: list[float]) -> None:
    weight = WeightSchedule.model_validate(schedule)
    assert [weight.at(step, 10) for step in range(10)] == pytest.approx(expected)


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_share_falls_on_the_same_step_however_it_rounds(tenths: int) -> None:
    """Tenths times a number of steps are seldom exact in binary: 0.7 * 10 is a little more than 7."""
    weight = WeightSchedule(schedule="step", values=((0.0, 0.0), (tenths / 10, 1.0)))
    for total in range(1, 200):
        first = next((step for step in range(total) if weight.at(step, total) == 1.0), total)
        assert first == min(total, -(-tenths * total // 10))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"schedule": "linear", "start": 1.0, "over": 0.5}, "linear needs end"),
        ({"schedule": "linear", "start": 1.0, "end": -1.0, "over": 0.5}, "greater than or equal to 0"),
        ({"schedule": "linear", "start": 1.0, "end": 0.0, "over": 20}, "write unit: steps"),
        ({"schedule": "linear", "start": 1.0, "end": 0.0, "over": 0.5, "unit": "steps"}, "whole steps"),
        ({"schedule": "constant", "value": 1.0, "end": 0.0}, "constant has no end"),
        ({"schedule": "constant", "value": 1.0, "begin": 0.5}, "constant has no begin"),
        ({"schedule": "step", "values": [[0.5, 1.0]]}, "rise from 0"),
        ({"schedule": "step", "values": [[0, 1.0], [0.5, 1.0], [0.2, 2.0]]}, "rise from 0"),
        ({"schedule": "step", "values": [[0, 1.0], [0.5, -2.0]]}, "is negative"),
        ({"schedule": "step", "values": []}, "rise from 0"),
        ({"schedule": "cosine"}, "'constant', 'linear' or 'step'"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(schedule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WeightSchedule.model_validate(schedule)


def test_schedules_that_are_0_for_ever_are_refused() -> None:
    never = {"schedule": "constant", "value": 0.0}
    with pytest.raises(ValidationError, match="every weight is 0"):
        RewardConfig.model_validate({"components": {"math": {"kind": "math", "weight": never}}})


def test_a_number_stays_a_number_and_needs_no_step() -> None:
    assert config(1).model_dump()["components"]["format"]["weight"] == 1.0
    assert not config(0.5).scheduled and config(0.5).weights() == {"math": 1.0, "format": 0.5}
    with pytest.raises(ValueError, match="without the step"):
        config(RISING).weights()


def test_a_schedule_survives_being_written_and_read() -> None:
    given = config(RISING)
    assert RewardConfig.model_validate(given.model_dump(mode="json")) == given


def batch(step: int | None, texts: list[str], gold: str = "4") -> dict[str, Any]:
    state = None if step is None else SimpleNamespace(global_step=step, max_steps=10)
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    size = len(texts)
    prompts = [[{"role": "user", "content": "2 + 2?"}]] * size
    return {
        "prompts": prompts, "completions": turns, "completion_ids": [[1]] * size, "answer": [gold] * size,
        "trainer_state": state,
    }  # fmt: skip


def test_the_combined_reward_follows_the_step_of_the_trainer(engine: Engine) -> None:
    """Under a product r^w: a wrong form costs nothing while its weight is 0, and everything after."""
    functions = RewardFunctions(Composite(config(RISING, aggregation="product"), engine))
    combined = functions.as_list()[-1]
    paid = [combined(**batch(step, ["it is \\boxed{4} or \\boxed{4}"])) for step in (0, 1, 9)]
    assert paid == [[1.0], [0.0], [0.0]]
    with pytest.raises(ValueError, match="trainer_state"):
        combined(**batch(None, ["\\boxed{4}"]))


def test_the_weights_of_a_sum_follow_the_step(engine: Engine) -> None:
    functions = RewardFunctions(Composite(config(RISING), engine))
    math, form = functions.as_list()
    assert functions.weights() == [1.0, 0.0]
    given = batch(3, ["it is \\boxed{4}"])
    assert (math(**given), form(**given)) == ([1.0], [1.0])
    assert functions.weights() == [1.0, pytest.approx(0.6)]


def test_a_component_that_weighs_nothing_yet_cannot_leave_a_rollout_out(engine: Engine) -> None:
    """At a weight of 0 it is a metric, whose time-outs leave the others alone; later they do not."""
    late = {"schedule": "step", "values": [[0, 0.0], [0.5, 1.0]]}
    components = {"math": {"kind": "math", "timeout": 0.2, "weight": late}, "format": {"kind": "format"}}
    reward = RewardConfig.model_validate({"components": components})
    functions = RewardFunctions(Composite(reward, engine))
    _, form = functions.as_list()
    hangs = "it is \\boxed{9^{9^{9^9}}}"
    assert form(**batch(0, [hangs], "9^{9^{9^8}}")) == [1.0]
    assert form(**batch(5, [hangs], "9^{9^{9^8}}")) == [None]


def test_gated_is_a_gate_on_every_component_but_the_primary(engine: Engine) -> None:
    texts = ["it is \\boxed{4}", "it is \\boxed{5}", "no box"]
    rollouts = [Rollout("2 + 2?", text, "4", tokens=600) for text in texts]
    kinds: dict[str, dict[str, Any]] = {name: {"kind": name} for name in ("math", "format", "length")}
    shorthand = RewardConfig.model_validate({"components": kinds, "aggregation": "gated"})
    gates = {name: {**kind, "gate": None if name == "math" else "math"} for name, kind in kinds.items()}
    written = RewardConfig.model_validate({"components": gates})
    found, expected = (Composite(c, engine).score(rollouts).values for c in (shorthand, written))
    assert found == expected
    assert found["format"] == [1.0, 0.0, 0.0]
    functions = RewardFunctions(Composite(shorthand, engine))
    assert [f.__name__ for f in functions.as_list()] == list(kinds) and functions.weights() == [1.0, 1.0, 1.0]
