"""What a plan says of time and of doubtful settings: measured where there is something, else from operations."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from adhere.rewards.errors import ConfigError
from adhere.rewards.files import write_json
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import Recipe
from adhere.train.plan.architecture import architecture_of
from adhere.train.plan.describe import describe_run
from adhere.train.plan.duration import Duration, device_of, span_in_words, stage_duration, time_left
from adhere.train.plan.history import History
from adhere.train.plan.suggestions import fitting
from adhere.train.plan.warnings import warnings
from adhere.train.run.run import plan_run

QWEN2_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
    "max_position_embeddings": 1024,
}  # fmt: skip
BASIS = ["recipe=quickstart", "~arms", "launcher.device=cpu"]


def recipe_of(*overrides: str) -> Recipe:
    return compose_recipe([*BASIS, *overrides])


def leave(root: Path, recipe: Recipe, kind: str, **manifest: object) -> None:
    """Write what a stage that has ended leaves of its figures."""
    folder = root / "artifacts" / f"{kind}-0123456789ab"
    folder.mkdir(parents=True)
    spec = {"kind": kind, "recipe": recipe.model_dump(mode="json")}
    (folder / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    write_json(folder / "manifest.json", manifest)


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    folder = tmp_path / "qwen"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN2_7B), encoding="utf-8")
    return folder


TIMING = {"step_median": 2.0, "step_longest": 40.0, "checkpoint": 5.0}


def test_an_earlier_stage_of_the_same_shape_is_reckoned_with(tmp_path: Path) -> None:
    leave(tmp_path, recipe_of(), "sft", items=640, steps=120, seconds=250.0, timing=TIMING)
    found = stage_duration(recipe_of("sft.max_steps=1000", "sft.learning_rate=1e-5"), "sft", History(tmp_path))
    assert isinstance(found, Duration)
    assert (found.low, found.high) == (0.8 * 2000 + 10, 1.5 * 2000 + 10)
    assert found.basis == "measured, 2 s a step in sft-0123456789ab"
    other = stage_duration(recipe_of("sft.per_device_batch_size=32"), "sft", History(tmp_path))
    assert isinstance(other, Duration) and other.basis.startswith("from operations, on a CPU")


def test_steps_of_passes_over_the_data_are_exact_once_the_items_are_known(tmp_path: Path) -> None:
    given = ["sft.max_steps=-1", "sft.epochs=2", "sft.gradient_accumulation=2"]
    history = History(tmp_path)
    about = stage_duration(recipe_of(*given, "data.train_size=1000"), "sft", history)
    assert isinstance(about, Duration) and about.work == "about 16 steps"
    assert "2 passes over an unknown number of items" in str(
        stage_duration(recipe_of(*given, "data.train_size=null"), "sft", history)
    )
    leave(tmp_path, recipe_of("data.train_size=null"), "sft", items=641, steps=1, seconds=1.0, timing={})
    exact = stage_duration(recipe_of(*given, "data.train_size=null"), "sft", History(tmp_path))
    assert isinstance(exact, Duration) and exact.work == "12 steps"


def test_a_stopped_stage_says_what_is_left_by_its_own_steps(tmp_path: Path) -> None:
    given = ["recipe=quickstart", "~arms", f"run.root={tmp_path}", "launcher.device=cpu", "stages=[sft]"]
    run = plan_run([*given, "sft.max_steps=120"])
    (stage,) = run.graph.stages.values()
    artifact = run.artifact(stage.key)
    assert "left" not in describe_run(run).split("time ")[1]
    write_json(artifact.timing, {"step_median": 2.0, "step_longest": 4.0, "checkpoint": 1.0})
    assert "left" not in describe_run(run).split("time ")[1], "without a checkpoint nothing is kept"
    (artifact.checkpoints / "checkpoint-100").mkdir(parents=True)
    (artifact.checkpoints / "checkpoint-100" / "COMPLETE").touch()
    assert "sft  20 of 120 steps are left: 0.9 to 2.8 min; measured by itself, 2 s a step" in describe_run(run)
    artifact.timing.write_text("{")
    assert "left" not in describe_run(run).split("time ")[1]


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (["strategy=fsdp2"], True),
        (["strategy=zero3", "+grpo.trl.ds3_gather_for_generation=false"], True),
        (["strategy=fsdp2", "grpo.generation=vllm_server"], False),
        (["strategy=zero3"], False),
        (["strategy=ddp"], False),
    ],
)
def test_generation_that_gathers_every_layer_for_every_token_is_warned_of(
    tmp_path: Path, overrides: list[str], warned: bool
) -> None:
    found = warnings([recipe_of("launcher.device=auto", *overrides)], History(tmp_path))
    assert any("gathers every layer from all ranks for every token" in text for text in found) is warned


def test_an_evaluation_scales_with_its_items(tmp_path: Path) -> None:
    leave(tmp_path, recipe_of(), "evaluate", items=100, seconds=50.0)
    found = stage_duration(recipe_of(), "evaluate", History(tmp_path))
    assert isinstance(found, Duration) and (found.low, found.high) == (40.0, 75.0)


@pytest.mark.slow
def test_a_larger_model_takes_longer_and_a_range_is_one(qwen: Path, tmp_path: Path) -> None:
    given = [f"model.path={qwen}", "launcher.device=auto"]
    found = {
        kind: stage_duration(recipe_of(*given), kind, History(tmp_path))  # type: ignore[arg-type]
        for kind in ("sft", "grpo")
    }
    assert all(isinstance(d, Duration) and 0 < d.low < d.high for d in found.values())
    small = stage_duration(recipe_of("launcher.device=auto"), "grpo", History(tmp_path))
    assert isinstance(small, Duration) and isinstance(found["grpo"], Duration) and small.high < found["grpo"].low * 10
    assert span_in_words(90, 7000) == "1.5 to 117 min" and span_in_words(2000, 9000) == "0.6 to 2.5 h"


def test_the_plan_prints_a_row_for_each_stage_and_a_total(tmp_path: Path) -> None:
    text = describe_run(plan_run(["recipe=quickstart", f"run.root={tmp_path}", "launcher.device=cpu"]))
    assert "grpo[math_only] and 1 more  60 steps: " in text and " each; from operations" in text
    assert "waiting in a queue not counted" in text


@pytest.mark.parametrize(
    ("overrides", "gpus", "on_gpu"),
    [
        (["launcher.device=auto"], "", False),
        (["launcher.device=auto"], "0", True),
        (["launcher.device=cpu"], "0", False),
        (["launcher.device=cuda"], "", True),
        (["launcher.device=auto", "launcher.gpu_memory_gib=80"], "", True),
        (["launcher.device=auto", "strategy=fsdp2"], "", True),
        (["launcher.device=auto", "launcher=slurm"], "", True),
        (["launcher=slurm", "launcher.device=cpu"], "0", False),
    ],
)
def test_without_a_gpu_a_plan_reckons_with_this_machines_cpu(
    overrides: list[str], gpus: str, on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    found = device_of(recipe_of(*overrides).launcher)
    assert found.words.startswith("a GPU" if on_gpu else "a CPU")
    if not on_gpu and "launcher=slurm" not in overrides:
        assert "of this machine" in found.words
        more = device_of(recipe_of(*overrides, "launcher.threads=64").launcher)
        assert more.flops == (64e10, 64e11) and more.bandwidth == found.bandwidth


def test_the_items_of_generators_are_known_before_any_run(tmp_path: Path) -> None:
    text = describe_run(plan_run(["recipe=quickstart", f"run.root={tmp_path}", "launcher.device=cpu"]))
    assert "evaluate[base] and 3 more  " in text.replace("more   ", "more  ") and "about 400 items: " in text
    few = stage_duration(recipe_of("data.evaluation_size=8"), "evaluate", History(tmp_path))
    assert isinstance(few, Duration) and few.work == "about 8 items"
    one_unknown = ["data.evaluation=[{generator: gsm_symbolic, size: 5}, {path: tests/data/gsm8k_64.jsonl}]"]
    unknown = stage_duration(recipe_of(*one_unknown, "data.evaluation_size=null"), "evaluate", History(tmp_path))
    assert str(unknown).startswith("an unknown number of items")


def test_what_is_left_counts_what_is_known_and_names_what_is_not(tmp_path: Path) -> None:
    run = plan_run(["recipe=quickstart", f"run.root={tmp_path}", "launcher.device=cpu"])
    stages = list(run.graph.stages.values())
    assert re.fullmatch(r"[\d.]+ to [\d.]+ (s|min|h)", time_left(run, stages))
    assert time_left(run, []) == ""
    leave(tmp_path, stages[0].recipe, "sft", items=2400, steps=120, seconds=250.0, timing=TIMING)
    assert time_left(run, stages[:1]) == "3.4 to 6.2 min"


def test_a_notice_shorter_than_a_measured_step_is_warned_of(tmp_path: Path) -> None:
    leave(tmp_path, recipe_of(), "grpo", items=640, steps=60, seconds=200.0, timing=TIMING)
    slurm = [recipe_of("launcher=slurm", f"launcher.slurm.notice_seconds={n}") for n in (30, 60)]
    short, enough = (warnings([recipe], History(tmp_path)) for recipe in slurm)
    assert "set it to at least 68" in short[0] and enough == []


def test_lengths_beyond_the_context_of_the_models_own_config_are_warned_of(qwen: Path, tmp_path: Path) -> None:
    given = [f"model.path={qwen}", "model.context=null", "data.max_prompt_tokens=600", "grpo.max_completion_length=512"]
    found = warnings([recipe_of(*given)], History(tmp_path))
    with pytest.raises(ConfigError, match=r"sft.max_length: 2048 exceeds the model's context of 1024 tokens"):
        plan_run(["recipe=quickstart", *given, "sft.max_length=2048", "~arms"])
    assert any("grpo.max_completion_length: 512; with data.max_prompt_tokens 600" in text for text in found)


def test_vllm_settings_that_nothing_reads_and_servers_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread = warnings([recipe_of("grpo.vllm.sleep=true")], History(tmp_path))
    assert any("grpo.vllm.sleep: nothing reads it, grpo.generation is transformers" in text for text in unread)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    given = ["launcher.device=auto", "strategy=ddp", "launcher.processes=2", "grpo.generation=vllm_server"]
    served = warnings([recipe_of(*given)], History(tmp_path))
    assert any("2 ranks leave 0 of the 2 GPUs here, and servers need 1 for grpo.vllm" in text for text in served)


def test_ways_to_fit_really_fit_and_are_allowed() -> None:
    given = ["launcher.device=auto", "model.dtype=bfloat16", "strategy=ddp", "launcher.processes=8"]
    ways = fitting(recipe_of(*given), "grpo", architecture_of(QWEN2_7B), 72.0)
    assert len(ways) == 3 and ways[0].startswith("strategy=zero2 grpo.gradient_checkpointing=true (")
    merged = recipe_of(*given, "model.adapter.kind=lora", "model.adapter.handoff=merge")
    assert not any("zero3" in way or "fsdp2" in way for way in fitting(merged, "grpo", architecture_of(QWEN2_7B), 20.0))
    assert fitting(recipe_of(*given), "grpo", architecture_of(QWEN2_7B), 0.5) == []
