"""The memory estimate against what is really allocated, and against published sizes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import ModelConfig
from adhere.train.plan.architecture import Architecture, architecture_of, read_architecture
from adhere.train.plan.describe import describe_run
from adhere.train.plan.memory import stage_memory
from adhere.train.run.run import plan_rehearsal, plan_run

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
QWEN2_7B: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_06B: dict[str, Any] = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": True,
}  # fmt: skip
SMOLLM2: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "weights"), [(QWEN2_7B, 7_615_616_512), (QWEN3_06B, 596_049_920), (SMOLLM2, 134_515_008)]
)
def test_the_weights_of_published_models_are_counted_exactly(config: dict[str, Any], weights: int) -> None:
    assert architecture_of(config).parameters == weights


@pytest.mark.parametrize(
    "settings",
    [{}, {"rank": 8, "checkpointing": True}, {"packed": True}],
    ids=str,
)
def test_a_step_allocates_what_was_estimated(settings: dict[str, Any]) -> None:
    from memory_estimate import Point, estimated, measured

    torch.set_num_threads(1)
    point = Point("qwen3", 1, 32, **settings)
    assert estimated(point) == pytest.approx(measured(point), rel=0.15)


def test_a_four_bit_base_takes_what_was_estimated() -> None:
    pytest.importorskip("bitsandbytes")
    from adhere.train.model.load import load_for_training
    from adhere.train.plan.memory import base_bytes

    recipe = compose_recipe(["recipe=quickstart", "model.adapter.kind=qlora", "launcher.device=cpu"])
    model: Any = load_for_training(recipe.model, recipe.model.path)
    states = [state for p in model.parameters() if (state := getattr(p, "quant_state", None)) is not None]
    assert len(states) == 7 * model.config.num_hidden_layers
    taken = sum(p.nbytes for p in model.parameters()) + sum(state.absmax.nbytes for state in states)
    assert base_bytes(recipe, architecture_of(model.config.to_dict())) == pytest.approx(taken, rel=0.001)


def of(config: dict[str, Any], kind: str, *overrides: str) -> Any:
    recipe = compose_recipe(["recipe=quickstart", "~arms", *overrides])
    return stage_memory(recipe, kind, architecture_of(config))  # type: ignore[arg-type]


def part(config: dict[str, Any], name: str, *overrides: str) -> float:
    return of(config, "grpo", *overrides).peak.parts.get(name, 0.0)


@pytest.mark.slow
def test_sharding_divides_what_each_strategy_shares() -> None:
    ranks = "launcher.processes=8"
    whole = Architecture.parameters.fget(architecture_of(QWEN2_7B)) * 4  # type: ignore[attr-defined]
    assert part(QWEN2_7B, "weights", "strategy=ddp", ranks, "model.dtype=bfloat16") == whole
    assert part(QWEN2_7B, "weights", "strategy=fsdp2", ranks, "model.dtype=bfloat16") == whole / 8
    assert part(QWEN2_7B, "weights", "strategy=zero2", ranks, "model.dtype=bfloat16") == whole / 2
    assert part(QWEN2_7B, "weights", "strategy=zero3", ranks, "model.dtype=bfloat16") == whole / 16
    assert part(QWEN2_7B, "optimizer", "strategy=zero2", ranks, "model.dtype=bfloat16") == 3 * whole / 8
    assert part(QWEN2_7B, "optimizer", "strategy=zero3_offload", ranks, "model.dtype=bfloat16") == 0.0


QWEN3_32B = {
    "model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 25600, "num_hidden_layers": 64,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": False, "max_position_embeddings": 40960,
}  # fmt: skip


def test_zero3_gathers_all_weights_to_generate_by_transformers() -> None:
    lora = ["model.adapter.kind=lora", "model.dtype=bfloat16", "launcher.device=cuda"]
    lora += ["grpo.per_device_batch_size=8", "grpo.gradient_checkpointing=true"]
    whole = architecture_of(QWEN3_32B).parameters * 2
    found = of(QWEN3_32B, "grpo", *lora, "strategy=zero3")
    assert found.peak.when == "generation" and found.dominant == "gathered"
    assert whole < found.peak.parts["gathered"] < 1.01 * whole
    assert 68 < found.peak.total / 2**30 < 90
    for other in (
        ["strategy=zero3", "+grpo.trl.ds3_gather_for_generation=false"],
        ["strategy=zero3", "grpo.generation=vllm_server"],
        ["strategy=fsdp2"],
    ):
        assert of(QWEN3_32B, "grpo", *lora, *other).peak.total < 0.6 * found.peak.total
    offloaded = of(QWEN3_32B, "grpo", *lora, "strategy=zero3_offload")
    assert offloaded.peak.parts["gathered"] == found.peak.parts["gathered"], "from host memory, too"
    assert "gathered" not in of(QWEN3_32B, "sft", *lora, "strategy=zero3").peak.parts


def test_adapters_need_little_beside_a_frozen_base_and_a_reference_of_their_own() -> None:
    lora = ["model.adapter.kind=lora", "model.dtype=bfloat16"]
    assert part(QWEN2_7B, "optimizer", *lora) < 0.1 * part(QWEN2_7B, "weights", *lora)
    with_kl = part(QWEN2_7B, "reference", "grpo.kl_coefficient=0.1", "model.dtype=bfloat16")
    assert with_kl == architecture_of(QWEN2_7B).parameters * 4
    assert part(QWEN2_7B, "reference", "grpo.kl_coefficient=0.1", *lora) < 0.1 * with_kl


def test_a_rehearsal_holds_the_weights_once_and_the_cache_of_its_completions(tmp_path: Path) -> None:
    """As an evaluation of as many responses of that length does, and far less than training."""
    given = ["grpo.per_device_batch_size=32", "grpo.max_completion_length=100", "launcher.device=cpu"]
    rehearsal = of(SMOLLM2, "rehearse", *given).peak
    same = ["evaluation.batch_size=32", "evaluation.sampling.max_new_tokens=100", "launcher.device=cpu"]
    assert rehearsal.parts == of(SMOLLM2, "evaluate", *same).peak.parts
    assert rehearsal.parts["weights"] == architecture_of(SMOLLM2).parameters * 4
    # Back ends of the evaluation do not matter, and a group is drawn whole.
    assert of(SMOLLM2, "rehearse", *given, "evaluation.backend=vllm").peak.parts == rehearsal.parts
    whole = of(SMOLLM2, "rehearse", "grpo.group_size=64", *given, "grpo.gradient_accumulation=2").peak
    assert whole.total > 1.3 * rehearsal.total
    assert rehearsal.total < of(SMOLLM2, "grpo", *given).peak.total / 2
    (tmp_path / "config.json").write_text(json.dumps(QWEN2_7B), encoding="utf-8")
    run = plan_rehearsal(["recipe=quickstart", f"model.path={tmp_path}", "model.dtype=bfloat16", "stages=[grpo]",
                          "~arms", "launcher.gpu_memory_gib=20", "grpo.per_device_batch_size=512",
                          f"run.root={tmp_path}"])  # fmt: skip
    text = describe_run(run)
    assert "not known" not in text and "warning: rehearse needs about" in text
    assert "it would fit with grpo.per_device_batch_size=" in text


def test_stages_that_share_a_gpu_add_up(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN2_7B), encoding="utf-8")
    given = [f"model.path={tmp_path}", "model.dtype=bfloat16", "stages=[evaluate]", "~arms", "recipe=quickstart"]
    alone = describe_run(plan_run([*given, "launcher.gpu_memory_gib=40"]))
    shared = describe_run(plan_run([*given, "launcher.gpu_memory_gib=40", "launcher.stages_per_gpu=3"]))
    assert "warning: evaluate needs" not in alone
    assert "GiB per device as 3 stages share it, more than the 40 GiB there are" in shared


def test_the_plan_warns_of_too_small_a_device_and_says_what_to_change(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN2_7B), encoding="utf-8")
    given = [f"model.path={tmp_path}", "model.dtype=bfloat16", "strategy=ddp", "launcher.processes=8", "~arms"]
    text = describe_run(plan_run([*given, "launcher.gpu_memory_gib=80"]))
    assert "7,616 M weights; GiB per device at the peak" in text
    assert "more than the 80 GiB there are" in text and "it would fit with strategy=zero2" in text


R1_DISTILL: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": False,
}  # fmt: skip
HARDWARE = {
    "smollm2_gsm8k": (SMOLLM2, 24),
    "qwen3_0_6b_mathif": (QWEN3_06B, 80),
    "qwen3_0_6b_traces": (QWEN3_06B, 80),
    "r1_distill_1_5b_mathif": (R1_DISTILL, 80),
    "qwen2_5_7b_mathif": (QWEN2_7B, 80),
}


@pytest.mark.parametrize("name", HARDWARE)
def test_shipped_recipes_fit_the_hardware_that_they_name(name: str) -> None:
    config, gib = HARDWARE[name]
    recipe = compose_recipe([f"recipe={name}", "~arms", f"launcher.gpu_memory_gib={gib}"])
    for kind in recipe.kinds:
        assert stage_memory(recipe, kind, architecture_of(config)).peak.total / 2**30 <= gib, kind


def test_a_packed_micro_batch_is_limited_by_its_tokens_and_trls_by_its_rows() -> None:
    def activations(*overrides: str) -> float:
        return part(SMOLLM2, "activations", "grpo.per_device_batch_size=64", "launcher.device=cpu", *overrides)

    assert activations() == activations("grpo.per_device_batch_size=128")
    assert activations("grpo.tokens_per_microbatch=65536") > 4 * activations()
    assert activations("grpo.exact_trl=true") > 4 * activations()


def test_a_model_that_is_not_here_is_named_with_the_way_to_its_config(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"hf download owner/name config\.json"):
        read_architecture(ModelConfig(path="owner/name"))
