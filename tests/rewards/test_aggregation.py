"""Every aggregation: what a missing value does, what cannot matter, and the order that ``lexicographic`` promises."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_rows import advantages, aggregate, combine

from adhere.rewards.aggregation import AGGREGATIONS, levels
from adhere.rewards.arithmetic import signal, values_array, weights_array
from adhere.rewards.config import RewardConfig

ADDED = ("saturation_aware", "saturation_batch", "gated", "lexicographic")
SUMS = ("weighted_sum", "gated", "normalize_then_sum", "saturation_aware", "saturation_batch")
Row = dict[str, float | None]
SCORE = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]))
GROUPS = st.lists(
    st.lists(st.fixed_dictionaries({"math": SCORE, "rules": SCORE}), min_size=4, max_size=4), min_size=1, max_size=3
)


def config(aggregation: str, weights: Sequence[Any] = (1.0, 0.5), **others: Any) -> RewardConfig:
    kinds = ("math", "checklist", "format", "length")
    names = ("math", "rules", "form", "short")
    components = {n: {"kind": k, "weight": w} for n, k, w in zip(names, kinds, weights, strict=False)}
    return RewardConfig.model_validate({"components": components, "aggregation": aggregation, **others})


def rows(*pairs: tuple[float | None, float | None]) -> list[Row]:
    return [{"math": a, "rules": b} for a, b in pairs]


# What is not scored ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_rollout_without_any_value_teaches_nothing_and_moves_no_other(aggregation: str) -> None:
    scored = rows((1.0, 1.0), (1.0, 0.0), (0.0, 0.0))
    unknown = rows((None, None))
    alone, among = (advantages(config(aggregation), [group]) for group in (scored, [*scored, *unknown]))
    assert among == [*(pytest.approx(a) for a in alone), 0.0]
    assert aggregate(config(aggregation), [[*scored, *unknown]])[-1] is None


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_component_that_never_applies_is_as_if_it_were_not_there(aggregation: str) -> None:
    without_math = rows((None, 1.0), (None, 0.5), (None, 0.0))
    expected = advantages(config(aggregation, (0.0, 0.5)), [without_math])
    assert advantages(config(aggregation), [without_math]) == pytest.approx(expected, rel=2e-3)
    assert any(expected)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_metric_changes_no_advantage(aggregation: str) -> None:
    group = rows((1.0, 0.25), (0.0, 1.0), (0.0, None), (1.0, 0.0))
    blind = [{**row, "rules": None} for row in group]
    metric = config(aggregation, (1.0, 0.0))
    assert advantages(metric, [group]) == advantages(metric, [blind])


# What cannot matter ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@settings(max_examples=25, deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 99))
def test_the_order_of_rollouts_in_a_group_is_nothing(aggregation: str, groups: list[list[Row]], seed: int) -> None:
    order = [random.Random(seed + i).sample(range(len(g)), len(g)) for i, g in enumerate(groups)]
    shuffled = [[group[i] for i in places] for group, places in zip(groups, order, strict=True)]
    found = iter(advantages(config(aggregation), groups))
    straight = [[next(found) for _ in group] for group in groups]
    expected = [straight[g][i] for g, places in enumerate(order) for i in places]
    assert advantages(config(aggregation), shuffled) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("aggregation", SUMS)
@settings(max_examples=25, deadline=None)
@given(groups=GROUPS, factor=st.floats(0.1, 50.0))
def test_a_common_factor_of_the_weights_is_scaled_away(
    aggregation: str, groups: list[list[Row]], factor: float
) -> None:
    one = advantages(config(aggregation, (1.0, 0.5)), groups)
    scaled = advantages(config(aggregation, (factor, 0.5 * factor)), groups)
    # Small weights make the deviation small, and what 1e-4 beside it changes large by as much.
    left = 0.02 / min(1.0, factor)
    assert scaled == pytest.approx(one, abs=left), "TRL's 1e-4 beside the deviation is all that may be left"


def test_without_scaling_a_factor_stays() -> None:
    group = rows((1.0, 1.0), (0.0, 0.0))
    one, two = (advantages(config("weighted_sum", (w, w), scale="none"), [group]) for w in (1.0, 2.0))
    assert two == [2 * a for a in one] != one


@pytest.mark.parametrize("aggregation", ["all", "lexicographic"])
def test_the_size_of_a_weight_is_nothing(aggregation: str) -> None:
    group = rows((1.0, 1.0), (1.0, 0.3), (0.0, 1.0))
    assert aggregate(config(aggregation, (3.0, 0.2)), [group]) == aggregate(config(aggregation, (1.0, 1.0)), [group])


# Lexicographic --------------------------------------------------------------------------------------------------


def test_lexicographic_by_hand() -> None:
    """Two components: digits in base 101, so that a right answer outweighs all that constraints can bring."""
    wanted = {(1.0, 1.0): 1.0, (1.0, 0.0): 10100 / 10200, (0.0, 1.0): 100 / 10200, (0.0, 0.0): 0.0}
    for (answer, told), reward in wanted.items():
        assert combine(config("lexicographic"), {"math": answer, "rules": told}) == pytest.approx(reward)


@pytest.mark.parametrize("size", [2, 3, 4])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_rewards_are_ordered_as_the_rounded_scores_are(size: int, data: st.DataObject) -> None:
    reward = config("lexicographic", (1.0,) * size)
    names, fineness = list(reward.components), levels(size)
    scores = st.tuples(*[st.floats(0.0, 1.0)] * size)
    ranked = [
        (
            tuple(math.floor(score * fineness + 0.5) for score in row),
            combine(reward, dict(zip(names, row, strict=True))),
        )
        for row in data.draw(st.lists(scores, min_size=2, max_size=8))
    ]
    assert all(value is not None and 0.0 <= value <= 1.0 for _, value in ranked)
    for (lower, low), (upper, high) in pairwise(sorted(ranked)):
        assert low is not None and high is not None
        assert (low < high) if lower != upper else (low == high)


def test_the_primary_ranks_first_wherever_it_is_written() -> None:
    by_rules = config("lexicographic", primary="rules")
    right, told = {"math": 1.0, "rules": 0.0}, {"math": 0.0, "rules": 1.0}
    assert (combine(by_rules, right) or 0) < (combine(by_rules, told) or 0)
    by_math = config("lexicographic")
    assert (combine(by_math, right) or 0) > (combine(by_math, told) or 0)


def test_ties_of_the_answer_are_broken_at_full_strength() -> None:
    group = rows((1.0, 1.0), (1.0, 0.0), (1.0, 1.0), (1.0, 0.0))
    assert advantages(config("lexicographic"), [group]) == pytest.approx([0.866, -0.866] * 2, abs=0.02)


def test_a_difference_below_the_resolution_breaks_no_tie() -> None:
    assert len(set(aggregate(config("lexicographic"), [rows((1.0, 0.981), (1.0, 0.979))]))) == 1


# Saturation -----------------------------------------------------------------------------------------------------


def test_saturation_aware_by_hand() -> None:
    group = rows(*[(1.0, 1.0)] * 3, (0.0, 1.0))
    reward = config("saturation_aware", std_floor=0.0)
    right = math.sqrt(1 - 0.75) * 0.25 / 0.5
    assert aggregate(reward, [group]) == pytest.approx([right, right, right, -3 * right])


def test_what_a_group_does_already_is_turned_away_from() -> None:
    """Seven of eight are as told, two of eight are right: the lone offender no longer outweighs a right answer."""
    group = rows((1.0, 1.0), (1.0, 0.0), *[(0.0, 1.0)] * 6)
    plain = advantages(config("normalize_then_sum", (1.0, 1.0)), [group])
    aware = advantages(config("saturation_aware", (1.0, 1.0)), [group])
    assert plain[1] < plain[2], "right but not as told is below wrong and as told"
    assert aware[1] > aware[2]


def test_gamma_zero_is_normalize_then_sum() -> None:
    group = rows((1.0, 0.25), (0.0, 1.0), (0.0, None), (1.0, 0.0))
    plain = aggregate(config("normalize_then_sum"), [group])
    assert aggregate(config("saturation_aware", saturation_gamma=0.0), [group]) == plain


def test_saturation_batch_by_hand() -> None:
    """Means over both groups: math 0.5 of 8, rules 0.75 of the 4 that have one; the group means differ."""
    groups = [rows(*[(1.0, 1.0)] * 3, (0.0, 0.0)), rows((1.0, None), *[(0.0, None)] * 3)]
    reward = config("saturation_batch", (1.0, 1.0), std_floor=0.0)
    factor, up = math.sqrt(0.5) + math.sqrt(0.25), 0.25 / 0.5
    other = math.sqrt(0.5)
    expected = [*[factor * up] * 3, -3 * factor * up, 3 * other * up, *[-other * up] * 3]
    assert aggregate(reward, groups) == pytest.approx(expected)
    by_group = config("saturation_aware", (1.0, 1.0), std_floor=0.0)
    assert aggregate(by_group, groups) != pytest.approx(expected)
    assert aggregate(reward, groups[:1]) == pytest.approx(aggregate(by_group, groups[:1])), "one group is the batch"


def test_the_order_of_the_groups_of_a_batch_does_not_matter() -> None:
    groups = [rows((1.0, 1.0), (1.0, 0.0)), rows((0.0, 0.5), (1.0, 0.0)), rows((0.0, None), (1.0, 1.0))]
    found = aggregate(config("saturation_batch"), groups)
    turned = aggregate(config("saturation_batch"), groups[::-1])
    assert found == pytest.approx([*turned[4:], *turned[2:4], *turned[:2]])


def test_several_generations_have_a_mean_each() -> None:
    groups = [rows((1.0, 1.0), (1.0, 0.0)), rows((0.0, 0.5), (1.0, 0.0)), rows((0.0, 0.0), (1.0, 1.0))]
    reward = config("saturation_batch")
    values, weights = values_array(reward, groups), weights_array(reward)
    found = signal(reward, values, weights, np.array([0, 1, 1]))
    for of in ([0], [1, 2]):
        alone = signal(reward, values[of], weights)
        assert found.rewards[of] == pytest.approx(alone.rewards)
        assert found.advantages[of] == pytest.approx(alone.advantages)
    assert found.rewards != pytest.approx(signal(reward, values, weights).rewards)


# Configurations that cannot be meant ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregation": "gated", "components": {"a": {"gate": "b"}}}, "'gated' gates every component on 'a'"),
        ({"aggregation": "gated", "components": {"b": {"gate": "c"}}}, "'gated' gates every component on 'a'"),
        ({"primary": "mth"}, "primary: no component is named 'mth'"),
        ({"aggregation": "saturation_aware", "scale": "batch"}, "leave scale at 'group'"),
    ],
)
def test_a_configuration_with_two_meanings_is_refused(changes: dict[str, Any], message: str) -> None:
    kinds = {"a": {"kind": "math"}, "b": {"kind": "checklist"}, "c": {"kind": "format"}}
    given = changes.get("components", {})
    components = {name: {**kind, **given.get(name, {})} for name, kind in kinds.items()}
    with pytest.raises(ValueError, match=message):
        RewardConfig.model_validate({**changes, "components": components})


def test_a_gate_that_says_what_gated_says_is_no_contradiction() -> None:
    kinds = {"a": {"kind": "math"}, "b": {"kind": "checklist", "gate": "a"}}
    assert RewardConfig.model_validate({"aggregation": "gated", "components": kinds}).gate_of("b") == "a"
