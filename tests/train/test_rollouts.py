"""GRPO's rollouts: noise that belongs to a rollout, whatever draws beside it, and when TRL's own path draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from attempts import prepare, whole
from tiny_run import ONE_ARM, adhere, stage

from adhere.train.stages import generation, grpo_trainer

pytestmark = pytest.mark.slow

ONE_STEP = ["stages=[grpo]", "grpo.max_steps=1", "grpo.max_completion_length=32", "grpo.max_clipped_steps=99"]
DATA = ["data.train_size=8", "grpo.monitors.enabled=false"]


def rollouts(root: Path, *overrides: str, model: Path | None = None) -> list[list[tuple[str, str, int]]]:
    """Train, and return the prompt, the text and the length of every rollout, a list for each file."""
    artifact = prepare(root, *ONE_STEP, *DATA, *overrides, model=model)
    whole(artifact)
    return read(artifact.path)


def read(folder: Path) -> list[list[tuple[str, str, int]]]:
    tables = [pq.read_table(file).to_pylist() for file in sorted((folder / "rollouts").glob("*.parquet"))]
    return [sorted((row["item_id"], row["response"], row["tokens"]) for row in rows) for rows in tables]


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, str, int]]]:
    return rollouts(tmp_path_factory.mktemp("default"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["grpo.per_device_batch_size=4", "grpo.gradient_accumulation=2"],
        ["grpo.gradient_checkpointing=true"],
        ["model.adapter.kind=lora", "model.adapter.rank=2", "model.adapter.dropout=0.5"],
    ],
    ids=["two micro-batches", "gradient checkpointing", "new adapters"],
)
def test_rollouts_do_not_depend_on_how_they_are_trained_on(
    tmp_path: Path, default: list[list[tuple[str, str, int]]], overrides: list[str]
) -> None:
    assert len({text for _, text, _ in default[0]}) > 4
    assert rollouts(tmp_path, *overrides) == default


def test_two_ranks_draw_what_one_does(tmp_path: Path, default: list[list[tuple[str, str, int]]]) -> None:
    two = ["grpo.per_device_batch_size=4", "strategy=ddp", "launcher.processes=2"]
    adhere(tmp_path, *ONE_ARM, *ONE_STEP, *DATA, *two)
    assert read(stage(tmp_path, "grpo")) == default


def test_noise_belongs_to_the_step_the_seed_and_the_stream(
    tmp_path: Path, default: list[list[tuple[str, str, int]]]
) -> None:
    still = ["grpo.learning_rate=1e-12", "data.train_size=2", "grpo.max_steps=2"]
    first, second = rollouts(tmp_path / "passes", *still)
    assert {item for item, _, _ in first} == {item for item, _, _ in second} and first != second
    assert rollouts(tmp_path / "seed", "grpo.seed=1") != default
    assert rollouts(tmp_path / "exact", "grpo.exact_trl=true") != default


@pytest.mark.parametrize(
    ("overrides", "filters"),
    [
        ([], {"top_k": 0, "min_p": None, "temperature": 1.0, "top_p": 1.0}),
        (["+grpo.trl.top_k=3", "grpo.temperature=0.7"], {"top_k": 3, "temperature": 0.7}),
        (["+grpo.trl.min_p=0.3", "grpo.top_p=0.9"], {"min_p": 0.3, "top_p": 0.9}),
        (["+grpo.trl.repetition_penalty=1.2"], None),
        (["+grpo.trl.generation_kwargs={no_repeat_ngram_size: 2}"], None),
        (["+grpo.trl.cache_implementation=dynamic"], None),
        (["grpo.exact_trl=true"], None),
    ],
    ids=str,
)
def test_the_loop_draws_where_it_can_and_trl_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], filters: dict[str, Any] | None
) -> None:
    seen, trained = [], []
    inner, score = generation.decode, grpo_trainer.AdhereGRPOTrainer._calculate_rewards

    def watched(model: Any, prompts: Any, seeds: Any, how: Any, **named: Any) -> Any:
        seen.append((model.training, len(prompts), len(set(seeds)), how))
        return inner(model, prompts, seeds, how, **named)

    def after(trainer: Any, *given: Any, **named: Any) -> Any:
        trained.append(trainer.model.training)
        return score(trainer, *given, **named)

    monkeypatch.setattr(generation, "decode", watched)
    monkeypatch.setattr(grpo_trainer.AdhereGRPOTrainer, "_calculate_rewards", after)
    (rows,) = rollouts(tmp_path, *overrides)
    assert len(rows) == 8 and trained == [True]
    if filters is None:
        assert seen == []
        return
    ((training, count, streams, how),) = seen
    assert (training, count, streams) == (False, 8, 8), "dropout is on, or rollouts share a stream"
    assert how.limit == 32 and {name: getattr(how, name) for name in filters} == filters
