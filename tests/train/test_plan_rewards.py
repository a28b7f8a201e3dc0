"""What ``adhere plan`` says of rewards: effective weights, warnings, and arms that train the same model."""

from __future__ import annotations

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.plan.rewards import equal_arms, reward_lines

CHECKLIST = "rewards.components.checklist"
RULES_ONLY = ["rewards.components.math.weight=0", f"{CHECKLIST}.gate=null"]
EXPLICIT = [f"rewards.components.{name}.gate=math" for name in ("format", "length")]


def lines(*overrides: str) -> str:
    return "\n".join(reward_lines({"one": compose_recipe(overrides)}))


@pytest.mark.parametrize(
    ("overrides", "row"),
    [
        ([], "weighted_sum, ratio to math 1 1 if math metric metric"),
        (["rewards.components.math.weight=4"], "weighted_sum, ratio to math 1 0.25 if math metric metric"),
        (["rewards.components.math.weight=4", "rewards.scale=none"], "weighted_sum, as written 4 1 if math"),
        ([f"{CHECKLIST}.weight={{schedule: linear, start: 0, end: 2, over: 0.5}}"], "math 1 0 → 2 → 2 if math"),
        (RULES_ONLY, "weighted_sum, ratio to checklist metric 1 metric"),
        (["rewards.primary=checklist", f"{CHECKLIST}.weight=0.5"], "ratio to checklist 2 1 if math"),
        (["rewards.aggregation=gated", f"{CHECKLIST}.gate=null"], "gated, ratio to math 1 1 if math metric metric"),
        (["rewards.aggregation=product", f"{CHECKLIST}.weight=0.5"], "product, exponent 1 0.5 if math"),
        (["rewards.aggregation=all"], "all counts counts if math metric"),
        (["rewards.aggregation=lexicographic"], "lexicographic, rank, 100 levels 1 2 if math metric"),
        (["rewards.aggregation=lexicographic", "rewards.primary=checklist"], "rank, 100 levels 2 1 if math metric"),
    ],
)  # fmt: skip
def test_the_table_shows_what_weights_come_to(overrides: list[str], row: str) -> None:
    assert row in " ".join(lines(*overrides).split())


@pytest.mark.parametrize(
    ("overrides", "warning"),
    [
        (
            [f"{CHECKLIST}.weight={{schedule: linear, start: 1, end: 0, over: 900, unit: steps}}"],
            "one: rewards.components.checklist.weight: the schedule goes on to step 900, but training ends after 60",
        ),
        (
            [f"{CHECKLIST}.weight={{schedule: step, values: [[0, 1], [60, 0]], unit: steps}}"],
            "the schedule goes on to step 60",
        ),
        (
            ["rewards.components.math.weight=0", f"{CHECKLIST}.weight={{schedule: step, values: [[0, 0], [0.5, 1]]}}"],
            "every weight is 0 in 30 of 60 steps, first in step 0",
        ),
        (["rewards.aggregation=all", f"{CHECKLIST}.weight=0.5"], "all does not read the size of a weight: checklist"),
        (
            ["rewards.aggregation=product", f"{CHECKLIST}.weight=0", "rewards.components.math.weight=2"],
            "an exponent changes no score that is 0 or 1",
        ),
        (
            ["rewards.aggregation=lexicographic", *RULES_ONLY],
            "lexicographic: the primary 'math' has weight 0, so 'checklist' ranks first; name it in rewards.primary",
        ),
        (
            ["rewards.saturation_gamma=1.5"],
            "rewards.saturation_gamma is read only by saturation_aware and saturation_batch, not by weighted",
        ),
        (
            ["rewards.aggregation=gated", f"{CHECKLIST}.gate=null", "rewards.std_floor=0.1"],
            "rewards.std_floor is read only by normalize_then_sum, saturation_aware and saturation_batch, not by gated",
        ),
        (
            [f"+{CHECKLIST}.judge={{base_url: http://localhost:1/v1, model: m, deadline: 30}}"],
            "checklist.judge: a batch may take deadline, 30 s, and one try timeout, 60 s",
        ),
    ],
)
def test_what_can_hardly_be_meant_is_warned_of(overrides: list[str], warning: str) -> None:
    assert f"warning: {'' if warning.startswith('one') else 'one: '}" in lines(*overrides)
    assert warning in lines(*overrides)


