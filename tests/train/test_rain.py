"""RAIN merging: what it protects stays, what it keeps is used, and heads are scaled by what they carry and leak."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from attempts import run_graph
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import MergeConfig
from adhere.train.run.graph import stage_settings
from adhere.train.run.run import plan_run
from adhere.train.stages.rain import Trace, add_instructions, gather_inputs, head_scales, null_projected

GRAPH = (
    "stages={sft: {}, merged: {kind: merge, from: base, inputs: {models: [base, sft]}, with: ['merge.method=rain']}}"
)


def model(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def traces() -> list[Trace]:
    torch.manual_seed(9)
    return [Trace(torch.randint(0, 40, (12,)).tolist(), 5) for _ in range(4)]


def test_a_projected_change_does_nothing_to_the_inputs_and_all_to_what_is_free() -> None:
    torch.manual_seed(0)
    x_N_D, delta = torch.randn(6, 20, dtype=torch.float64), torch.randn(7, 20)
    projected = null_projected(delta, x_N_D.T @ x_N_D, 1e-8)
    assert float((x_N_D @ projected.double().T).norm() / (x_N_D @ delta.double().T).norm()) < 1e-6
    assert float(projected.norm() / delta.norm()) == pytest.approx((14 / 20) ** 0.5, abs=0.1)
    torch.testing.assert_close(null_projected(projected, x_N_D.T @ x_N_D, 1e-8), projected)
    torch.testing.assert_close(null_projected(delta, torch.zeros(20, 20, dtype=torch.float64), 1e-8), delta)
    full = torch.randn(99, 20, dtype=torch.float64)
    assert float(null_projected(delta, full.T @ full, 1e-8).norm()) == 0.0, "no direction is left"


def test_what_the_reasoning_model_computes_while_it_thinks_stays_within_a_thousandth() -> None:
    reasoning, follows, base = model(1), model(2), model(3)
    inputs = gather_inputs(reasoning, traces())
    assert set(inputs) == {n for n, m in reasoning.named_modules() if isinstance(m, torch.nn.Linear)} - {"lm_head"}
    before = {name: tensor.clone() for name, tensor in reasoning.state_dict().items()}
    changes = {n: follows.get_parameter(f"{n}.weight") - base.get_parameter(f"{n}.weight") for n in inputs}
    figures = add_instructions(reasoning, {n: d.detach() for n, d in changes.items()}, inputs, MergeConfig())

    protected: dict[str, list[torch.Tensor]] = {name: [] for name in inputs}
    original = model(1)
    hooks = [
        module.register_forward_pre_hook(lambda _, args, name=name: protected[name].append(args[0][0].detach()))
        for name, module in original.named_modules()
        if name in inputs
    ]
    for trace in traces()[::2]:  # those that were projected out
        original(input_ids=torch.tensor([trace.ids]))
    for hook in hooks:
        hook.remove()
    moved = False
    for name, seen in protected.items():
        x = torch.cat([one[5:] for one in seen])
        was, now = before[f"{name}.weight"], reasoning.get_parameter(f"{name}.weight").detach()
        assert float((x @ (now - was).T).norm() / (x @ was.T).norm()) < 1e-3, name
        moved |= float((now - was).norm()) > 0.1 * float(was.norm())
    assert moved and 0.0 < figures["kept"] < 1.0
    assert 0.0 <= figures["scale_least"] <= figures["scale_mean"] <= figures["scale_most"] <= 1.5
    same = [n for n in before if "norm" in n or "embed" in n or "lm_head" in n]
    assert same and all(torch.equal(before[n], reasoning.state_dict()[n]) for n in same)


def test_a_head_is_scaled_up_by_what_it_carries_and_down_by_what_it_leaks() -> None:
    whole = torch.eye(4)  # two heads of two outputs
    kept = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    asked, thought = torch.ones(3, 4, dtype=torch.float64), torch.ones(2, 4, dtype=torch.float64)
    nothing = torch.zeros(2, 4, dtype=torch.float64)
    assert head_scales(whole, kept, asked, nothing, 2, 0.5).tolist() == [1.5, 1.0], "(1 + 1) / 1 is cut at 1.5"
    assert head_scales(whole, kept, asked, thought, 2, 0.5).tolist() == pytest.approx([2 / 1.5, 1.0])
    assert head_scales(whole, kept, asked, thought, 2, 9.0).tolist() == pytest.approx([0.2, 1.0])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([GRAPH, "merge.weights=[0.5,0.5]"], "merge.weights: rain has none; set merge.instructions"),
        ([GRAPH.replace("[base, sft]}", "[base, sft, sft]}")], "merge.method: rain takes 2 models"),
        ([GRAPH.replace("from: base, ", "")], "merge.method: rain adds what the second model learned since its base"),
        ([GRAPH.replace("method=rain", "traces=9")], "merge.traces: has no effect with method=linear"),
    ],
)
def test_what_cannot_work_is_refused_while_planning(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_run(["~arms", f"run.root={tmp_path}", *overrides])


def test_other_merges_keep_the_names_that_they_had_and_a_rain_depends_on_its_prompts(tmp_path: Path) -> None:
    def keys(*overrides: str) -> list[str]:
        run = plan_run(["~arms", GRAPH, f"run.root={tmp_path}", *overrides])
        return [key for key, stage in run.graph.stages.items() if stage.kind == "merge"]

    assert keys() != keys("data.train_size=50")
    assert keys() != keys("merge.cut=1e-6")
    linear = plan_run(["~arms", GRAPH.replace("rain", "linear"), f"run.root={tmp_path}"])
    (stage,) = (stage for stage in linear.graph.stages.values() if stage.kind == "merge")
    assert stage_settings("merge", stage.recipe)["merge"] == {"method": "linear", "weights": None}


@pytest.mark.slow
def test_a_recipe_merges_what_sft_taught_into_the_base_without_touching_its_thoughts(tmp_path: Path) -> None:
    words = ["sft.max_steps=2", "sft.learning_rate=1e-3", "merge.traces=4", "merge.trace_tokens=64", "merge.cut=1e-6"]
    made = run_graph(tmp_path, GRAPH, *words)
    manifest = json.loads((made["merged"].path / "manifest.json").read_text())
    assert 0.0 < manifest["kept"] < 1.0
    merged, sft = (load_file(made[name].model / "model.safetensors") for name in ("merged", "sft"))
    assert any(not torch.equal(merged[name], sft[name]) for name in sft)
