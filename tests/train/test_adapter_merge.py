"""``handoff: merge``: what GRPO hands on holds SFT's adapter too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adhere.rewards.errors import ConfigError
from adhere.train.config.stage import read_spec
from adhere.train.model.load import load_for_inference
from adhere.train.run.run import plan_run

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_model_after_a_merge_holds_both_adapters(tmp_path: Path) -> None:
    overrides = [
        "recipe=quickstart", "debug=smoke", "~arms", "stages=[sft,grpo]", "launcher.device=cpu", f"run.root={tmp_path}",
        "model.adapter.kind=lora", "model.adapter.handoff=merge", "sft.learning_rate=0.01", "sft.warmup_steps=0",
        "grpo.learning_rate=1e-12", "grpo.max_completion_length=72",
    ]  # fmt: skip
    line = [sys.executable, "-m", "adhere.train.cli", "train", *overrides]
    done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    stages = tmp_path / "latest" / "stages"
    config = read_spec(stages / "grpo" / "stage.yaml").recipe.model
    paths = {"base": config.path, "sft": str(stages / "sft" / "model"), "grpo": str(stages / "grpo" / "model")}
    weights = {name: load_for_inference(config, path).state_dict() for name, path in paths.items()}
    assert any(not torch.allclose(weights["sft"][k], weights["base"][k], atol=1e-4) for k in weights["base"])
    assert all(torch.allclose(weights["grpo"][k], weights["sft"][k], atol=1e-5) for k in weights["base"])


@pytest.mark.parametrize(
    ("overrides", "reason"), [(["model.adapter.kind=qlora"], "4-bit"), (["strategy=zero3"], "shards")]
)
def test_a_merge_without_whole_weights_is_refused_while_planning(
    overrides: list[str], reason: str, model_folder: Path
) -> None:
    common = [
        "recipe=quickstart",
        f"model.path={model_folder}",
        "model.adapter.kind=lora",
        "model.adapter.handoff=merge",
    ]
    with pytest.raises(ConfigError, match=f"model.adapter.handoff: merge needs whole weights.*{reason}"):
        plan_run([*common, *overrides])
