"""The model card: reward, table, differences with intervals, and the command that makes the model again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from adhere.records.artifact import Artifact
from adhere.train.config.compose import compose_recipe
from adhere.train.run.card import hub_id, write_card


def test_a_card_carries_reward_table_differences_seed_and_command(tmp_path: Path) -> None:
    made = {"kind": "grpo", "label": "grpo[composite]", "key": "0123456789abcdef", "seed": 3, "items": 1752}
    (tmp_path / "manifest.json").write_text(json.dumps({**made, "versions": {"trl": "1.16.0"}}), encoding="utf-8")
    table = tmp_path / "results.md"
    table.write_text("| model | joint |\n| --- | ---: |\n| composite | 96.5 [94.5, 98.2] |\n", encoding="utf-8")
    difference = "composite − math_only: joint +80.0 [+75.8, +84.2] points"
    artifact = Artifact(tmp_path)
    write_card(artifact, compose_recipe(["recipe=quickstart"]), table, "adhere train recipe=quickstart", [difference])
    card = (artifact.model / "README.md").read_text(encoding="utf-8")
    assert "- `checklist` (checklist): weight 1" in card and "counted only where `math` passed" in card
    assert f"| composite | 96.5 [94.5, 98.2] |\n\n- {difference}\n\nAccuracy is" in card
    assert "Seed 3, 1752 training items, stage key `0123456789ab`" in card
    assert "```\nadhere train recipe=quickstart\n```" in card


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("/home/me/models/Qwen3", None),
        ("./Qwen3", None),
        ("../a/Qwen3", None),
        ("~/Qwen3", None),
        ("Qwen3", None),
        ("mine/tuned", None),  # a folder of that name is here
        ("a/b/c", None),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de", "Qwen/Qwen3-0.6B"),
        ("/data/models--mine", None),
    ],
)
def test_a_card_names_the_base_by_its_hub_id_or_not_at_all(
    path: str, named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "tuned").mkdir(parents=True)
    assert hub_id(path) == named
    made = {"kind": "sft", "label": "sft", "key": "0123456789abcdef", "seed": 3, "items": 9, "versions": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(made), encoding="utf-8")
    recipe = compose_recipe(["recipe=quickstart"])
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": path})})
    write_card(Artifact(tmp_path), recipe, tmp_path / "none.md", "adhere train")
    _, head, text = Artifact(tmp_path).card.read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(head).get("base_model") == named
    shown, folded = text.split("<details><summary>Recipe</summary>")
    assert "```yaml" not in shown and folded.strip().endswith("</details>") and "learning_rate" in folded
    assert named or path not in shown or path == "Qwen3"
