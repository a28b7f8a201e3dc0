"""The comparison of methods: what it trains, that all generate as much, and the table that it ends with."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import REPOSITORY, SMALL

from adhere.records.run import RunFolder
from adhere.records.tables import read_rollout_files, rollout_files
from adhere.rewards.errors import ConfigError
from adhere.train.ablation.points import Ablation, budget, plan_ablation
from adhere.train.config.compose import compose_recipe
from adhere.train.config.suites import override_value

EVERY = list(compose_recipe(["recipe=quickstart"]).ablation.methods)


def planned(root: Path, *overrides: str) -> Ablation:
    return plan_ablation(["recipe=quickstart", f"run.root={root}", *overrides])


def budgets(ablation: Ablation) -> dict[str, int]:
    run = ablation.run
    arms = {point: arm for arm, (point, _) in run.members.items()}
    return {p: budget(s for s in run.graph.stages.values() if arm in s.arms) for p, arm in arms.items()}


@pytest.mark.slow
@pytest.mark.parametrize("size", [[], ["debug=smoke", "grpo.max_steps=6"], ["grpo.gradient_accumulation=2"]])
def test_every_method_generates_as_much_from_one_sft_and_is_measured_alike(tmp_path: Path, size: list[str]) -> None:
    ablation = planned(tmp_path, f"ablation.method=[{','.join(EVERY)}]", "ablation.seeds=[0,1]", *size)
    run = ablation.run
    assert run.points == tuple(EVERY) and len(run.arms) == 2 * len(EVERY) and not ablation.merged
    assert len(set(budgets(ablation).values())) == 1 and min(budgets(ablation).values()) > 0
    stages = run.graph.stages.values()
    assert len([stage for stage in stages if stage.kind == "sft"]) == 1
    measured = [stage.recipe for stage in stages if stage.kind == "evaluate"]
    assert len({recipe.data.model_dump_json(exclude={"train"}) for recipe in measured}) == 1
    assert [source.held_out for source in measured[0].data.evaluation] == [False, True]
    held = {id for stage in stages for id in stage.recipe.data.constraints.hold_out.ids}
    assert held == {"detectable_format"}
    shown = [m.shown for m in run.graph.evaluations if m.shown not in ("base", "sft")]
    assert set(shown) == set(run.arms), "a point is its last model"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ablation.method=[compsite]"], "there is no method 'compsite' .did you mean 'composite'"),
        (["ablation.method=[composite,cort]", "ablation.halving=true"], "halving: methods do not share their steps"),
        (
            ["+ablation.methods.two={stages: {a: {kind: sft}, b: {kind: sft}}}", "ablation.method=[two]"],
            "ends in a and b; a point is its last model",
        ),
        (
            ["+ablation.methods.both={with: ['seed=1'], stages: {sft: {}}}", "ablation.method=[both]"],
            "with: is for the recipe's own stages",
        ),
        (
            ["ablation.method=[composite,cort]", "ablation.variants={a: ['evaluation.sampling.samples=2'], b: []}"],
            "sets evaluation.sampling.samples twice",
        ),
    ],
)
def test_a_comparison_that_cannot_work_is_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(tmp_path, *overrides)


def test_a_recipe_without_methods_says_so() -> None:
    with pytest.raises(ConfigError, match=r"no method 'cort'; there are none: this recipe has no ablation\.methods"):
        compose_recipe(["recipe=smollm2_gsm8k", "ablation.method=[cort]"])


def test_a_method_of_the_users_own_overrides_the_stages_of_its_recipe(tmp_path: Path) -> None:
    own = "+ablation.methods.cold={with: ['grpo.temperature=0.5', 'data.train.0.size=99']}"
    ablation = planned(tmp_path, own, "ablation.method=[composite,cold]")
    found = {stage.label: stage.recipe for stage in ablation.run.graph.stages.values() if stage.kind == "grpo"}
    assert [found[f"grpo[{name}]"].grpo.temperature for name in ("composite", "cold")] == [1.0, 0.5]
    sft = [stage for stage in ablation.run.graph.stages.values() if stage.kind == "sft"]
    assert len(sft) == 1 and sft[0].recipe.data.train[0].size == 2400, "its overrides are no part of the shared SFT"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.25,
        "plain",
        "a=b,c",
        "it's \\ so",
        "[x]",
        "\\",
        "\\boxed{1}",
        "a\\'b",
        [1, "a b", None],
        {"k": {"with": ["a=1,2", "{b}"]}},
    ],
)
def test_a_value_is_read_back_as_it_was_written(value: object) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (parsed,) = OverridesParser.create().parse_overrides([f"key={override_value(value)}"])
    assert parsed.value() == value


@pytest.mark.slow
@pytest.mark.long
def test_the_table_of_a_comparison_holds_both_skills_and_what_each_method_cost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adhere.train.cli", "ablate", *SMALL, f"run.root={tmp_path}"]
    compared = [*command, "method=[composite,slerp]", "seeds=[0,1]"]
    done = subprocess.run(compared, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = RunFolder((tmp_path / "latest").resolve())
    rows = {row["method"]: row for row in csv.DictReader((run.path / "methods.csv").open())}
    assert set(rows) == {"base", "sft", "composite", "slerp"}
    assert rows["composite"]["runs"] == "2" and rows["base"]["tokens"] == "0" and rows["composite"]["k"] == "8"
    plan = run.plan()
    tokens = [
        sum(read_rollout_files(rollout_files(run.artifact(stage).rollouts))["tokens"].to_pylist())
        for stage in plan.stages
        if stage.kind == "grpo" and any(plan.points[arm][0] == "composite" for arm in stage.arms)
    ]
    assert float(rows["composite"]["tokens"]) == sum(tokens) / 2
    results = json.loads(
        run.artifact(plan.stage(next(m.key for m in plan.models if m.name == "base"))).results.read_text()
    )
    metrics = results["metrics"]
    assert float(rows["base"]["best_accuracy"]) == metrics["at_k"]["accuracy"]["best"]["8"]["mean"]
    assert float(rows["base"]["held_out_joint"]) == metrics["by_source"]["held_out"]["joint"]["mean"]
    text = (run.path / "methods.md").read_text()
    assert "best@8 accuracy" in text and "Held-out: prompts of held_out" in text
