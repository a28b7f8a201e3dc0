"""GRPO's rollouts: noise that belongs to a rollout, whatever draws beside it, and when TRL's own path draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from attempts import differences, prepare, step_by_step, whole
from tiny_run import ONE_ARM, adhere, stage

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.compose import compose_recipe
from adhere.train.stages import grpo_trainer

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
    inner, score = grpo_trainer.decode, grpo_trainer.AdhereGRPOTrainer._calculate_rewards

    def watched(model: Any, prompts: Any, seeds: Any, how: Any, **named: Any) -> Any:
        seen.append((model.training, len(prompts), len(set(seeds)), how))
        return inner(model, prompts, seeds, how, **named)

    def after(trainer: Any, *given: Any, **named: Any) -> Any:
        trained.append(trainer.model.training)
        return score(trainer, *given, **named)

    monkeypatch.setattr(grpo_trainer, "decode", watched)
    monkeypatch.setattr(grpo_trainer.AdhereGRPOTrainer, "_calculate_rewards", after)
    (rows,) = rollouts(tmp_path, *overrides)
    assert len(rows) == 8 and trained == [True]
    if filters is None:
        assert seen == []
        return
    ((training, count, streams, how),) = seen
    assert (training, count, streams) == (False, 8, 8), "dropout is on, or rollouts share a stream"
    assert how.limit == 32 and {name: getattr(how, name) for name in filters} == filters


SIXTEEN = ["grpo.per_device_batch_size=16", "grpo.group_size=2"]
REFILL = [
    "grpo.refill=true", "data.train_size=40", "rewards.components.checklist.gate=null", "grpo.temperature=2",
    "grpo.max_completion_length=48",
]  # fmt: skip


def by_item(artifact: Path) -> list[dict[str, list[dict[str, Any]]]]:
    """The rows of every item of each file."""
    files = []
    for file in sorted((artifact / "rollouts").glob("*.parquet")):
        found: dict[str, list[dict[str, Any]]] = {}
        for row in pq.read_table(file).to_pylist():
            found.setdefault(row["item_id"], []).append(row)
        files.append(found)
    return files


def figures(artifact: Path) -> dict[str, float]:
    """The refill's figures of the first step."""
    row = json.loads((artifact / "metrics.jsonl").read_text().splitlines()[0])
    return {name.removeprefix("refill/"): value for name, value in row.items() if name.startswith("refill/")}


def spread(rows: list[dict[str, Any]]) -> bool:
    return any(abs(row["advantage"]) > 1e-3 for row in rows)


@pytest.fixture(scope="module")
def refilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same step with groups as they come, and with those without spread replaced."""
    folders = []
    for name in ("true", "false"):
        artifact = prepare(tmp_path_factory.mktemp(name), *ONE_STEP, *DATA, *REFILL, f"grpo.refill={name}", *SIXTEEN)
        whole(artifact)
        folders.append(artifact.path)
    return folders[0], folders[1]


def test_groups_without_spread_are_replaced_and_the_others_kept(refilled: tuple[Path, Path]) -> None:
    (after,), (before,) = map(by_item, refilled)
    live = {item: rows for item, rows in before.items() if spread(rows)}
    assert 0 < len(live) < 8, "every group is alike: nothing is shown"
    assert all([r["response"] for r in after[item]] == [r["response"] for r in rows] for item, rows in live.items())
    counted = figures(refilled[0])
    fresh = after.keys() - before.keys()
    assert all(spread(after[item]) for item in fresh) and all(len(rows) == 2 for rows in after.values())
    assert counted["groups_replaced"] == len(fresh) > 0
    assert counted["groups_flat"] == sum(not spread(rows) for rows in after.values())
    assert 8 + len(fresh) <= counted["groups_drawn"] <= 8 + 3 * (8 - len(live))
    thrown = sum(row["tokens"] for item in before.keys() - after.keys() for row in before[item])
    more = counted["groups_drawn"] - 8 - len(fresh)  # drawn, and no better than what they were to replace
    assert thrown <= counted["surplus_tokens"] <= thrown + more * 2 * 48
    assert figures(refilled[1]) == {}


def test_two_ranks_refill_as_one_does(tmp_path: Path, refilled: tuple[Path, Path]) -> None:
    """Groups of 2 over ranks of 7 rollouts: one group lies on both."""
    odd = ["grpo.per_device_batch_size=14", "grpo.group_size=2"]
    one = prepare(tmp_path / "one", *ONE_STEP, *DATA, *REFILL, *odd)
    whole(one)
    two = ["grpo.per_device_batch_size=7", "grpo.group_size=2", "strategy=ddp", "launcher.processes=2"]
    adhere(tmp_path / "two", *ONE_ARM, *ONE_STEP, *DATA, *REFILL, *two)
    assert read(stage(tmp_path / "two", "grpo")) == read(one.path)
    assert figures(stage(tmp_path / "two", "grpo")) == figures(one.path) != {}


def test_a_resolution_above_every_difference_keeps_what_came(tmp_path: Path, refilled: tuple[Path, Path]) -> None:
    artifact = prepare(
        tmp_path, *ONE_STEP, *DATA, *REFILL, *SIXTEEN, "grpo.refill_resolution=9", "grpo.refill_rounds=2"
    )
    whole(artifact)
    assert read(artifact.path) == read(refilled[1])
    counted = figures(artifact.path)
    assert (counted["groups_drawn"], counted["groups_replaced"], counted["groups_flat"]) == (24, 0, 8)
    assert counted["surplus_tokens"] > 16


@pytest.mark.long
def test_a_stopped_stage_refills_as_one_that_never_was(tmp_path: Path) -> None:
    given = ["stages=[grpo]", "grpo.max_steps=3", "grpo.learning_rate=1e-3", *REFILL]
    one, other = (prepare(tmp_path / name, *given) for name in ("whole", "steps"))
    whole(one)
    assert step_by_step(other) == [1, 2]
    assert differences(one, other) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["grpo.exact_trl=true"], r"grpo.refill: works with .* not exact_trl=true"),
        (["grpo.generation=continuous_batching"], r"grpo.refill: works with .* not generation=continuous_batching"),
        (["strategy=fsdp2", "launcher.processes=2"], r"grpo.refill: ranks draw different numbers"),
        (["grpo.refill_rounds=0"], r"grpo.refill_rounds"),
        (["grpo.refill_resolution=-1"], r"grpo.refill_resolution"),
    ],
)
def test_a_refill_that_cannot_work_is_refused_before_anything_starts(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_recipe(["recipe=quickstart", "~arms", "grpo.refill=true", *overrides])


def test_a_refill_needs_the_loop(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"grpo.refill: TRL's own path generates here"):
        rollouts(tmp_path, "grpo.refill=true", "+grpo.trl.repetition_penalty=1.2")
