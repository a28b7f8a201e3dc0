"""Orders and mixtures of SFT and RL: an SFT loss beside GRPO's, and SFT on tokens that a model does not know yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attempts import differences, logged, prepare, step_by_step, whole
from safetensors.torch import load_file

from adhere.prompts.item import PromptItem
from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import ImitationConfig
from adhere.train.model.load import load_tokenizer
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run
from adhere.train.stages.imitation import Imitation, imitation_loss
from adhere.train.stages.token_choice import chosen_tokens

LEARNS = ["stages=[grpo]", "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null", "grpo.temperature=2"]


def weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    (file,) = artifact.model.glob("*model.safetensors")
    return load_file(file)


def imitation(target: str | None = "It is 5.", **given: Any) -> Imitation:
    item = {"messages": ({"role": "user", "content": "2+3?"},), "answer": "5", "target": target}
    items = [PromptItem(str(i), **item) for i in range(9)]  # type: ignore[arg-type]
    if target is not None:
        items = [replace(one, target=f"{target} {one.id}") for one in items]
    return Imitation(
        ImitationConfig(**given), items, load_tokenizer(compose_recipe([]).model, compose_recipe([]).model.path)
    )


@pytest.mark.parametrize(
    ("progress", "until", "expected"),
    [(0.0, None, 0.3), (1.0, None, 0.3), (0.0, 0.5, 0.3), (0.25, 0.5, 0.15), (0.5, 0.5, 0.0), (1.0, 0.5, 0.0)],
)
def test_the_weight_stays_or_falls_to_nothing(progress: float, until: float | None, expected: float) -> None:
    assert imitation(weight=0.3, until=until).weight(progress) == pytest.approx(expected)


def test_a_step_has_targets_of_its_own_which_are_the_same_when_it_is_trained_again() -> None:
    found = imitation(weight=1.0, rows=3)
    one = found.batch(0, 0, 0, 1, "cpu")
    assert one["input_ids"].shape[0] == 3
    counted = one["labels"] != -100
    assert counted.any(1).all() and not counted[:, 0].any(), "prompts are not learned"
    assert all(torch.equal(one[name], found.batch(0, 0, 0, 1, "cpu")[name]) for name in one)
    with pytest.raises(DataError, match="has no SFT target"):
        imitation(None, weight=1.0)


@pytest.mark.parametrize(("ranks", "rows"), [(1, 8), (2, 4), (4, 2), (8, 1)])
def test_a_step_has_the_same_targets_under_any_number_of_ranks(ranks: int, rows: int) -> None:
    def asked(number: int, each: int, step: int) -> list[list[int]]:
        batches = [imitation(weight=1.0, rows=each).batch(0, step, rank, number, "cpu") for rank in range(number)]
        assert [len(batch["input_ids"]) for batch in batches] == [each] * number
        return sorted(row.tolist() for batch in batches for row in batch["input_ids"])

    assert asked(ranks, rows, 3) == asked(1, 8, 3) != asked(ranks, rows, 4)


def test_every_rank_has_targets_where_there_are_fewer_than_ranks() -> None:
    found = imitation(weight=1.0, rows=20)
    assert [len(found.batch(0, 0, rank, 12, "cpu")["input_ids"]) for rank in range(12)] == [9] * 12


def test_the_targets_of_a_step_count_in_the_key_over_all_ranks() -> None:
    def key(rows: int, batch: int, *ranks: str) -> str:
        words = [f"grpo.imitation.rows={rows}", f"grpo.per_device_batch_size={batch}", *ranks]
        (stage,) = order(plan_run(["~arms", "stages=[grpo]", "grpo.imitation.weight=1", *words]).graph)
        return stage.key

    two = ["strategy=ddp", "launcher.device=cpu", "launcher.processes=2"]
    assert key(8, 32) == key(4, 16, *two) != key(8, 16, *two)


def test_the_loss_is_the_mean_over_the_targets_tokens_alone() -> None:
    logits = torch.randn(2, 4, 7)
    labels = torch.tensor([[-100, -100, 3, 1], [-100, 5, -100, -100]])
    batch = {"input_ids": torch.zeros(2, 4, dtype=torch.long), "attention_mask": torch.ones(2, 4), "labels": labels}
    found = imitation_loss(lambda **_: SimpleNamespace(logits=logits), batch)
    log_probs = logits.log_softmax(-1)
    expected = -(log_probs[0, 1, 3] + log_probs[0, 2, 1] + log_probs[1, 0, 5]) / 3
    assert found.item() == pytest.approx(expected.item())


def test_the_tokens_with_the_highest_loss_less_entropy_are_chosen() -> None:
    loss = torch.tensor([[0.1, 2.0, 3.0, 9.0], [1.0, 0.0, 0.5, 0.2]])
    entropy = torch.tensor([[0.0, 2.4, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    kept = chosen_tokens(loss, entropy, mask, 0.6, 1.0)
    assert kept.tolist() == [[True, False, True, False], [True, False, False, False]]
    assert chosen_tokens(loss, entropy, mask, 0.6, 0.0).tolist() == [[False, True, True, False], [True] + [False] * 3]
    assert torch.equal(chosen_tokens(loss, entropy, mask, 1.0, 1.0), mask)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["grpo.imitation.weight=0.1", "grpo.exact_trl=true"], "grpo.imitation.weight: is no part of TRL's loss"),
        (["grpo.imitation.weight=0.1", "strategy=zero2"], "grpo.imitation.weight: a second backward pass"),
        (["sft.token_entropy=0.5"], "sft.token_entropy: has no effect with token_share=1"),
    ],
)
def test_what_cannot_work_is_refused_while_planning(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_run(["~arms", "stages=[sft,grpo]", f"run.root={tmp_path}", *overrides])


def test_the_orders_of_both_stages_are_one_recipe() -> None:
    run = plan_run(["recipe=order"])
    kinds = {stage.name: (stage.kind, stage.source) for stage in order(run.graph) if stage.kind in ("sft", "grpo")}
    keys = {stage.name: stage.key for stage in run.graph.stages.values()}
    assert kinds["sft"] == ("sft", None) and kinds["rl"] == ("grpo", None)
    assert kinds["sft_rl"] == ("grpo", keys["sft"]) and kinds["rl_sft"] == ("sft", keys["rl"])
    assert kinds["mixed"] == ("grpo", keys["sft"])


@pytest.mark.slow
def test_imitation_that_weighs_nothing_is_plain_training_and_alone_it_is_sft(tmp_path: Path) -> None:
    plain, none, some = (
        prepare(tmp_path / name, *LEARNS, *words)
        for name, words in (
            ("plain", []),
            # It falls to 0 within the first thousandth of training: only the very first step has a weight, of 1e-30.
            ("none", ["grpo.imitation.weight=1e-30", "grpo.imitation.until=0.001"]),
            ("some", ["grpo.imitation.weight=1.0", "grpo.imitation.rows=4"]),
        )
    )
    for artifact in (plain, none, some):
        whole(artifact)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(none).values(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(some).values(), strict=True))
    losses = [row["imitation/loss"] for row in logged(some) if "imitation/loss" in row]
    assert losses and min(losses) > 0.0


@pytest.mark.slow
def test_imitation_resumes_exactly(tmp_path: Path) -> None:
    words = [*LEARNS, "grpo.imitation.weight=0.5", "grpo.imitation.until=0.9", "grpo.max_steps=3"]
    one, other = prepare(tmp_path / "whole", *words), prepare(tmp_path / "steps", *words)
    whole(one)
    assert step_by_step(other) == [1, 2]
    assert differences(one, other) == []


@pytest.mark.slow
def test_sft_on_all_tokens_is_plain_sft_and_on_a_share_it_is_another(tmp_path: Path) -> None:
    words = ["stages=[sft]", "sft.learning_rate=1e-3", "sft.max_steps=2"]
    plain, share = prepare(tmp_path / "plain", *words), prepare(tmp_path / "share", *words, "sft.token_share=0.5")
    for artifact in (plain, share):
        whole(artifact)
    assert any(not torch.equal(a, b) for a, b in zip(weights(plain).values(), weights(share).values(), strict=True))
    first = [next(row for row in logged(artifact) if "loss" in row) for artifact in (plain, share)]
    assert first[1]["loss"] > first[0]["loss"], "the chosen half of the tokens is the half with more loss"
