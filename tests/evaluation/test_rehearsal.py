"""Rehearsals of groups whose rates are known by construction, and what the verdict makes of typical faults."""

from __future__ import annotations

from collections import defaultdict
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adhere.evaluation.rehearsal import Rehearsal, RehearsalVerdict, alternatives, judge_rehearsal, rehearsal_figures
from adhere.evaluation.rehearsal.alternatives import batch_for
from adhere.evaluation.rehearsal.estimates import dead_step, interval, live_share, spread_share
from adhere.evaluation.reweight import read_rollouts
from adhere.records.tables import write_rollouts
from adhere.rewards.arithmetic import signal, values_array, weights_array
from adhere.rewards.config import RewardConfig

SIZE = 8
DEFAULT: dict[str, Any] = {
    "math": {"kind": "math", "weight": 1.0},
    "checklist": {"kind": "checklist", "weight": 1.0, "gate": "math"},
}


def drawn(
    folder: Path,
    right: np.ndarray,
    obeys: np.ndarray,
    *,
    kinds: list[str] | None = None,
    prompts: int = 4,
    components: dict[str, Any] | None = None,
    cut: float = 0.0,
) -> Rehearsal:
    """Return the rehearsal of rollouts that are right and obey as these arrays (G, N) of 0 and 1 say."""
    config = RewardConfig.model_validate({"components": components or DEFAULT})
    rows, asked = [], defaultdict[str, list[tuple[int, list[float | None]]]](list)
    for g in range(len(right)):
        asked[(kinds or ["kind"] * len(right))[g]].append((g, obeys[g].tolist()))
        for n in range(right.shape[1]):
            scores = {"math": float(right[g, n]), "checklist": float(obeys[g, n])}
            gated = {
                name: score if config.gate_of(name) is None else score * scores["math"]
                for name, score in scores.items()
            }
            row = {
                "step": g // prompts, "group": g % prompts, "item_id": f"item-{g}", "source": "test", "prompt": "",
                "response": "", "answer": "1", "tokens": 10, "finished": True, "correct": bool(right[g, n]),
                "followed": bool(obeys[g, n]),
                "requirements": [{"id": "r", "text": "", "score": scores["checklist"], "status": "ok", "detail": ""}],
            }  # fmt: skip
            for name, score in scores.items():
                row |= {
                    f"{name}_score": score,
                    f"{name}_status": "ok",
                    f"{name}_detail": "",
                    f"{name}_value": gated[name],
                }
            rows.append((gated, row))
    size = right.shape[1]
    for step, start in enumerate(range(0, len(right), prompts)):
        part = rows[start * size : (start + prompts) * size]
        groups = [[gated for gated, _ in part[i : i + size]] for i in range(0, len(part), size)]
        advantages = signal(config, values_array(config, groups), weights_array(config)).advantages.ravel()
        made = [row | {"advantage": float(a)} for (_, row), a in zip(part, advantages, strict=True)]
        write_rollouts(folder, step, made)
    finished = np.ones(right.shape, dtype=bool)
    finished[: round(cut * len(right))] = False
    return rehearsal_figures(
        read_rollouts(folder, list(config.components), size), config, total=100, prompts=prompts, accumulation=1,
        kinds=asked, finished=finished,
    )  # fmt: skip


def verdict(found: Rehearsal, ids: list[str] | None = None) -> RehearsalVerdict:
    return judge_rehearsal(found, alternatives(found), max_completion_length=64, ids=ids)


