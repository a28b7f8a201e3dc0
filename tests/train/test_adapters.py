"""Adapters in a graph of stages: what goes on with which, what is refused before anything starts, and real training."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from attempts import run_graph
from tiny_run import ONE_ARM, SMALL

from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.model.load import load_for_inference
from adhere.train.run.run import plan_run

LORA, QLORA, MERGE = "model.adapter.kind=lora", "model.adapter.kind=qlora", "model.adapter.handoff=merge"
FULL = "model.adapter.kind=none"


def graph(**stages: str) -> str:
    """Return the override that makes the recipe's stages those; what their ``with`` lists is quoted for Hydra."""
    quoted = (re.sub(r"([\w.]+=(\[[^]]*\]|[^],]+))", r"'\1'", stage) for stage in stages.values())
    return "stages={" + ", ".join(f"{name}: {{{stage}}}" for name, stage in zip(stages, quoted, strict=True)) + "}"


TWO_SFT = graph(a="kind: sft", b="kind: sft, from: a")
FULL_FIRST = graph(a=f"kind: sft, with: [{FULL}]", b="kind: grpo, from: a")
FULL_LAST = graph(a="kind: sft", b=f"kind: grpo, from: a, with: [{FULL}]")


def with_rank(source: str, *more: str) -> str:
    given = ", ".join(["model.adapter.rank=4", *more])
    return graph(a="kind: sft", m="kind: sft, from: a", b=f"kind: grpo, from: {source}, with: [{given}]")


def merged(models: str, weights: str, *, last: str = LORA) -> str:
    merge = f"kind: merge, inputs: {{models: [{models}]}}, with: [merge.weights={weights}]"
    return graph(a="kind: sft", b=f"kind: sft, with: [seed=1, {last}]", c=merge)