def test_what_can_be_meant_is_not_warned_of() -> None:
    for overrides in (
        [],
        [f"{CHECKLIST}.weight={{schedule: linear, start: 1, end: 0, over: 60, unit: steps}}"],
        [f"{CHECKLIST}.weight={{schedule: step, values: [[0, 1], [59, 0]], unit: steps}}"],
        ["rewards.aggregation=product", f"{CHECKLIST}.weight=0.5"],
        ["rewards.aggregation=saturation_aware", "rewards.saturation_gamma=1.5", "rewards.std_floor=0.1"],
        ["rewards.aggregation=lexicographic", *RULES_ONLY, "rewards.primary=checklist"],
    ):
        assert "warning" not in lines(*overrides)


DOUBLED = ["rewards.components.math.weight=2", f"{CHECKLIST}.weight=2"]
GROWING = [
    f"rewards.components.{name}.weight={{schedule: linear, start: 1, end: 2, over: 1.0}}"
    for name in ("math", "checklist")
]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (DOUBLED, [], True),
        (GROWING, [], True),
        (GROWING[1:], [], False),
        ([f"{CHECKLIST}.weight={{schedule: constant, value: 1.0}}"], [], True),
        ([*DOUBLED, "rewards.scale=none"], ["rewards.scale=none"], False),
        ([*DOUBLED, "rewards.aggregation=product"], ["rewards.aggregation=product"], False),
        (
            ["rewards.aggregation=product", f"{CHECKLIST}.scoring=all", *DOUBLED],
            ["rewards.aggregation=product", f"{CHECKLIST}.scoring=all"],
            True,
        ),
        ([*DOUBLED[:1], "rewards.aggregation=all"], ["rewards.aggregation=all"], True),
        (["rewards.aggregation=lexicographic", *DOUBLED[1:]], ["rewards.aggregation=lexicographic"], True),
        (["rewards.aggregation=gated", f"{CHECKLIST}.gate=null"], [], True),
        (["rewards.aggregation=gated", *EXPLICIT], ["rewards.components.length.gate=math"], True),
        (["rewards.aggregation=product", f"{CHECKLIST}.weight=0"], [f"{CHECKLIST}.weight=0"], True),
        (["rewards.aggregation=product", *RULES_ONLY], RULES_ONLY, True),
        (
            ["rewards.aggregation=product", *RULES_ONLY, f"{CHECKLIST}.weight=0.5"],
            ["rewards.aggregation=product", *RULES_ONLY],
            False,
        ),
        ([f"{CHECKLIST}.gate=null"], [], False),
        (["rewards.aggregation=saturation_aware"], ["rewards.aggregation=normalize_then_sum"], False),
        (["rewards.std_floor=0.1"], [], True),
        (["seed=1"], [], False),
    ],
)
def test_arms_that_train_one_model_are_found(one: list[str], other: list[str], equal: bool) -> None:
    pairs = equal_arms({"one": compose_recipe(one), "other": compose_recipe(other)})
    assert [pair[:2] for pair in pairs] == ([("one", "other")] if equal else [])


def test_weights_that_training_never_reaches_are_refused() -> None:
    late = "{schedule: step, values: [[0, 0], [500, 1]], unit: steps}"
    with pytest.raises(ConfigError, match=r"rewards\.components: every weight is 0 in each of the 60 steps"):
        compose_recipe([f"rewards.components.math.weight={late}", f"{CHECKLIST}.weight={late}"])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("{schedule: linear, start: 0, end: -1, over: 1}", "rewards.components.checklist.weight.end: "),
        ("{schedule: linear, start: 0, end: 1}", "rewards.components.checklist.weight.schedule: linear needs over"),
        ("{schedule: linear, start: 0, end: 1, ower: 1}", "weight.ower: there is no such key (did you mean 'over'?)"),
    ],
)
def test_a_schedule_that_is_wrong_is_named_by_its_key(weight: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe([f"{CHECKLIST}.weight={weight}"])
    assert message in str(caught.value)
    assert "float" not in str(caught.value), "the form that was not meant is not spoken of"
