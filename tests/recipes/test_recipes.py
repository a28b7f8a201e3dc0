"""Every shipped recipe and option composes, validates and plans; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from adhere.evaluation.suites import SUITES, SuiteSource
from adhere.train.config.compose import compose_recipe, recipes_folder
from adhere.train.config.schema import Recipe
from adhere.train.plan.describe import describe_run
from adhere.train.run.run import plan_run

FOLDER = recipes_folder()
RECIPES = sorted(path.stem for path in (FOLDER / "recipe").glob("*.yaml"))
OPTIONS = sorted(
    f"{path.parent.name}={path.stem}" for path in FOLDER.glob("*/*.yaml") if path.parent.name not in ("recipe", "local")
)
NEEDS = {
    **{
        f"evaluation={name}": [f"evaluation.path={name}"]
        for name in ("mathif", "abstention", "complexbench", "followbench", "healthbench", "muldimif", "reasonif")
    },
    "data=gsm8k": ["model.context=1024"],
    "data=traces": ["model.context=2048"],
    "data=wide": ["model.context=1024"],
}
"""What an option asks the user for, or a limit of the quickstart's model that it does not fit."""

NAMED_BY_THE_USER = (
    "arms", "rewards.components", "data.train", "data.evaluation", "sft.trl", "grpo.trl", "ablation.methods",
)  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Return the override that puts a local model in place of the recipe's, which may be on the hub or not made yet."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "facts.jsonl").write_text('{"question": "Calculate 1 + 1.", "answer": "2"}\n', encoding="utf-8")
    return f"model.path={tmp_path}"


def test_there_are_recipes_and_options() -> None:
    assert "quickstart" in RECIPES
    assert {"model=tiny", "debug=smoke", "strategy=zero3"} <= set(OPTIONS)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_plans(recipe: str, model: str) -> None:
    run = plan_run([f"recipe={recipe}", model])
    assert run.recipe.name == recipe
    assert {stage.kind for stage in run.graph.stages.values()} == {stage.kind for stage in run.recipe.stages.values()}
    assert set(run.arms) == set(run.recipe.arms or ["run"])
    assert "evaluate" in describe_run(run)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_plans_as_a_smoke_test(recipe: str, model: str) -> None:
    run = plan_run([f"recipe={recipe}", "debug=smoke", model])
    for arm in run.arms.values():
        assert arm.sft.max_steps == arm.grpo.max_steps == 2
        assert arm.data.train_size == 32


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipes_header_says_what_it_shows_and_how_to_start_it(recipe: str) -> None:
    lines = (FOLDER / "recipe" / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    header = " ".join(line for line in lines if line.startswith("#"))
    assert f"recipe={recipe}" in header or f"adhere {recipe}" in header
    assert "rehears" in header.lower(), "whether its defaults pass their own rehearsal, or that this was not tried"


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_composes_with_the_quickstart(option: str, model: str) -> None:
    if option == "evaluation=ifbench" and (missing := SUITES["ifbench"].problems(SuiteSource())):
        pytest.skip(missing[0])
    recipe = compose_recipe([option, *NEEDS.get(option, []), model])
    assert recipe.name == "quickstart"


def test_every_key_of_the_schema_is_written_out_so_that_it_can_be_overridden() -> None:
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config"), resolve=False)
    assert isinstance(composed, dict)
    full = Recipe.model_validate({**composed, "name": "x", "model": {**composed["model"], "path": "x"}})
    elsewhere = {"launcher.slurm"}  # written out in launcher=slurm, whose it is
    assert set(_absent(full.model_dump(), composed)) - elsewhere == set()


def _absent(known: Mapping[str, Any], written: Mapping[str, Any], at: str = "") -> list[str]:
    found = []
    for key, value in known.items():
        path = f"{at}{key}"
        if path in NAMED_BY_THE_USER:
            continue
        if key not in written:
            found.append(path)
        elif isinstance(value, dict) and isinstance(written[key], dict):
            found += _absent(value, written[key], f"{path}.")
    return found
