"""Pairs by the composite reward, and DPO on them: TRL's own numbers, an exact resume, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, step_by_step, whole
from safetensors.torch import load_file
from tiny_run import ONE_ARM, SMALL, adhere, stage

from adhere.records.artifact import PAIRS, Artifact
from adhere.records.objects import write_yaml
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.stage import StageSpec
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run

GRAPH = "stages={sft: {}, pairs: {from: sft}, dpo: {from: sft, inputs: {pairs: pairs}}, evaluate: {of: [sft, dpo]}}"
WORDS = [
    "pairs.prompts=24", "pairs.samples=4", "pairs.temperature=1.0", "pairs.max_completion_length=64", "pairs.keep=0.5",
    "rewards.components.math.weight=0", "rewards.components.checklist.gate=null",
    "dpo.max_steps=4", "dpo.per_device_batch_size=2", "dpo.learning_rate=1e-4", "dpo.save_steps=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dpo")
    adhere(root, *ONE_ARM, GRAPH, *WORDS)
    return root


def prepared(root: Path, trained: Path, pairs: Path | None = None) -> Artifact:
    """Return a DPO stage, ready to run, on the SFT model of ``trained`` and the pairs in the folder ``pairs``."""
    run = plan_run([*SMALL, *ONE_ARM, f"run.root={root}", "tracking.wandb=off", GRAPH, *WORDS])
    (planned,) = (s for s in order(run.graph) if s.kind == "dpo")
    artifact = Artifact(root / "dpo")
    inputs = {"model": stage(trained, "sft"), "pairs.0": pairs or stage(trained, "pairs")}
    spec = StageSpec(
        kind="dpo", label="dpo", key=planned.key, artifact=artifact.path, inputs=inputs, recipe=planned.recipe
    )
    write_yaml(artifact.spec, spec.model_dump(mode="json"))
    return artifact


@pytest.mark.slow
def test_a_pair_prefers_what_the_reward_prefers_and_the_largest_differences_are_kept(trained: Path) -> None:
    pairs = [json.loads(line) for line in (stage(trained, "pairs") / PAIRS).read_text().splitlines()]
    made = json.loads((stage(trained, "pairs") / "manifest.json").read_text())
    assert made["kept"] == len(pairs) == max(1, round(0.5 * made["pairs"]))
    assert all(pair["chosen_reward"] > pair["rejected_reward"] for pair in pairs)
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)
    largest = [max(pair["differences"].values()) for pair in pairs]
    assert largest == sorted(largest, reverse=True) and largest[0] > 0.0
    assert all(key.startswith("checklist/") for pair in pairs for key in pair["differences"])
    results = json.loads(
        (stage(trained, "evaluate[dpo]".replace("[", "-").replace("]", "")) / "results.json").read_text()
    )
    assert "joint" in results["metrics"]


@pytest.mark.slow
def test_training_equals_trls_own_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    # TRL ends every response with the end token, so those that were cut are left out.
    lines = (stage(trained, "pairs") / PAIRS).read_text().splitlines()
    pairs = [pair for pair in map(json.loads, lines) if pair["chosen_finished"] and pair["rejected_finished"]]
    assert len(pairs) >= 2
    (tmp_path / PAIRS).write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    artifact = prepared(tmp_path, trained, tmp_path)
    whole(artifact)
    model = stage(trained, "sft") / "model"
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [
        {
            "prompt": tokenizer.apply_chat_template(pair["messages"], tokenize=False, add_generation_prompt=True),
            "chosen": pair["chosen"],
            "rejected": pair["rejected"],
        }
        for pair in pairs
    ]
    plain = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=DPOConfig(
            output_dir=str(tmp_path / "plain"), max_steps=4, per_device_train_batch_size=2, learning_rate=1e-4,
            lr_scheduler_type="linear", beta=0.1, max_length=None, use_cpu=True, bf16=False, report_to=[], seed=0,
            gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, weight_decay=0.0, max_grad_norm=1.0,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    plain.train()
    ours = load_file(artifact.model / "model.safetensors")
    theirs = plain.model.state_dict()
    assert any(not torch.equal(value, load_file(model / "model.safetensors")[name]) for name, value in ours.items())
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.slow
def test_a_stage_that_stops_at_every_step_ends_with_the_same_weights(trained: Path, tmp_path: Path) -> None:
    one, other = prepared(tmp_path / "one", trained), prepared(tmp_path / "other", trained)
    whole(one)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []


@pytest.mark.slow
def test_damaged_pairs_are_named(trained: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from adhere.train.stages.dpo import dpo_dataset

    tokenizer = AutoTokenizer.from_pretrained(stage(trained, "sft") / "model")
    file = tmp_path / PAIRS
    file.write_text("")
    with pytest.raises(DataError, match="holds no pair"):
        dpo_dataset([file], tokenizer)
    good = (stage(trained, "pairs") / PAIRS).read_text().splitlines()[0]
    file.write_text(f"{good}\n{{broken\n{good}\n")
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: is damaged"):
        dpo_dataset([file], tokenizer)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ("{sft: {}, dpo: {from: sft}}", r"dpo.inputs.pairs: dpo takes at least 1 stages, and 0 are named"),
        (
            "{sft: {}, dpo: {from: sft, inputs: {pairs: sft}}}",
            r"dpo.inputs.pairs: 'sft' is of kind sft, which makes no",
        ),
        ("{dpo: {inputs: {pairs: base}}}", r"dpo.inputs.pairs: 'base' is the recipe's model, which makes no"),
        ("{pairs: {}, grpo: {from: pairs}}", r"grpo.from: 'pairs' is of kind pairs, which makes no weights"),
        ("{pairs: {}, dpo: {inputs: {pairs: pears}}}", r"there is no stage 'pears' \(did you mean 'pairs'"),
    ],
)
def test_a_graph_that_joins_what_does_not_fit_is_refused(graph: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_recipe([*SMALL, *ONE_ARM, f"stages={graph}"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pairs.samples=1", "pairs.samples"),
        ("pairs.keep=0", "pairs.keep"),
        ("+dpo.trl.beta=1", "dpo.trl.beta: is set by dpo.beta"),
        ("+dpo.trl.betta=1", "dpo.trl.betta: TRL's config has no such field"),
    ],
)
def test_what_cannot_work_is_refused_while_composing(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_recipe([*SMALL, *ONE_ARM, GRAPH, word])


def test_preflight_is_refused_for_a_dpo_stage_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preflight: no worst-case step is known for a dpo stage"):
        plan_run([*SMALL, *ONE_ARM, GRAPH, f"run.root={tmp_path}", "preflight=true"])


def test_pairs_are_shared_by_dpo_stages_that_differ(tmp_path: Path) -> None:
    graph = GRAPH.replace(
        "evaluate: {of: [sft, dpo]}", "soft: {kind: dpo, from: sft, inputs: {pairs: pairs}, with: ['dpo.beta=0.5']}"
    )
    run = plan_run([*SMALL, *ONE_ARM, graph, f"run.root={tmp_path}"])
    assert [s.kind for s in order(run.graph)] == ["sft", "pairs", "dpo", "dpo"]
    changed = plan_run([*SMALL, *ONE_ARM, graph, f"run.root={tmp_path}", "dpo.beta=0.2"])

    def keys(run: Any) -> dict[str, str]:
        return {s.name: s.key for s in order(run.graph)}

    assert {name for name in keys(run) if keys(run)[name] != keys(changed)[name]} == {"dpo"}
