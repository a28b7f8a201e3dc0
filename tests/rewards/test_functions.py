"""The composite as TRL reward functions: names, weights, one pass of scoring, and the signature that TRL calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.config import COMBINED, RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError
from adhere.rewards.functions import RewardFunctions
from adhere.rewards.rollout import Rollout

CHECKLIST = json.dumps([{"id": "no_comma", "text": "no comma", "check": {"constraint": "punctuation:no_comma"}}])
RESPONSES = ["it is \\boxed{4}", "well, it is \\boxed{4}", "it is \\boxed{5}", "<think>unfinished"]


class Counting(Composite):
    """A composite that counts how often a batch is scored."""

    passes = 0

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        self.passes += 1
        return super().score(rollouts)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as shared:
        yield shared


def functions(engine: Engine, *, eos_ids: Sequence[int] = (), decode: Any = None, **settings: Any) -> RewardFunctions:
    return RewardFunctions(Counting(RewardConfig.model_validate(settings), engine), eos_ids=eos_ids, decode=decode)


def batch(responses: Sequence[str], **columns: Any) -> dict[str, Any]:
    """Return what TRL passes to a reward function of a conversational data set."""
    size = len(responses)
    return {
        "prompts": [[{"role": "user", "content": "What is 2 + 2?"}]] * size,
        "completions": [[{"role": "assistant", "content": text}] for text in responses],
        "completion_ids": [[7, 8, 9]] * size,
        "answer": ["4"] * size,
        "checklist": [CHECKLIST] * size,
        "trainer_state": None,
        "log_extra": None,
        "log_metric": None,
        **columns,
    }


def test_one_function_for_each_component_with_its_name(engine: Engine) -> None:
    made = functions(engine, components={"answer": {"kind": "math"}, "style": {"kind": "format", "weight": 0.0}})
    assert [function.__name__ for function in made.as_list()] == ["answer", "style"]
    assert made.weights() == [1.0, 0.0]


def test_the_vector_reaches_trl_unsummed(engine: Engine) -> None:
    given = batch(RESPONSES)
    columns = {function.__name__: function(**given) for function in functions(engine).as_list()}
    assert columns == {"math": [1.0, 1.0, 0.0, 0.0], "checklist": [1.0, 0.0, 0.0, 0.0]}


@pytest.mark.parametrize("aggregation", ["weighted_sum", "product", "all", "normalize_then_sum"])
def test_a_batch_is_scored_once_and_the_next_one_again(aggregation: str, engine: Engine) -> None:
    made = functions(engine, aggregation=aggregation)
    composite = made.composite
    assert isinstance(composite, Counting)
    for passes in (1, 2, 3):
        given = batch(RESPONSES)
        for function in made.as_list():
            assert len(function(**given)) == len(RESPONSES)
        assert composite.passes == passes


def test_lists_that_are_filled_again_are_another_batch(engine: Engine) -> None:
    made = functions(engine)
    math, _ = made.as_list()
    given = batch(RESPONSES)
    assert math(**given) == [1.0, 1.0, 0.0, 0.0]
    given["completions"][:] = given["completions"][::-1]
    _, checklist = made.as_list()
    assert checklist(**given) == [0.0, 0.0, 0.0, 1.0]
    assert math(**given) == [0.0, 0.0, 1.0, 1.0]
    assert isinstance(made.composite, Counting) and made.composite.passes == 2


def test_a_function_that_asks_again_has_another_batch_though_it_is_equal(engine: Engine) -> None:
    made = functions(engine)
    math, checklist = made.as_list()
    assert isinstance(made.composite, Counting)
    for function, passes in ((math, 1), (math, 2), (checklist, 2), (checklist, 3), (math, 3)):
        function(**batch(RESPONSES))
        assert made.composite.passes == passes


def test_the_columns_of_the_data_set_name_the_item(engine: Engine) -> None:
    made = functions(engine)
    made.score(batch(RESPONSES, item_id=[f"item-{i}" for i in range(4)], source=["lab"] * 4))
    assert [(r.id, r.source) for r in made.rollouts] == [(f"item-{i}", "lab") for i in range(4)]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("product", [1.0, 0.0, 0.0, 0.0]), ("all", [1.0, 0.0, 0.0, 0.0]), ("normalize_then_sum", [0.0] * 4)],
)
def test_other_aggregations_arrive_in_a_column_of_their_own(
    aggregation: str, expected: list[float], engine: Engine
) -> None:
    made = functions(engine, aggregation=aggregation)
    combined = made.as_list()[-1]
    assert made.weights() == [0.0, 0.0, 1.0]
    assert combined.__name__ == COMBINED
    assert len({function.__name__ for function in made.as_list()}) == 3
    assert combined(**batch(RESPONSES)) == expected


def test_what_cannot_be_scored_reaches_trl_as_none(engine: Engine) -> None:
    given = batch(RESPONSES[:2], answer=["\\frac{1", None], checklist=[CHECKLIST, None])
    made = functions(engine, aggregation="product")
    assert [function(**given) for function in made.as_list()] == [[None, None], [None, None], [None, None]]


@pytest.mark.parametrize("aggregation", ["weighted_sum", "normalize_then_sum", "product"])
def test_a_metric_alone_is_no_reward_of_zero(aggregation: str, engine: Engine) -> None:
    components = {"answer": {"kind": "math"}, "style": {"kind": "format", "weight": 0.0}}
    made = functions(engine, components=components, aggregation=aggregation)
    columns = [f(**batch(RESPONSES[:2], answer=[None, "4"], checklist=[None, None])) for f in made.as_list()]
    assert [column[0] for column in columns] == [None] * len(columns)
    assert all(column[1] is not None for column in columns)


def test_columns_may_be_missing_and_completions_may_be_plain_text(engine: Engine) -> None:
    given = batch(RESPONSES, prompts=["What is 2 + 2?"] * 4, completions=list(RESPONSES))
    del given["answer"], given["checklist"]
    made = functions(engine, components={"format": {"kind": "format"}, "math": {"kind": "math"}})
    assert [function(**given) for function in made.as_list()] == [[1.0, 1.0, 1.0, 0.0], [None] * 4]
    assert made.rollouts[0].prompt == "What is 2 + 2?"


def test_ids_are_decoded_where_the_template_would_hide_the_reasoning(engine: Engine) -> None:
    made = functions(engine, decode=lambda ids: "<think>never closed" if ids[0] == 1 else "\\boxed{4}")
    math, _ = made.as_list()
    given = batch(["\\boxed{4}", "\\boxed{4}"], completion_ids=[[1, 2], [3, 2]])
    assert math(**given) == [0.0, 1.0]


def test_an_end_token_tells_a_finished_completion_from_a_cut_one(engine: Engine) -> None:
    made = functions(engine, eos_ids=[2, 5], components={"format": {"kind": "format"}})
    (form,) = made.as_list()
    given = batch(["\\boxed{4}"] * 4, completion_ids=[[1, 2], [1, 5], [1, 3], []])
    assert form(**given) == [1.0, 1.0, 0.0, 0.0]
    assert [rollout.tokens for rollout in made.rollouts] == [2, 2, 2, 0]


def test_a_damaged_checklist_column_is_named(engine: Engine) -> None:
    math, _ = functions(engine).as_list()
    with pytest.raises(DataError, match=r"column 'checklist'.*lacks id, text, check"):
        math(**batch(["x"], checklist=["[{}]"]))