def test_rates_that_are_known_are_rehearsed_to_within_their_interval(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    right = (draw.random((200, SIZE)) < 0.7).astype(float)
    obeys = (draw.random((200, SIZE)) < 0.1).astype(float)
    found = drawn(tmp_path, right, obeys, prompts=2)
    figures = found.to_dict()
    flat = lambda rate: rate**SIZE + (1 - rate) ** SIZE  # noqa: E731
    expected = {
        ("math", "rate"): 0.7, ("math", "spread"): 1 - flat(0.7), ("math", "spread_gated"): 1 - flat(0.7),
        ("checklist", "rate"): 0.1, ("checklist", "spread"): 1 - flat(0.1),
        ("checklist", "spread_gated"): 1 - flat(0.07),
    }  # fmt: skip
    for (name, figure), value in expected.items():
        trials = 200 * SIZE if figure == "rate" else 200
        error = 3 * (value * (1 - value) / trials) ** 0.5
        assert figures["components"][name][figure] == pytest.approx(value, abs=error), (name, figure)
    # A group has no advantage where all rewards are equal: 0 (wrong), 1 (right), 2 (right and obeys).
    dead = 0.3**SIZE + 0.63**SIZE + 0.07**SIZE
    low, high = figures["intervals"]["live_groups_a_step"]
    assert low <= 2 * (1 - dead) <= high and low <= figures["live_groups_a_step"] <= high
    assert figures["rates"]["joint"] == pytest.approx(0.07, abs=0.02)
    kind = {"rollouts": 1600, "rate": pytest.approx(0.1, abs=0.03), "state": "learnable"}
    assert figures["kinds"]["kind"] == kind | {"spread": figures["components"]["checklist"]["spread"]}
    assert sum(f["advantage_share"] for f in figures["components"].values()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("live", "groups", "prompts"), [(3, 8, 2), (0, 8, 3), (8, 8, 1), (7, 8, 4)])
def test_a_dead_step_is_counted_over_all_choices_of_groups(live: int, groups: int, prompts: int) -> None:
    import itertools

    flags = [True] * live + [False] * (groups - live)
    choices = list(itertools.combinations(flags, prompts))
    assert dead_step(live, groups, prompts) == pytest.approx(sum(not any(c) for c in choices) / len(choices))
    assert dead_step(live, groups, 3 * groups) == pytest.approx((1 - live / groups) ** (3 * groups))


@pytest.mark.slow
def test_smaller_groups_are_counted_and_larger_ones_estimated_from_the_scatter_of_prompts() -> None:
    values = np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert live_share(values, 2) == pytest.approx((1 - comb(3, 2) / comb(4, 2)) / 2)
    assert live_share(values, 4) == spread_share(values.tolist()) == 0.5
    draw = np.random.default_rng(1)
    for a, b in ((0.4, 0.4), (1.0, 3.0), (0.1, 2.0)):
        rates = draw.beta(a, b, size=4000)
        small = (draw.random((4000, 8)) < rates[:, None]).astype(float)
        large = (draw.random((4000, 32)) < rates[:, None]).astype(float)
        assert live_share(small[:600], 32) == pytest.approx(spread_share(large.tolist()), abs=0.06)
    constant = (draw.random((400, 8)) < 0.02).astype(float)
    assert live_share(constant, 64) == pytest.approx(1 - 0.98**64, abs=0.12), "prompts that are all alike"


def test_what_is_not_scored_is_no_group() -> None:
    values = np.array([[np.nan, np.nan], [0.0, 1.0]])
    assert live_share(values, 2) == 0.5 and live_share(values[:1], 8) == 0.0
    assert spread_share([[None, 1.0], [None, None], [0.5, 0.5]]) == 0.0
    assert interval(np.array([True, True]), 2)["zero_gradient_share"] == [0.0, 0.0]


def test_a_gate_that_shuts_is_named_and_its_price_too(tmp_path: Path) -> None:
    """Obeying varies, and hardly ever where the answer is right: the fault of a short SFT on a small model."""
    right, obeys = np.zeros((40, SIZE)), np.zeros((40, SIZE))
    right[:26, :4] = 1.0  # 26 of 40 groups vary in maths
    obeys[:12, 5:7] = 1.0  # who obeys is wrong
    obeys[12:14, 0] = 1.0
    found = drawn(tmp_path, right, obeys)
    said = verdict(found)
    assert found.component_figures()["checklist"]["spread"] == 0.35
    assert found.component_figures()["checklist"]["spread_gated"] == 0.05
    assert said.level == "weak" and "checklist varies in 5% of the groups after its gate (35% before)" in said.sentence
    (opened,) = (c for c in said.changes if c.overrides == ("rewards.components.checklist.gate_from=0.5",))
    assert (
        opened.effect.startswith("for the first half of training")
        and "5% → 35%" in opened.effect
        and "paying wrong answers that obey" in opened.effect
    )


def test_kinds_that_cannot_teach_are_named_and_left_out(tmp_path: Path) -> None:
    right = np.tile([1.0, 0.0], (32, SIZE // 2))
    obeys = np.zeros((32, SIZE))
    obeys[::2, ::4] = 1.0
    kinds = ["change_case:english_lowercase", "change_case:english_capital"] * 16
    found = drawn(tmp_path, right, obeys, kinds=kinds)
    assert found.kind_figures()["change_case:english_capital"]["state"] == "hopeless"
    said = verdict(found, ids=["change_case:english_capital", "change_case:english_lowercase"])
    assert "never met: change_case:english_capital" in said.sentence
    assert ("data.constraints.ids=[change_case:english_lowercase]",) in [c.overrides for c in said.changes]


def test_a_policy_that_never_stops_is_said_first(tmp_path: Path) -> None:
    found = drawn(tmp_path, np.zeros((8, SIZE)), np.zeros((8, SIZE)), cut=1.0)
    said = verdict(found)
    assert said.level == "does not teach" and said.sentence.startswith(
        "does not teach: 100% of the completions were cut"
    )
    assert said.changes[0].overrides == ("grpo.max_completion_length=128",)
    assert found.zero_gradient_share == 1.0 and found.to_dict()["components"]["math"]["advantage_share"] is None


def test_few_live_groups_ask_for_more_prompts_or_larger_groups(tmp_path: Path) -> None:
    right = np.zeros((40, SIZE))
    right[:4, 0] = 1.0
    found = drawn(tmp_path, right, np.zeros((40, SIZE)), prompts=2, components={"math": DEFAULT["math"],
                  "checklist": {"kind": "checklist", "weight": 0.0}})  # fmt: skip
    said = verdict(found)
    assert said.level == "does not teach" and "80.8% of steps of 2 prompts" in said.sentence
    keys = {override.partition("=")[0] for change in said.changes for override in change.overrides}
    assert keys == {"grpo.group_size", "grpo.gradient_accumulation"}


def test_a_reward_that_teaches_is_called_so(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    found = drawn(tmp_path, (draw.random((64, 8)) < 0.5).astype(float), (draw.random((64, 8)) < 0.5).astype(float))
    assert verdict(found).level == "teaches"
    names = [other.name for other in alternatives(found)]
    assert names[0] == "as it is" and {
        "checklist ungated",
        "normalize_then_sum",
        "all",
        "groups of 4",
        "groups of 16",
    } <= {*names}


def overrides(said: RehearsalVerdict) -> list[tuple[str, ...]]:
    return [change.overrides for change in said.changes]


@pytest.mark.parametrize("wanted", [0.5, 3.0, 6.0, 20.0])
def test_a_batch_is_named_that_is_expected_to_have_the_live_groups_that_are_wanted(
    tmp_path: Path, wanted: float
) -> None:
    right = np.zeros((40, SIZE))
    right[:10, :4] = 1.0  # a quarter of the groups is live
    alone = {"math": DEFAULT["math"], "checklist": {"kind": "checklist", "weight": 0.0}}
    found = drawn(tmp_path, right, np.zeros((40, SIZE)), prompts=4, components=alone)
    batch = batch_for(found, wanted)
    assert batch is not None
    given = dict(override.removeprefix("grpo.").split("=") for override in batch[0].overrides)
    size, passes = int(given.get("group_size", SIZE)), int(given["gradient_accumulation"])
    groups, rest = divmod(4 * SIZE * passes, size)
    assert rest == 0, "a step has whole groups"
    live = live_share(found.found.rewards, size)
    assert batch[1] == pytest.approx(live * groups) and batch[1] >= wanted
    fewer, rest = divmod(4 * SIZE * (passes - 1), size)
    assert rest or live * fewer < wanted, "the batch is the smallest one"
    said = judge_rehearsal(found, alternatives(found), max_completion_length=64, ids=None, wanted=wanted)
    assert ("wanted" in said.sentence) == (4 * found.live / found.groups < wanted)
    if 4 * found.live / found.groups < wanted:
        assert overrides(said)[0] == batch[0].overrides and said.level != "teaches"


def test_where_no_batch_has_the_live_groups_it_is_said(tmp_path: Path) -> None:
    found = drawn(tmp_path, np.zeros((8, SIZE)), np.zeros((8, SIZE)))
    said = judge_rehearsal(found, alternatives(found), max_completion_length=64, ids=None, wanted=1.0)
    assert batch_for(found, 1.0) is None and "which no batch is expected to have" in said.sentence


def test_updates_that_follow_the_live_share_are_named_where_few_groups_are_live(tmp_path: Path) -> None:
    right = np.zeros((40, SIZE))
    right[:4, 0] = 1.0
    alone = {"math": DEFAULT["math"], "checklist": {"kind": "checklist", "weight": 0.0}}
    none, half = np.zeros((40, SIZE)), np.tile([0.0, 1.0], (40, SIZE // 2))
    few = drawn(tmp_path / "few", right, none, prompts=40, components=alone)
    many = drawn(tmp_path / "many", half, none, components=alone)
    follow = ("grpo.learning_rate_follows=live_share", "grpo.kl_follows=live_share")
    for found, named in ((few, True), (many, False)):
        said = judge_rehearsal(found, alternatives(found), max_completion_length=64, ids=None, follow=follow)
        assert (follow in overrides(said)) == named
    said = judge_rehearsal(few, alternatives(few), max_completion_length=64, ids=None)
    assert follow not in overrides(said), "they are set already"


def test_a_policy_that_never_obeys_is_to_learn_it_from_targets_and_nothing_useless_is_named(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    right = (draw.random((40, SIZE)) < 0.87).astype(float)
    found = drawn(tmp_path, right, np.zeros((40, SIZE)), kinds=["lower", "capital"] * 20)

    def said(compliance: float | None) -> RehearsalVerdict:
        return judge_rehearsal(found, alternatives(found), max_completion_length=64, ids=None, compliance=compliance)

    assert said(0.0).level == "does not teach" and overrides(said(0.0)) == [("data.targets.compliance=0.5",)]
    assert overrides(said(0.4)) == [("data.targets.compliance=0.8",)]
    assert overrides(said(1.0)) == overrides(said(None)) == [], "smaller groups are cheaper, and help nothing"
    half = drawn(tmp_path / "half", right, np.tile([[1.0, 0.0], [0.0, 0.0]], (20, 4)), kinds=["lower", "capital"] * 20)
    few = judge_rehearsal(half, alternatives(half), max_completion_length=64, ids=None, compliance=0.3)
    assert "data.targets.compliance" not in str(overrides(few)), "half of what is asked for is met"


def test_kinds_that_cannot_teach_now_are_named_for_the_curriculum(tmp_path: Path) -> None:
    right = np.tile([1.0, 0.0], (32, SIZE // 2))
    obeys = np.zeros((32, SIZE))
    obeys[::2, ::4] = 1.0
    found = drawn(tmp_path, right, obeys, kinds=["lower", "capital"] * 16)
    ordered = ("grpo.curriculum.every=10", "grpo.curriculum.hopeless=out")
    assert ordered in overrides(verdict(found)), "also where the data does not draw the kinds by id"
    already = judge_rehearsal(found, alternatives(found), max_completion_length=64, ids=None, ordered=True)
    assert ordered not in overrides(already)
    fair = drawn(tmp_path / "fair", right, right, kinds=["lower", "capital"] * 16)
    assert ordered not in overrides(verdict(fair))
