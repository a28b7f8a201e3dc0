"""Which of a judge's keys belong to what a stage makes, and so to its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adhere.train.run.graph import stage_settings
from adhere.train.run.run import plan_run


def settings(model: Path, *judge: str) -> dict[str, Any]:
    component = f"+rewards.components.rating={{kind: judge, judge: {{{', '.join(['model: m', *judge])}}}}}"
    return stage_settings("grpo", plan_run(["recipe=quickstart", f"model.path={model}", component]).recipe)


@pytest.mark.slow
def test_how_a_judge_is_reached_is_no_part_of_a_stage_and_what_it_answers_is(model_folder: Path) -> None:
    here = settings(model_folder, "base_url: 'http://a/v1'")
    assert settings(model_folder, "base_url: 'http://b/v1'", "patience: 5", "concurrency: 7", "cache: x") == here
    assert settings(model_folder, "base_url: 'http://a/v1'", "samples: 5", "temperature: 1") != here


def test_a_recipe_without_a_judge_keeps_its_stages(model_folder: Path) -> None:
    recipe = plan_run(["recipe=quickstart", f"model.path={model_folder}"]).recipe
    components = stage_settings("grpo", recipe)["rewards"]["components"]
    assert all("judge" not in component for component in components.values())