@pytest.mark.parametrize(
    "overrides",
    [
        [LORA, "stages=[sft,grpo]"],
        [LORA, "stages=[sft,grpo,{again: {kind: sft}}]"],
        [LORA, MERGE, "stages=[sft,grpo,{again: {kind: sft}}]"],
        [QLORA, "stages=[sft,grpo]"],
        # New adapters on the recipe's own model are not merged, whatever the hand-off.
        [QLORA, MERGE, "stages=[grpo]"],
        [QLORA, MERGE, graph(a="kind: sft", b="kind: grpo, from: base")],
        [LORA, MERGE, "strategy=zero3", "stages=[grpo]"],
        [LORA, FULL_FIRST],
        [LORA, FULL_LAST],
        [LORA, "strategy=zero2", FULL_LAST],
        [LORA, "strategy=fsdp2", FULL_LAST],
        [LORA, with_rank("base")],
        [LORA, with_rank("m", MERGE)],
        [LORA, "model.adapter.rank=4", with_rank("m")],
        [LORA, merged("a, b", "[2, -1]")],
        [LORA, merged("a, b", "[1, 1]")],
        [FULL, merged("a, b", "[1, 1]", last=FULL)],
        # A weighted mean of an adapter, on its base, with whole weights.
        [LORA, merged("a, b", "[0.25, 0.75]", last=FULL)],
        [LORA, merged("base, a", "[2, -1]")],
        [LORA, merged("a, b", "null", last=FULL)],
    ],
)
def test_what_goes_together_is_planned(model_folder: Path, overrides: list[str]) -> None:
    plan_run(["recipe=quickstart", *ONE_ARM, f"model.path={model_folder}", *overrides])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([QLORA, MERGE, "stages=[sft,grpo]"], r"stages\.grpo: model\.adapter\.handoff: merge needs whole .*4-bit"),
        ([QLORA, MERGE, TWO_SFT], r"stages\.b: model\.adapter\.handoff: merge needs whole .*4-bit"),
        ([LORA, MERGE, "strategy=zero3", TWO_SFT], r"stages\.b: model\.adapter\.handoff: .*zero3 shards"),
        ([LORA, MERGE, "strategy=fsdp2", TWO_SFT], r"stages\.b: model\.adapter\.handoff: .*fsdp2 shards"),
        ([LORA, "strategy=zero3", FULL_FIRST], r"stages\.b: model\.adapter\.kind: new adapters on the whole .*zero3"),
        ([LORA, "strategy=zero3", FULL_LAST], r"stages\.b: model\.adapter\.kind: none first merges .*zero3"),
        ([QLORA, FULL_FIRST], r"stages\.b: model\.adapter\.kind: new adapters on the whole weights .*4-bit"),
        ([LORA, with_rank("a")], r"stages\.b: model\.adapter\.rank: 4, and the adapter of 'a', .* has 16"),
        ([LORA, with_rank("m")], r"stages\.b: model\.adapter\.rank: 4, and the adapter of 'm', .* has 16"),
        ([LORA, with_rank("a", "model.adapter.alpha=8")], r"stages\.b: model\.adapter\.alpha: 8, and the adapter"),
        ([LORA, merged("a, b", "[1, 1]", last=FULL)],
         r"stages\.c: merge\.weights: 'a' is an adapter, 'b' has whole weights; .* add up to 2"),
        ([LORA, merged("base, b", "[0.5, 0.25]")],
         r"stages\.c: merge\.weights: 'b' is an adapter, 'base' has whole weights; .* add up to 0\.75"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_before_anything_starts(
    model_folder: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_run(["recipe=quickstart", *ONE_ARM, f"model.path={model_folder}", *overrides])


GRAPH = {
    "sft": "kind: sft",
    "maths": "kind: grpo, from: sft, with: [rewards.components.checklist.weight=0]",
    "instructions": (
        "kind: grpo, from: sft, with: [rewards.components.math.weight=0, rewards.components.checklist.gate=null]"
    ),
    "both": "kind: merge, from: sft, inputs: {models: [maths, instructions]}, with: [merge.weights=[0.25, 0.75]]",
    "again": "kind: sft, from: both",
}
LEARNS = [
    "sft.max_steps=4", "sft.learning_rate=1e-2", "grpo.max_steps=2", "grpo.learning_rate=1e-2",
    "rewards.components.length.weight=1", "rewards.components.length.target=1", "rewards.components.length.maximum=64",
]  # fmt: skip


def weights(model: str) -> dict[str, torch.Tensor]:
    """Return the whole weights of the model at ``model``, an adapter merged into the recipe's model."""
    config = compose_recipe([*SMALL, LORA]).model
    return dict(load_for_inference(config, model, torch.float32).state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def mean(share: float, one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: share * one[name] + (1 - share) * other[name] for name in one}


def adapter(artifact: Artifact) -> dict[str, object] | None:
    """Return the configuration of the adapter that a stage hands on; ``None`` where it hands on whole weights."""
    path = artifact.model / "adapter_config.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


@pytest.mark.slow
def test_adapters_go_on_from_stage_to_stage_and_are_merged_with_each_other_and_with_whole_weights(
    tmp_path: Path,
) -> None:
    more = {
        "full": f"kind: sft, from: sft, with: [{FULL}, sft.learning_rate=1e-3]",
        "mixed": "kind: merge, from: sft, inputs: {models: [maths, full]}",
        "evaluate": "of: [again, mixed]",
    }
    made = run_graph(tmp_path, *LEARNS, LORA, graph(**GRAPH, **more))
    base = compose_recipe(SMALL).model.path
    found = {name: weights(str(made[name].model)) for name in made if not name.startswith("evaluate")}
    found["base"] = weights(base)
    handed_on = {name: adapter(made[name]) for name in ("sft", "maths", "instructions", "both", "again")}
    assert all(config is not None and config["base_model_name_or_path"] == base for config in handed_on.values())
    assert handed_on["maths"]["r"] == handed_on["sft"]["r"] == 16
    assert handed_on["both"]["r"] == handed_on["again"]["r"] == 32, "ranks of merged adapters stand side by side"
    for before, after in (("base", "sft"), ("sft", "maths"), ("maths", "instructions"), ("both", "again")):
        assert not same(found[before], found[after]), f"{after} is {before}: nothing was learned"
    assert same(found["both"], mean(0.25, found["maths"], found["instructions"]))
    assert adapter(made["full"]) is None and adapter(made["mixed"]) is None
    assert same(found["mixed"], mean(0.5, found["maths"], found["full"]))
    for name in ("evaluate[again]", "evaluate[mixed]"):
        assert json.loads(made[name].results.read_text(encoding="utf-8"))["metrics"]


@pytest.mark.slow
def test_with_merge_new_adapters_become_whole_weights_and_supervision_goes_on_from_them(tmp_path: Path) -> None:
    made = run_graph(tmp_path, *LEARNS, LORA, MERGE, graph(**GRAPH))
    assert {name: adapter(artifact) is not None for name, artifact in made.items()} == {
        "sft": True, "maths": False, "instructions": False, "both": False, "again": False
    }  # fmt: skip
    found = {name: weights(str(artifact.model)) for name, artifact in made.items()}
    assert not same(found["sft"], found["maths"]) and not same(found["both"], found["again"])
    assert same(found["both"], mean(0.25, found["maths"], found["instructions"]))
