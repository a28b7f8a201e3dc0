"""The points of an ablation: what a grid expands to, what is merged, and what every seed shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.ablation.points import plan_ablation
from adhere.train.ablation.race import check_parallel
from adhere.train.run.graph import compared

WEIGHTS = "ablation.weights=[{checklist: 0}, {checklist: 0.5}, {checklist: 1}]"


def planned(model: Path, *overrides: str):
    return plan_ablation(["recipe=quickstart", f"model.path={model}", *overrides])


def kinds(ablation) -> list[str]:
    return [stage.kind for stage in ablation.run.graph.stages.values()]


def test_points_and_seeds_are_arms_that_share_one_sft(model_folder: Path) -> None:
    found = planned(model_folder, WEIGHTS, "ablation.seeds=[0,1]")
    assert list(found.run.members.items()) == [
        ("checklist0-s0", ("checklist0", 0)),
        ("checklist0-s1", ("checklist0", 1)),
        ("checklist0.5-s0", ("checklist0.5", 0)),
        ("checklist0.5-s1", ("checklist0.5", 1)),
        ("checklist1-s0", ("checklist1", 0)),
        ("checklist1-s1", ("checklist1", 1)),
    ]
    assert kinds(found).count("sft") == 1
    assert kinds(found).count("grpo") == 6
    assert kinds(found).count("evaluate") == 8


def test_an_arm_has_the_keys_of_the_same_overrides_given_to_train(model_folder: Path) -> None:
    from adhere.train.run.run import plan_run

    found = planned(model_folder, WEIGHTS)
    alone = plan_run(
        ["recipe=quickstart", f"model.path={model_folder}", "~arms", "rewards.components.checklist.weight=0.5"]
    )
    assert set(alone.graph.stages) <= set(found.run.graph.stages)


def test_equivalent_points_are_merged_and_named(model_folder: Path) -> None:
    found = planned(
        model_folder,
        "ablation.weights=[{math: 1, checklist: 0.5}, {math: 2, checklist: 1}, {math: 1, checklist: 0}]",
        "ablation.gate=[true,false]",
    )
    assert {dropped: kept for dropped, kept, _ in found.merged} == {
        "math2_checklist1-gated": "math1_checklist0.5-gated",
        "math2_checklist1-ungated": "math1_checklist0.5-ungated",
        "math1_checklist0-ungated": "math1_checklist0-gated",
    }
    assert list(found.run.arms) == ["math1_checklist0.5-gated", "math1_checklist0.5-ungated", "math1_checklist0-gated"]


def test_stages_at_a_time_find_gpus_of_their_own(model_folder: Path) -> None:
    two = ["strategy=ddp", "launcher.processes=2", "launcher.device=auto"]
    run = planned(model_folder, WEIGHTS, "ablation.parallel=3", *two).run
    check_parallel(run, ["0", "1", "2", "3", "4", "5"])
    check_parallel(run, [])
    with pytest.raises(ConfigError, match=r"3 stages of 2 GPUs each need 6, this machine shows 4; set it to 2"):
        check_parallel(run, ["0", "1", "2", "3"])


def test_small_stages_share_a_gpu(model_folder: Path) -> None:
    given = [WEIGHTS, "ablation.parallel=5", "launcher.stages_per_gpu=2", "launcher.device=auto"]
    run = planned(model_folder, *given).run
    check_parallel(run, ["0", "1", "2"])
    with pytest.raises(ConfigError, match=r"5 stages of which 2 share a GPU need 3, this machine shows 2; set it to 4"):
        check_parallel(run, ["0", "1"])
    for overrides, text in {
        ("strategy=ddp", "launcher.processes=2"): "only stages of one process share a GPU",
        ("launcher=slurm",): "every job of Slurm has GPUs of its own",
    }.items():
        with pytest.raises(ConfigError, match=text):
            planned(model_folder, *given, *overrides)


def test_a_simplex_shares_one_total(model_folder: Path) -> None:
    found = planned(model_folder, "ablation.simplex=2")
    weights = [
        tuple(recipe.rewards.components[name].weight for name in ("math", "checklist"))
        for recipe in found.run.arms.values()
    ]
    assert weights == [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]


def test_an_arm_is_named_so_that_a_file_can_be_too(model_folder: Path) -> None:
    from adhere.train.run.run import plan_run

    with pytest.raises(ConfigError, match=r"arms: .*'a/b' holds '/'"):
        plan_run(["recipe=quickstart", f"model.path={model_folder}", "++arms={a/b: ['seed=1']}"])


def test_weights_keep_all_their_digits_and_a_name_that_tells_them_apart(model_folder: Path) -> None:
    close = planned(model_folder, "ablation.weights=[{checklist: 0.3333333}, {checklist: 0.33333331}]").run.arms
    assert {name: recipe.rewards.components["checklist"].weight for name, recipe in close.items()} == {
        "checklist0.3333333": 0.3333333,
        "checklist0.33333331": 0.33333331,
    }
    thirds = planned(model_folder, "ablation.simplex=3").run.arms
    assert thirds["math0.333333_checklist0.666667"].rewards.components["math"].weight == 1 / 3


def test_a_simplex_of_three_components_has_every_composition(model_folder: Path) -> None:
    found = planned(model_folder, "ablation.simplex={components: [math, checklist, format], steps: 3}")
    assert len(found.run.arms) == 10


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ([], "nothing to compare; give weights"),
        (["ablation.weights=[{checklst: 1}, {checklist: 0}]"], "no component is named 'checklst'.*checklist"),
        (["ablation.judge_samples=[1,5]"], "ablation.judge_samples: no component of this recipe has a judge"),
        (["ablation.seeds=[1,1]"], r"seeds: \[1, 1\] have to be different"),
        (["ablation.halving={rungs: [0.5, 0.25]}"], "have to rise"),
        (
            ["ablation.variants={hot: ['grpo.temperatur=2']}", "ablation.seeds=[0,1]"],
            "temperatur: there is no such key",
        ),
        (["ablation.aggregation=[sum]"], "ablation.aggregation"),
        (["ablation.weights=[{}, {checklist: 1}]"], "empty map changes nothing"),
        ([WEIGHTS, "ablation.reference=chekclist1"], "no point 'chekclist1' .did you mean 'checklist1'"),
        (
            [
                "ablation.weights=[{math: 1, checklist: 0}, {math: 2, checklist: 0}]",
                "ablation.gate=[true]",
                "ablation.reference=math2_checklist0",
            ],
            "merged; name 'math1_checklist0'",
        ),
        (["ablation.variants={a/b: [], c: ['grpo.temperature=2']}"], "'a/b' holds '/'"),
        ([f"ablation.variants={{{'x' * 201}: [], c: ['grpo.temperature=2']}}"], "201 bytes long"),
        (["ablation.variants={a: ['++grpo.seed=5']}", "ablation.seeds=[0,1]"], "what seeds=.* is for"),
        (["ablation.variants={a: ['sft.max_steps=1', 'sft.max_steps=2'], b: []}"], "sets sft.max_steps twice"),
        (
            [WEIGHTS, "ablation.variants={a: ['rewards.components.checklist.weight=7'], b: []}"],
            "sets rewards.components.checklist.weight twice",
        ),
        (["ablation.simplex=9999"], "10,000 arms, and 1,000 are the most"),
        (["ablation.simplex={components: [math, checklist, format], steps: 1000000}"], "arms, and 1,000 are the most"),
        (["ablation.seeds=[0,1]", "ablation.halving=true"], "halving: there is one point"),
        ([WEIGHTS, "ablation.halving=true", "grpo.max_steps=1"], "no rung lies before the end of grpo.max_steps=1"),
        (
            [WEIGHTS, "ablation.halving=true", "grpo.max_steps=20", "grpo.logging_steps=7"],
            "logging_steps=7 logs nothing in the window before the rung at step 5",
        ),
        ([f"ablation.seeds={list(range(1001))}"], "1,001 arms"),
    ],
)
def test_a_wrong_grid_is_named(model_folder: Path, overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        planned(model_folder, *overrides)


FORK = "stages={sft: {}, a: {kind: grpo, from: sft}, b: {kind: grpo, from: sft}, evaluate: {}}"
ROW = "stages={sft: {}, a: {kind: grpo, from: sft}, b: {kind: grpo, from: a}, evaluate: {}}"
FIXED = "stages={a: {kind: grpo, with: ['rewards.components.checklist.weight=1']}, evaluate: {}}"
SUPERVISED = "stages={a: {kind: grpo}, b: {kind: sft, from: a}, evaluate: {}}"
NO_GRPO = "stages={a: {kind: sft}, evaluate: {}}"
LONGER = "stages={a: {kind: grpo, with: ['grpo.max_steps=40']}, evaluate: {}}"
TWO = "ablation.weights=[{checklist: 0.5},{checklist: 1}]"


@pytest.mark.parametrize(
    ("stages", "more", "words"),
    [
        (FORK, [], r"ablation\.judge_by: a point is its last model, and the stages end in a and b"),
        (FORK, ["ablation.judge_by=evaluate"], r"ablation\.judge_by: no stage .* called 'evaluate'.*are sft, a, b"),
        (FORK, ["ablation.judge_by=sff"], r"ablation\.judge_by: no stage .* called 'sff' \(did you mean 'sft'"),
        (
            FORK,
            ["ablation.judge_by=a", "ablation.halving=true"],
            r"ablation\.halving: .*kind grpo are a, b, the last is a",
        ),
        (SUPERVISED, ["ablation.halving=true"], r"ablation\.halving: .*stages of kind grpo are a, the last is b"),
        (NO_GRPO, ["ablation.halving=true"], r"ablation\.halving: .*stages of kind grpo are none, the last is a"),
        (LONGER, ["ablation.halving=true"], r"ablation\.halving: .*grpo\.max_steps is 40 in the stages and 20 in the"),
        (
            "stages=[sft,grpo]",
            ["ablation.halving=true", "ablation.variants={a: [], b: ['grpo.max_steps=40']}"],
            r"ablation\.halving: .*grpo\.max_steps is 20, 40 in the stages and 20 in the recipe",
        ),
        (ROW, ["+ablation.halving={rungs: [0.5]}"], "ablation.halving: .*stages of kind grpo are a, b, the last is b"),
        (ROW, ["ablation.reference=b"], "ablation.reference: there is no point 'b'"),
        (
            FIXED,
            [],
            "'checklist0.5' and 'checklist1' come to the same stages; a stage's with: sets what they differ in",
        ),
    ],
)
def test_points_of_a_graph_that_cannot_be_compared_are_met_before_training(
    stages: str, more: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_ablation(["recipe=quickstart", "~arms", "grpo.max_steps=20", stages, TWO, *more])


def test_points_of_a_graph_with_several_grpo_stages_are_its_last_models() -> None:
    run = plan_ablation(["recipe=quickstart", "~arms", ROW, TWO, "ablation.reference=a"]).run
    shown = [(model.model, model.shown) for model in run.graph.evaluations if model.model == "b"]
    assert shown == [("b", "checklist0.5"), ("b", "checklist1")]


def test_points_of_a_graph_with_several_last_models_are_judged_by_the_one_that_is_named() -> None:
    def evaluations(*more: str) -> list[tuple[str, str]]:
        fork = FORK.replace("b: {kind: grpo, from: sft}", "b: {kind: grpo, from: sft, with: ['grpo.max_steps=7']}")
        run = plan_ablation(["recipe=quickstart", "~arms", fork, TWO, *more]).run
        return [(evaluation.model, name) for name, evaluation in compared(run.graph)]

    shared = [("base", "base"), ("sft", "sft")]
    a = [("a", "checklist0.5"), ("a", "checklist1")]
    others = [("b", "b[checklist0.5]"), ("b", "b[checklist1]")]
    assert evaluations("ablation.judge_by=a") == [*shared, *others, *a]
    assert {pair for pair in evaluations("ablation.judge_by=b") if pair[0] == "b"} == {
        ("b", "checklist0.5"), ("b", "checklist1")
    }  # fmt: skip
