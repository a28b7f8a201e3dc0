"""What a run takes from the hub, and how pinned commits reach its stages."""

from __future__ import annotations

from pathlib import Path

from adhere.train.config.compose import compose_recipe
from adhere.train.run.hub import HubItem, hub_items, pinned

WORDS = [
    "recipe=quickstart",
    "~arms",
    "model.path=lab/model",
    "model.revision=v1",
    "data.train=[{dataset: lab/data}, {path: recipes/data/tiny.jsonl}]",
    "+rewards.components.liked={kind: reward_model, model: lab/taste, weight: 0}",
    "+rewards.components.judged={kind: judge, weight: 0, judge: {model: lab/judge, serve: {gpus: 0}}}",
]


def names(*stages: str) -> list[str]:
    recipe = compose_recipe(WORDS)
    return [item.name for item in hub_items((stage, recipe) for stage in stages)]


def test_each_kind_of_stage_takes_what_it_reads_and_no_more() -> None:
    everything = ["model:lab/model@v1", "dataset:lab/data", "model:lab/taste", "model:lab/judge"]
    assert names("sft") == everything[:2] and names("merge") == everything[:1]
    assert names("grpo") == names("sft", "grpo", "evaluate") == names("rehearse") == everything
    assert names("evaluate")[:2] == everything[:2] and "model:lab/taste" not in names("evaluate")


def test_what_lies_on_this_machine_is_not_of_the_hub(tmp_path: Path) -> None:
    for path in (str(tmp_path), "/nowhere/model", "./model", "~/model"):
        recipe = compose_recipe(["recipe=quickstart"])
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": path})})
        assert hub_items([("merge", recipe)]) == []


def test_pins_are_of_an_id_and_its_revision() -> None:
    recipe = compose_recipe(WORDS)
    known = {"model:lab/model@v1": "a" * 40, "dataset:lab/data": "b" * 40, "model:lab/taste": "c" * 40}
    found = pinned(recipe, known)
    assert found.model.revision == "a" * 40 and [s.revision for s in found.data.train] == ["b" * 40, None]
    assert found.rewards.components["liked"].revision == "c" * 40  # type: ignore[attr-defined]
    assert pinned(recipe, {"model:lab/model": "a" * 40}).model.revision == "v1", "another revision's pin is not ours"
    assert pinned(recipe, {}) is recipe
    assert HubItem("model", "lab/model", None, "model.path").name == "model:lab/model"


def test_the_data_set_of_a_suite_is_of_the_hub_and_is_pinned(tmp_path: Path) -> None:
    words = ["recipe=evaluate", "model.path=lab/model", "evaluation=gsm8k"]
    recipe = compose_recipe(words)
    assert [item.name for item in hub_items([("evaluate", recipe)])][-1] == "dataset:openai/gsm8k"
    assert pinned(recipe, {"dataset:openai/gsm8k": "d" * 40}).evaluation.revision == "d" * 40
    named = compose_recipe([*words, "evaluation.revision=v2"])
    assert [item.name for item in hub_items([("evaluate", named)])][-1] == "dataset:openai/gsm8k@v2"
    assert pinned(named, {"dataset:openai/gsm8k": "d" * 40}).evaluation.revision == "v2"
    (tmp_path / "test.jsonl").touch()
    local = compose_recipe([*words, f"evaluation.path={tmp_path / 'test.jsonl'}"])
    assert "dataset:openai/gsm8k" not in [item.name for item in hub_items([("evaluate", local)])]
