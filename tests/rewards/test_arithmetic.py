"""Advantages against TRL's formulas, the table of a group of eight, and each component's share of them."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_rows import advantage_shares, advantages, aggregate

from adhere.rewards.aggregation import AGGREGATIONS, Aggregation, Product, levels
from adhere.rewards.arithmetic import values_array, weights_array
from adhere.rewards.config import RewardConfig

Row = dict[str, float | None]
SCORE = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]))
GROUPS = st.lists(
    st.lists(st.fixed_dictionaries({"math": SCORE, "rules": SCORE}), min_size=4, max_size=4), min_size=1, max_size=3
)

EIGHT = [(1.0, 1.0), (1.0, 0.0), *[(0.0, 1.0)] * 4, (0.0, 0.0), (0.0, 0.5)]
"""Right and as told, right only, as told only (4), neither, and wrong with half of its constraints met."""

TABLE: dict[str, tuple[float, dict[str, Any], tuple[float, ...]]] = {
    "sum 1:1": (1.0, {}, (1.89, 0.11, 0.11, -1.66)),
    "sum 1:0.5": (0.5, {}, (1.96, 0.88, -0.20, -1.29)),
    "product": (1.0, {"aggregation": "product"}, (2.47, -0.35, -0.35, -0.35)),
    "all": (1.0, {"aggregation": "all"}, (2.47, -0.35, -0.35, -0.35)),
    "gated 1:1": (1.0, {"aggregation": "gated"}, (2.18, 0.84, -0.50, -0.50)),
    "GDPO 1:1, whitened": (1.0, {"aggregation": "normalize_then_sum"}, (1.88, 0.10, 0.12, -1.67)),
    "saturation 1:1": (1.0, {"aggregation": "saturation_aware"}, (1.97, 0.62, -0.10, -1.44)),
    "lexicographic": (1.0, {"aggregation": "lexicographic"}, (1.63, 1.61, -0.53, -0.56)),
}


def config(rules: float = 1.0, **others: Any) -> RewardConfig:
    components = {"math": {"kind": "math"}, "rules": {"kind": "checklist", "weight": rules}}
    return RewardConfig.model_validate({"components": components, **others})


@pytest.mark.parametrize("scheme", TABLE)
def test_the_table_of_a_group_of_eight(scheme: str) -> None:
    weight, others, expected = TABLE[scheme]
    reward = config(weight, **others)
    gated = reward.aggregation == "gated"
    group: list[Row] = [{"math": c, "rules": k * c if gated else k} for c, k in EIGHT]
    found = advantages(reward, [group])
    assert [found[i] for i in (0, 1, 2, 6)] == pytest.approx(expected, abs=0.0055)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@settings(max_examples=20, deadline=None)
@given(groups=GROUPS)
def test_advantages_are_trl_s(scale: str, groups: list[list[Row]]) -> None:
    """The formulas of TRL 1.16, with its own ``nanstd``, on the same matrix of values."""
    torch = pytest.importorskip("torch")
    from trl.trainer.utils import nanstd

    reward = config(0.5, scale=scale)
    rows = [[row["math"], row["rules"]] for group in groups for row in group]
    flat = [[math.nan if value is None else value for value in row] for row in rows]
    matrix = torch.tensor(flat, dtype=torch.float64)
    sums = (matrix * torch.tensor([1.0, 0.5], dtype=torch.float64)).nansum(1)
    sums[matrix.isnan().all(1)] = torch.nan
    by_group = sums.view(-1, 4)
    centred = by_group - by_group.nanmean(1, keepdim=True)
    divisor = {"group": nanstd(by_group, dim=1, keepdim=True) + 1e-4, "batch": nanstd(sums) + 1e-4, "none": 1.0}[scale]
    # TRL's deviation of fewer than two known values is NaN or 0; either way the advantage is 0.
    expected = torch.nan_to_num(centred / divisor, nan=0.0).flatten().tolist()
    assert advantages(reward, groups) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@settings(max_examples=30, deadline=None)
@given(groups=GROUPS)
def test_shares_sum_to_one_or_there_is_nothing_to_share(aggregation: str, groups: list[list[Row]]) -> None:
    reward = config(0.5, aggregation=aggregation)
    shares = advantage_shares(reward, groups, reward.weights())
    learned = sum(a * a for a in advantages(reward, groups))
    if learned > 1e-3:
        assert math.fsum(shares.values()) == pytest.approx(1.0)
    elif learned == 0.0:
        assert all(math.isnan(share) for share in shares.values())


@pytest.mark.parametrize("scale", ["group", "none"])
def test_a_share_is_the_covariance_of_part_and_advantage(scale: str) -> None:
    reward = config(0.5, scale=scale)
    groups: list[list[Row]] = [
        [{"math": 1.0, "rules": 0.0}, {"math": 0.0, "rules": 1.0}, {"math": 0.0, "rules": 0.5}],
        [{"math": 1.0, "rules": 1.0}, {"math": 1.0, "rules": 0.0}, {"math": 0.0, "rules": 0.0}],
    ]
    found = advantages(reward, groups)
    only = {name: advantages(config(scale="none"), groups) for name in ("math", "rules")}
    for name in only:
        blind = [[{n: v if n == name else 0.0 for n, v in row.items()} for row in group] for group in groups]
        only[name] = advantages(config(0.5, scale="none"), blind)
    spreads = [1.0] * 6
    if scale == "group":
        unscaled = advantages(config(0.5, scale="none"), groups)
        spreads = [a / b if b else 1.0 for a, b in zip(unscaled, found, strict=True)]
    expected = {
        name: sum(p / s * a for p, s, a in zip(parts, spreads, found, strict=True)) / sum(a * a for a in found)
        for name, parts in only.items()
    }
    assert advantage_shares(reward, groups, reward.weights()) == pytest.approx(expected)


def test_a_component_that_is_outvoted_has_a_negative_share() -> None:
    group: list[Row] = [{"math": 1.0, "rules": 0.0}, {"math": 0.0, "rules": 1.0}]
    reward = config(0.25)
    assert advantage_shares(reward, [group], reward.weights()) == pytest.approx({"math": 4 / 3, "rules": -1 / 3})


def test_a_metric_and_an_equal_component_have_no_share() -> None:
    group: list[Row] = [{"math": 1.0, "rules": 0.0}, {"math": 1.0, "rules": 1.0}]
    reward = config()
    assert advantage_shares(reward, [group], {"math": 1.0, "rules": 1.0}) == {"math": 0.0, "rules": 1.0}
    idle = advantage_shares(reward, [group], {"math": 1.0, "rules": 0.0})
    assert all(math.isnan(share) for share in idle.values())


FOUR = RewardConfig.model_validate(
    {"components": {name: {"kind": "length"} for name in "abcd"}, "aggregation": "product", "scale": "none"}
)


@given(st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_the_parts_of_a_product_are_shapley_values(factors: list[float]) -> None:
    named = dict(enumerate(factors))
    expected = dict.fromkeys(named, 0.0)
    orders = list(itertools.permutations(named))
    for order in orders:
        product = 1.0
        for name in order:
            expected[name] += (product * named[name] - product) / len(orders)
            product *= named[name]
    parts = Product().parts(np.array([[factors]]), np.ones((1, 4)), FOUR)[0, 0].tolist()
    assert parts == pytest.approx(list(expected.values()), abs=1e-9)
    assert math.fsum(parts) == pytest.approx(math.prod(factors) - 1.0, abs=1e-9)


@pytest.mark.parametrize("aggregation", ["weighted_sum", "normalize_then_sum", "saturation_aware", "saturation_batch"])
@settings(max_examples=30, deadline=None)
@given(groups=GROUPS)
def test_the_parts_of_an_aggregation_that_says_only_its_reward_are_those_of_its_formula(
    aggregation: str, groups: list[list[Row]]
) -> None:
    """Shapley values in a sum are its terms; so a user's aggregation needs no method ``parts``."""
    reward = config(0.5, aggregation=aggregation)
    values, weights = values_array(reward, groups), weights_array(reward)
    written = np.nan_to_num(reward.aggregator.parts(values, weights, reward))
    assert Aggregation.parts(reward.aggregator, values, weights, reward) == pytest.approx(written, abs=1e-9)


