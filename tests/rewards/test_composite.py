"""The composite reward: gates, what is left unscored, and each aggregation against values worked out by hand."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from reward_rows import aggregate, combine

from adhere.rewards.checklist import parse_checklist
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

CHECKLIST = parse_checklist(
    [{"id": "no_comma", "text": "no comma", "check": {"constraint": "punctuation:no_comma"}}], where="test"
)
RIGHT, WRONG = "it is \\boxed{4}", "it is \\boxed{5}"
COMPLIANT = {"math": 1.0, "checklist": 1.0}
Values = Mapping[str, float | None]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(deadline=2.0) as shared:
        yield shared


def config(components: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any) -> RewardConfig:
    default = {"math": {"kind": "math", "timeout": 0.2}, "checklist": {"kind": "checklist", "gate": "math"}}
    return RewardConfig.model_validate({"components": components or default, **settings})


def pair(math_weight: float, checklist_weight: float, gate: str | None = None, **settings: Any) -> RewardConfig:
    """Return a configuration of a correct answer (c) and a constraint met (k) with these weights."""
    components = {
        "math": {"kind": "math", "weight": math_weight},
        "checklist": {"kind": "checklist", "weight": checklist_weight, "gate": gate},
    }
    return config(components, **settings)


def rollout(response: str, answer: str | None = "4", **changes: Any) -> Rollout:
    return Rollout("What is 2 + 2?", response, answer, **{"checklist": CHECKLIST, "tokens": 5, **changes})


HANGS = rollout("it is \\boxed{9^{9^{9^8}}}", answer="9^{9^{9^9}}")
"""Algebra takes for ever here: a gold answer beyond the bounds of cost is tried all the same."""


def score(settings: RewardConfig, engine: Engine, *rollouts: Rollout) -> BatchScores:
    return Composite(settings, engine).score(rollouts)


# What the gate does ---------------------------------------------------------------------------------------------


def test_a_gated_checklist_counts_only_where_math_passed(engine: Engine) -> None:
    scores = score(config(), engine, rollout(RIGHT), rollout(RIGHT + ","), rollout(WRONG), rollout(WRONG + ","))
    assert scores.values["math"] == [1.0, 1.0, 0.0, 0.0]
    assert scores.values["checklist"] == [1.0, 0.0, 0.0, 0.0]


def test_the_verdicts_keep_what_the_gate_took_away(engine: Engine) -> None:
    scores = score(config(), engine, rollout(WRONG))
    assert scores.values["checklist"] == [0.0]
    assert scores.verdicts["checklist"][0].passed


def test_a_checklist_without_a_gate_pays_a_wrong_answer(engine: Engine) -> None:
    assert score(pair(1, 1), engine, rollout(WRONG)).values["checklist"] == [1.0]


def test_the_gate_is_open_where_there_is_no_gold_answer(engine: Engine) -> None:
    scores = score(config(), engine, rollout("hello", answer=None), rollout("well, hello", answer=None))
    assert scores.values["math"] == [None, None]
    assert scores.values["checklist"] == [1.0, 0.0]


def test_a_gated_component_that_does_not_apply_stays_without_a_value(engine: Engine) -> None:
    scores = score(config(), engine, rollout(RIGHT, checklist=()), rollout(WRONG, checklist=()))
    assert scores.values["checklist"] == [None, None]
    assert scores.values["math"] == [1.0, 0.0]
    assert scores.decided == [True, True]


# What could not be scored ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unscorable", [HANGS, rollout(RIGHT, answer="\\frac{1")], ids=["timeout", "unparsed"])
def test_an_undecided_weighted_component_leaves_all_without_a_value(unscorable: Rollout, engine: Engine) -> None:
    scores = score(config(), engine, rollout(RIGHT), unscorable)
    assert scores.values == {"math": [1.0, None], "checklist": [1.0, None]}
    assert scores.decided == [True, False]


def test_an_undecided_metric_leaves_the_others_alone(engine: Engine) -> None:
    components = {"math": {"kind": "math", "weight": 0.0, "timeout": 0.2}, "checklist": {"kind": "checklist"}}
    scores = score(config(components), engine, HANGS)
    assert scores.values == {"math": [None], "checklist": [1.0]}
    assert scores.decided == [True]


def test_an_undecided_gate_is_not_a_closed_one(engine: Engine) -> None:
    gated = {"kind": "checklist", "gate": "math"}
    solver = {"kind": "math", "weight": 0.0, "timeout": 0.2}
    scores = score(config({"math": solver, "checklist": gated}), engine, HANGS)
    assert scores.values["checklist"] == [None] and scores.decided == [False]
    metric = config({"math": solver, "checklist": {**gated, "weight": 0.0}, "format": {"kind": "format"}})
    assert score(metric, engine, HANGS).values == {"math": [None], "checklist": [None], "format": [1.0]}


def test_every_component_is_timed_and_named_in_order(engine: Engine) -> None:
    composite = Composite(config(), engine)
    scores = composite.score([rollout(RIGHT)])
    assert composite.names == list(scores.verdicts) == list(scores.values) == ["math", "checklist"]
    assert all(seconds >= 0.0 for seconds in scores.seconds.values())
    assert scores.verdicts["math"][0].status is Status.OK


# One rollout's reward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregation", "values", "expected"),
    [
        ("weighted_sum", {"math": 1.0, "checklist": 0.5}, 1.25),
        ("weighted_sum", {"math": 0.0, "checklist": 1.0}, 0.5),
        ("weighted_sum", {"math": None, "checklist": 1.0}, 0.5),
        ("product", {"math": 1.0, "checklist": 0.25}, 0.5),
        ("product", {"math": 0.0, "checklist": 1.0}, 0.0),
        ("product", {"math": None, "checklist": 0.25}, 0.5),
        ("all", {"math": 1.0, "checklist": 1.0}, 1.0),
        ("all", {"math": 1.0, "checklist": 0.99}, 0.0),
        ("all", {"math": None, "checklist": 1.0}, 1.0),
        ("weighted_sum", {"math": None, "checklist": None}, None),
        ("product", {"math": None, "checklist": None}, None),
        ("all", {"math": None, "checklist": None}, None),
    ],
)
def test_a_reward_by_hand(aggregation: str, values: Values, expected: float | None) -> None:
    assert combine(pair(1.0, 0.5, aggregation=aggregation), values) == expected


@pytest.mark.parametrize("aggregation", ["weighted_sum", "product", "all"])
def test_a_component_of_weight_0_changes_no_reward(aggregation: str) -> None:
    settings = pair(1.0, 0.0, aggregation=aggregation)
    rewards = {combine(settings, {"math": 1.0, "checklist": value}) for value in (0.0, 0.3, 1.0, None)}
    assert rewards == {1.0}
    assert combine(settings, {"math": None, "checklist": 1.0}) is None


# Groups ---------------------------------------------------------------------------------------------------------

GROUP = [(1, 1), (1, 0), *[(0, 1)] * 4, (0, 0), (0, 0.5)]
"""Eight rollouts as (answer correct, share of the constraints met): both, the answer alone, the constraints alone (4),
nothing, half of the constraints."""

ADVANTAGES = {
    "sum 1:1": (1.0, False, "weighted_sum", (1.89, 0.11, 0.11, -1.66)),
    "sum 1:0.5": (0.5, False, "weighted_sum", (1.96, 0.88, -0.20, -1.29)),
    "product": (1.0, False, "product", (2.47, -0.35, -0.35, -0.35)),
    "gated 1:1": (1.0, True, "weighted_sum", (2.18, 0.84, -0.50, -0.50)),
    "GDPO 1:1": (1.0, False, "normalize_then_sum", (2.30, 0.12, 0.14, -2.04)),
    "GDPO 1:0.5": (0.5, False, "normalize_then_sum", (1.96, 0.87, -0.20, -1.29)),
    "GDPO gated 1:0.5": (0.5, True, "normalize_then_sum", (2.86, 1.44, -0.72, -0.72)),
}


@pytest.mark.parametrize("scheme", ADVANTAGES)
def test_the_advantages_of_a_group(scheme: str) -> None:
    """Decoupling alone still pays a compliant wrong answer; the gate does not."""
    weight, gated, aggregation, expected = ADVANTAGES[scheme]
    settings = pair(1.0, weight, "math" if gated else None, aggregation=aggregation, std_floor=0.0)
    rows = [{"math": float(c), "checklist": float(k * c if gated else k)} for c, k in GROUP]
    if "GDPO" in scheme:
        advantages = aggregate(settings, [rows])
    else:
        advantages = standardised([combine(settings, row) for row in rows])
    assert [advantages[i] for i in (0, 1, 2, 6)] == pytest.approx(expected, abs=0.0055)


def standardised(rewards: Sequence[float | None]) -> list[float | None]:
    known = [reward for reward in rewards if reward is not None]
    mean, spread = statistics.mean(known), statistics.stdev(known)
    return [None if reward is None else (reward - mean) / spread for reward in rewards]


def test_the_floor_keeps_noise_small_and_leaves_real_spread_alone() -> None:
    noisy = [{"math": 1.0 if i else 0.0, "checklist": 0.98 if i == 7 else 1.0} for i in range(16)]
    without = aggregate(pair(1, 1, aggregation="normalize_then_sum", std_floor=0.0), [noisy])
    floored = aggregate(pair(1, 1, aggregation="normalize_then_sum", std_floor=0.05), [noisy])
    right = 1 / 16 / 0.25
    assert without[7] == pytest.approx(right - 3.75)
    assert floored[7] == pytest.approx(right - 0.02 * 15 / 16 / 0.05)
    assert floored[0] == pytest.approx(-3.75 + 0.02 / 16 / 0.05)


def test_each_group_is_normalised_by_itself_and_rows_keep_their_order() -> None:
    settings = pair(1.0, 0.0, aggregation="normalize_then_sum")
    hard = [{"math": v, "checklist": None} for v in (1.0, 0.0, 0.0, 0.0)]
    easy = [{"math": 1.0, "checklist": None}] * 4
    assert aggregate(settings, [hard, easy]) == pytest.approx([1.5, -0.5, -0.5, -0.5, 0, 0, 0, 0])


def test_a_missing_value_counts_nothing_and_a_missing_row_is_none() -> None:
    settings = pair(1.0, 1.0, aggregation="normalize_then_sum", std_floor=0.0)
    rows: list[Values] = [
        {"math": 1.0, "checklist": None},
        {"math": 0.0, "checklist": 1.0},
        {"math": None, "checklist": 0.0},
        {"math": None, "checklist": None},
    ]
    half = 0.5 / math.sqrt(0.5)
    assert aggregate(settings, [rows]) == [
        pytest.approx(half), pytest.approx(-half + half), pytest.approx(-half), None
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_without_a_floor_it_is_what_trl_computes(seed: int) -> None:
    """TRL adds 1e-4 to each standard deviation; the rest is the same formula (GDPO, arXiv 2601.05242)."""
    torch = pytest.importorskip("torch")
    from trl.trainer.utils import nanstd

    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(0, 3, (6, 8, 2), generator=generator, dtype=torch.float64) / 2
    matrix[torch.rand(matrix.shape, generator=generator, dtype=torch.float64) < 0.1] = torch.nan
    weights = torch.tensor([1.0, 0.5], dtype=torch.float64)
    z = (matrix - matrix.nanmean(1, keepdim=True)) / (nanstd(matrix, dim=1, keepdim=True) + 1e-4)
    expected = (z * weights).nansum(-1)
    expected[matrix.isnan().all(-1)] = torch.nan
    groups = [
        [{n: None if v.isnan() else v.item() for n, v in zip(COMPLIANT, row, strict=True)} for row in group]
        for group in matrix
    ]
    settings = pair(1.0, 0.5, aggregation="normalize_then_sum", std_floor=0.0)
    ours = [math.nan if v is None else v for v in aggregate(settings, groups)]
    assert ours == pytest.approx(expected.flatten().tolist(), abs=2e-3, nan_ok=True)


# Configurations that cannot be meant ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ({"math": {"kind": "math", "gate": "math"}}, "cannot gate itself"),
        ({"math": {"kind": "math", "gate": "chekclist"}, "checklist": {"kind": "checklist"}}, "did you mean"),
        (
            {"a": {"kind": "math"}, "b": {"kind": "format", "gate": "a"}, "c": {"kind": "checklist", "gate": "b"}},
            "gates do not chain",
        ),
        ({"math": {"kind": "math", "weight": 0.0}}, "every weight is 0"),
        ({"composite": {"kind": "math"}}, "choose another one"),
        ({"math": {"kind": "math", "weight": -1.0}}, "greater than or equal to 0"),
        ({"math": {"kind": "math", "wieght": 1.0}}, "wieght"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(components: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(components)


def test_scales_that_normalize_then_sum_would_ignore_are_refused() -> None:
    with pytest.raises(ValueError, match="normalize_then_sum scales by group and batch itself"):
        pair(1, 1, aggregation="normalize_then_sum", scale="none")
