"""Which stages share a key: what decides a stage's outcome enters its key, and nothing else does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adhere.prompts.item import PromptItem, write_items
from adhere.rewards.errors import ConfigError
from adhere.train.plan.describe import describe_run
from adhere.train.run.run import plan_run

ONE_ARM = "~arms"


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    write_items(path, [PromptItem("a", ({"role": "user", "content": "What is 2 + 2?"},), "4")])
    return path


def keys(model: Path, *overrides: str) -> dict[str, str]:
    """Return the key of each stage by its label."""
    run = plan_run([f"model.path={model}", *overrides])
    return {stage.label: stage.key for stage in run.graph.stages.values()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {label for label in before if before[label] != after[label]}


def test_the_same_recipe_has_the_same_keys(model_folder: Path) -> None:
    assert keys(model_folder) == keys(model_folder)


def test_a_reward_weight_reaches_grpo_and_what_follows_it(model_folder: Path) -> None:
    before = keys(model_folder, ONE_ARM)
    after = keys(model_folder, ONE_ARM, "rewards.components.checklist.weight=0.5")
    assert changed(before, after) == {"grpo", "evaluate[grpo]"}


def test_an_sft_setting_reaches_all_but_the_base(model_folder: Path) -> None:
    after = keys(model_folder, ONE_ARM, "sft.learning_rate=1e-5")
    assert changed(keys(model_folder, ONE_ARM), after) == {"sft", "grpo", "evaluate[sft]", "evaluate[grpo]"}


def test_evaluation_sampling_reaches_evaluations_alone(model_folder: Path) -> None:
    after = keys(model_folder, ONE_ARM, "evaluation.sampling.temperature=0.5")
    expected = {"evaluate[base]", "evaluate[sft]", "evaluate[grpo]"}
    assert changed(keys(model_folder, ONE_ARM), after) == expected


def test_the_number_of_evaluation_items_retrains_nothing(model_folder: Path) -> None:
    after = keys(model_folder, ONE_ARM, "data.evaluation_size=20")
    expected = {"evaluate[base]", "evaluate[sft]", "evaluate[grpo]"}
    assert changed(keys(model_folder, ONE_ARM), after) == expected


def test_training_data_reaches_all_but_the_base(model_folder: Path) -> None:
    after = keys(model_folder, ONE_ARM, "data.train_size=100")
    assert "evaluate[base]" not in changed(keys(model_folder, ONE_ARM), after)
    assert {"sft", "grpo"} <= changed(keys(model_folder, ONE_ARM), after)


@pytest.mark.parametrize(
    "override",
    ["sft.save_steps=7", "grpo.logging_steps=3", "tracking.trackio=true", "launcher.threads=1", "run.root=elsewhere"],
)
def test_what_changes_no_result_changes_no_key(model_folder: Path, override: str) -> None:
    assert keys(model_folder, ONE_ARM) == keys(model_folder, ONE_ARM, override)


def test_the_seed_reaches_everything(model_folder: Path) -> None:
    before = keys(model_folder, ONE_ARM)
    assert changed(before, keys(model_folder, ONE_ARM, "seed=1")) == set(before)


def test_a_seed_of_grpo_alone_shares_the_sft_stage(model_folder: Path) -> None:
    before, after = keys(model_folder, ONE_ARM), keys(model_folder, ONE_ARM, "grpo.seed=7")
    assert changed(before, after) == {"grpo", "evaluate[grpo]"}
    assert keys(model_folder, ONE_ARM, "grpo.seed=0") == before


def test_arms_share_the_sft_stage_and_the_evaluation_of_the_base(model_folder: Path) -> None:
    run = plan_run([f"model.path={model_folder}"])
    labels = [stage.label for stage in run.graph.stages.values()]
    trained = ["grpo[composite]", "grpo[math_only]", "sft"]
    assert sorted(labels) == [f"evaluate[{name}]" for name in ("base", "composite", "math_only", "sft")] + trained
    (sft,) = [stage for stage in run.graph.stages.values() if stage.label == "sft"]
    assert sft.arms == ("math_only", "composite")
    assert {stage.inputs["model"] for stage in run.graph.stages.values() if stage.kind == "grpo"} == {sft.key}


def test_an_arm_has_the_keys_that_it_would_have_alone(model_folder: Path) -> None:
    together = keys(model_folder)
    alone = keys(model_folder, ONE_ARM, "rewards.components.checklist.weight=0")
    assert together["grpo[math_only]"] == alone["grpo"]
    assert together["evaluate[math_only]"] == alone["evaluate[grpo]"]


def test_a_data_file_counts_by_content_and_not_by_place(model_folder: Path, data_file: Path, tmp_path: Path) -> None:
    def of(path: Path) -> dict[str, str]:
        return keys(model_folder, ONE_ARM, f"data.train=[{{path: {path}}}]")

    before = of(data_file)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = Path(shutil.copy(data_file, elsewhere / data_file.name))
    assert of(moved) == before
    write_items(moved, [PromptItem("a", ({"role": "user", "content": "What is 2 + 3?"},), "5")])
    assert {"sft", "grpo"} <= changed(before, of(moved))


def test_a_model_counts_by_content_and_not_by_place(model_folder: Path, tmp_path: Path) -> None:
    before = keys(model_folder)
    moved = Path(shutil.copytree(model_folder, tmp_path / "moved"))
    assert keys(moved) == before
    (moved / "model.safetensors").write_bytes(bytes(255) + b"\1")
    assert changed(before, keys(moved)) == set(before)


def test_a_chat_template_counts_by_content(model_folder: Path, tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("one", encoding="utf-8")
    before = keys(model_folder, f"model.chat_template={template}")
    template.write_text("two", encoding="utf-8")
    assert changed(before, keys(model_folder, f"model.chat_template={template}")) == set(before)
    template.unlink()
    with pytest.raises(ConfigError, match=r"model\.chat_template: there is no file"):
        keys(model_folder, f"model.chat_template={template}")


def test_the_files_of_a_suite_count_by_content(model_folder: Path, tmp_path: Path) -> None:
    suite = tmp_path / "mathif"
    suite.mkdir()
    row = {"source": "gsm8k", "id": 0, "question": "What is 2 + 2?", "answer": "4"}
    (suite / "gsm8k_single.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    given = ["recipe=evaluate", "evaluation=mathif", f"evaluation.path={suite}"]
    before = keys(model_folder, *given)
    assert keys(model_folder, *given) == before
    (suite / "gsm8k_single.jsonl").write_text(json.dumps({**row, "answer": "5"}) + "\n", encoding="utf-8")
    assert keys(model_folder, *given) != before


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./model_of_mine", "a/b/c"])
def test_a_missing_model_folder_is_named(path: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.path: there is no folder '.*'; name a model folder or a hub id"):
        plan_run([f"model.path={path}"])


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.path: .* holds no config\.json"):
        plan_run([f"model.path={tmp_path}"])


def test_a_hub_id_is_planned_without_asking_the_hub() -> None:
    before = keys(Path("owner/name"))
    assert changed(before, keys(Path("owner/name"), "model.revision=v2")) == set(before)


def test_the_plan_shows_stages_arithmetic_rewards_and_the_first_command(model_folder: Path) -> None:
    text = describe_run(plan_run([f"model.path={model_folder}"]))
    assert "64 completions" in text and "8 prompts × 8 completions" in text
    assert "ratio to math  1     1 if math  metric  metric" in text
    assert "-m adhere.train.worker" in text and "to run" in text


def test_arms_that_differ_by_a_scale_alone_are_warned_of(model_folder: Path) -> None:
    doubled = '+arms={one: [], two: ["rewards.components.math.weight=2", "rewards.components.checklist.weight=2"]}'
    run = plan_run([f"model.path={model_folder}", "~arms", doubled])
    assert "arms 'one' and 'two' are equivalent" in describe_run(run)
    assert "equivalent" not in describe_run(plan_run([f"model.path={model_folder}"]))