def written_once_more(reward: RewardConfig, group: list[Row], batch: list[Row]) -> list[float | None]:
    """Return the rewards of one group of a batch by the formulas of docs/concepts.md, one rollout at a time."""
    weights = {name: weight for name, weight in reward.weights().items() if weight > 0.0}
    ranks = sorted(weights, key=lambda name: name != reward.primary_name)
    moments: dict[str, tuple[float, float]] = {}
    for name in weights:
        known = [value for row in group if (value := row[name]) is not None] or [0.0]
        deviation = statistics.stdev(known) if len(known) > 1 else 0.0
        moments[name] = statistics.fmean(known), max(deviation, reward.std_floor)

    wide = {n: statistics.fmean([v for row in batch if (v := row[n]) is not None] or [0.0]) for n in weights}

    def reward_of(known: dict[str, float]) -> float:
        z = {name: (value - moments[name][0]) / moments[name][1] for name, value in known.items()}
        match reward.aggregation:
            case "weighted_sum" | "gated":
                return sum(weights[n] * v for n, v in known.items())
            case "normalize_then_sum":
                return sum(weights[n] * z[n] for n in known)
            case "saturation_aware":
                return sum(weights[n] * (1 - moments[n][0]) ** 0.5 * z[n] for n in known)
            case "saturation_batch":
                return sum(weights[n] * (1 - wide[n]) ** 0.5 * z[n] for n in known)
            case "product":
                return math.prod(v ** weights[n] for n, v in known.items())
            case "all":
                return float(all(v == 1.0 for v in known.values()))
        assert reward.aggregation == "lexicographic"
        if len(known) == 1:
            return next(iter(known.values()))
        fineness, number = levels(len(weights)), 0
        for value in known.values():
            number = number * (fineness + 1) + math.floor(value * fineness + 0.5)
        return number / ((fineness + 1) ** len(known) - 1)

    rows = [{name: value for name in ranks if (value := row[name]) is not None} for row in group]
    return [reward_of(known) if known else None for known in rows]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_rewards_are_the_formulas_written_once_more(aggregation: str, data: st.DataObject) -> None:
    names = ("a", "b", "c")
    weights = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=3, max_size=3).filter(any))
    kinds = {name: {"kind": "length", "weight": weight} for name, weight in zip(names, weights, strict=True)}
    primary = data.draw(st.sampled_from(names))
    reward = RewardConfig.model_validate({"components": kinds, "aggregation": aggregation, "primary": primary})
    rows = st.lists(st.fixed_dictionaries(dict.fromkeys(names, SCORE)), min_size=1, max_size=6)
    groups = data.draw(st.lists(rows, min_size=1, max_size=3))
    batch = [row for group in groups for row in group]
    expected = [paid for group in groups for paid in written_once_more(reward, group, batch)]
    for ours, theirs in zip(aggregate(reward, groups), expected, strict=True):
        assert ours == (None if theirs is None else pytest.approx(theirs, abs=1e-9))


def test_the_parts_of_every_additive_reward_are_the_reward() -> None:
    """What ``aggregate`` pays and what the shares are taken of is one thing: without the others, a part is all."""
    group: list[Row] = [{"math": 1.0, "rules": None}, {"math": 0.0, "rules": None}]
    for aggregation in AGGREGATIONS:
        reward = config(aggregation=aggregation)
        assert advantage_shares(reward, [group], reward.weights()) == pytest.approx({"math": 1.0, "rules": 0.0})
        assert len(set(aggregate(reward, [group]))) == 2
