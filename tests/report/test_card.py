"""The model card: reward, table, differences with intervals, and the command that makes the model again."""

from __future__ import annotations

import json
from pathlib import Path

from adhere.records.artifact import Artifact
from adhere.train.config.compose import compose_recipe
from adhere.train.run.card import write_card


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
