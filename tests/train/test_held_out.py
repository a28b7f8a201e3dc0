"""Evaluation while training: it changes nothing by itself; what it finds may choose the weights and end training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from attempts import differences, logged, prepare, step_by_step, whole
from safetensors.torch import load_file

from adhere.prompts.item import PromptItem
from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.run.graph import order
from adhere.train.run.run import plan_run
from adhere.train.stages.best_checkpoint import Best
from adhere.train.stages.held_out import HeldOut, held_out_slice

LEARNS = ["stages=[grpo]", "grpo.learning_rate=1e-2", "rewards.components.checklist.gate=null", "grpo.max_steps=4"]
ON = ["grpo.held_out.every=2", "grpo.held_out.items=6"]


def rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The evaluations on file, without how long they took."""
    found = [json.loads(line) for line in artifact.held_out.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def item(name: str, source: str = "a") -> PromptItem:
    return PromptItem(name, ({"role": "user", "content": name},), "1", source=source)


def test_the_slice_takes_every_source_in_turn_and_spreads_within_each() -> None:
    many = [item(f"a{i}") for i in range(100)] + [item(f"b{i}", "a+held_out") for i in range(3)]
    found = held_out_slice(many, 9)
    assert [i.id for i in found] == ["a0", "a16", "a33", "a50", "a66", "a83", "b0", "b1", "b2"]
    assert held_out_slice(many, 9) == found and len(held_out_slice(many, 500)) == 103
    assert len({i.id for i in held_out_slice(many, 64)}) == 64


def test_evaluations_decide_on_the_checkpoint_itself_and_rollouts_on_the_way_to_it() -> None:
    evaluated, rollouts = Best(2, evaluated=True), Best(2)
    for step, joint in enumerate([0.0, 0.9, 0.2, 0.5], start=1):
        for best in (evaluated, rollouts):
            best.observe({"joint": joint})
            best.compare(step, 4)
    assert evaluated.found == {"by": "joint", "value": 0.9, "step": 2}
    assert rollouts.found == {"by": "joint", "value": 0.45, "step": 2}
    by_hacc = Best(1, ("hacc", "joint"), evaluated=True)
    for step, figures in enumerate([{"joint": 0.9}, {"hacc": 0.1, "joint": 0.2}, {"joint": 1.0}], start=1):
        by_hacc.observe(figures)
        by_hacc.compare(step, 3)
    assert by_hacc.found == {"by": "hacc", "value": 0.1, "step": 2}, "a checkpoint without the figure does not win"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["grpo.held_out.stop_when=hacc"], "grpo.held_out.stop_when: nothing is measured while every is null"),
        (["sft.hand_over=best"], "sft.hand_over: best is best on held-out prompts; set sft.held_out.every"),
        (["grpo.monitors.stop_on=[held_out]"], "grpo.monitors.stop_on: 'held_out' needs grpo.held_out.every"),
        (["grpo.held_out.every=5", "data.evaluation=[]", "stages=[grpo]"], "the recipe has no data.evaluation"),
        (["grpo.held_out.every=3", "grpo.hand_over=best"], "50 is not a multiple of grpo.held_out.every"),
        (["grpo.held_out.every=0"], "grpo.held_out.every"),
        (["grpo.held_out.evry=1"], "there is no such key"),
    ],
)
def test_what_cannot_work_is_an_error_before_anything_starts(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        plan_run(["recipe=quickstart", "~arms", *words])


def test_it_changes_a_key_only_where_the_weights_depend_on_it() -> None:
    def key(*words: str) -> str:
        graph = plan_run(["recipe=quickstart", "~arms", *words]).graph
        return next(stage.key for stage in order(graph) if stage.kind == "grpo")

    on = ["grpo.held_out.every=10"]
    best = [*on, "grpo.hand_over=best"]
    assert key(*on) == key() == key(*on, "grpo.held_out.items=8")
    assert len({key(), key("grpo.hand_over=best"), key(*best), key(*best, "grpo.held_out.items=8")}) == 4
    assert key(*best) != key(*best, "data.evaluation_size=20")
    assert key(*on, "grpo.held_out.stop_when=hacc") != key()


def figures(accuracy: list[float | None], hacc: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"id": str(i), "held_out": False, "accuracy": a, "hacc": h, "joint": None, "sacc": h, "tokens": 1,
         "trace": None, "finished": 1.0, "entropy": 0.5}
        for i, (a, h) in enumerate(zip(accuracy, hacc, strict=True))
    ]  # fmt: skip


class Trainer:
    """What the callback needs of a trainer, without a model."""

    def __init__(self) -> None:
        self.best, self.logged, self.accelerator = Best(1, evaluated=True), {}, PartialState()

    def log_figures(self, found: dict[str, float]) -> None:
        self.logged = found


def evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, series: list[list[dict[str, Any]]], *words: str
) -> tuple[HeldOut, list[int], Trainer]:
    """Feed a series of measured rows to the callback; return it, the steps at which it ended training, the trainer."""
    from transformers import TrainerControl, TrainerState

    from adhere.train.config.stage import read_spec

    artifact = prepare(tmp_path, *LEARNS, "grpo.max_steps=100", "grpo.held_out.every=1", *words)
    trainer: Any = Trainer()
    found = HeldOut(trainer, read_spec(artifact.spec), artifact, [item("a"), item("b")], None, 8)  # type: ignore[arg-type]
    state, ended = TrainerState(is_world_process_zero=True, max_steps=100), []
    for step, measured in enumerate(series):
        state.global_step, state.max_steps, control = step, 100, TrainerControl()
        monkeypatch.setattr(found, "_rows", lambda measured=measured: measured)
        found._evaluate(state, control)
        if control.should_training_stop:
            ended.append(step)
    return found, ended, trainer


UP, DOWN, FLAT = [0.0] * 32 + [1.0] * 32, [1.0] * 16 + [0.0] * 48, [0.0, 1.0] * 32
HIGH = [0.0] * 24 + [1.0] * 40
FEW = [1.0] * 31 + [0.0] * 33
HALF = [1.0] * 32 + [0.0] * 32
CASES = {
    "adherence falls while accuracy rises": (UP, HALF, HIGH, DOWN, True),
    "adherence falls with accuracy": (HIGH, HALF, UP, DOWN, False),
    "adherence falls while accuracy stays": (UP, HALF, UP, DOWN, False),
    "both rise": (UP, DOWN, HIGH, HALF, False),
    "a single prompt less is luck": (UP, HALF, HIGH, FEW, False),
    "no answer to check": ([None] * 64, HALF, [None] * 64, DOWN, False),
    "no constraint to check": (UP, [None] * 64, HIGH, [None] * 64, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_alarm_is_for_adherence_lost_while_accuracy_is_gained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[Any, ...]
) -> None:
    accuracy, hacc, later_accuracy, later_hacc, alarmed = case
    series = [figures(accuracy, hacc), *[figures(later_accuracy, later_hacc)] * 2]
    found, _, trainer = evaluations(tmp_path, monkeypatch, series)
    artifact = Artifact(tmp_path / "grpo")
    raised = [json.loads(line) for line in artifact.alarms.read_text().splitlines()] if artifact.alarms.exists() else []
    assert [(alarm["name"], alarm["step"]) for alarm in raised] == ([("held_out", 1)] if alarmed else [])
    assert trainer.logged["alarms/held_out"] == float(alarmed)
    if alarmed:
        assert trainer.logged["held_out/accuracy_change"] == 0.125 and trainer.logged["held_out/hacc_change"] == -0.25
        found.load_state(found.state() | {"alarm": None}, 0)
        assert artifact.alarms.read_text() == "", "a resume before the alarm forgets it"
        with pytest.raises(StageError, match=r"alarm held_out at step 1: .*stop_on"):
            evaluations(tmp_path / "stops", monkeypatch, series, "grpo.monitors.stop_on=[held_out]")


def test_training_ends_when_the_figure_has_stopped_rising(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = ["grpo.held_out.stop_when=hacc", "grpo.held_out.patience=2"]

    def series(*shares: int) -> list[list[dict[str, Any]]]:
        return [figures([1.0] * 8, [1.0] * n + [0.0] * (8 - n)) for n in shares]

    for name, shares, end in (
        ("rises", (1, 2, 3, 4), []),
        ("flat", (3, 3, 3), [2]),
        ("falls and comes back", (3, 2, 4, 3, 4), [4]),
        ("one worse is borne", (1, 3, 2, 4), []),
    ):
        found, ended, _ = evaluations(tmp_path / name, monkeypatch, series(*shares), *stop)
        assert ended[:1] == end and found.ended is bool(end), name


@pytest.mark.slow
def test_training_is_the_same_with_it_and_it_resumes_exactly(tmp_path: Path) -> None:
    off, on, steps = (prepare(tmp_path / name, *LEARNS, *more) for name, more in (("off", []), ("on", ON), ("s", ON)))
    whole(off)
    whole(on)
    found = [line for line in differences(off, on) if "held_out" not in line]
    assert found == [], "an evaluation has changed training"
    assert [row["step"] for row in rows(on)] == [0, 2, 4]
    measured = [row for row in logged(on) if "held_out/hacc" in row]
    assert [row["step"] for row in measured] == [2, 4]
    for name in ("accuracy", "hacc", "joint", "tokens", "entropy", "accuracy_change", "hacc_change"):
        assert f"held_out/{name}" in measured[-1], name
    assert rows(on)[0]["trace"] > 0.0, "of the responses that closed their reasoning"
    assert measured[-1]["held_out/entropy"] > 0.0
    assert step_by_step(steps) == [1, 2, 3]
    assert differences(on, steps) == [] and rows(on) == rows(steps)


@pytest.mark.slow
def test_sft_ends_when_adherence_stops_rising_and_hands_over_the_best(tmp_path: Path) -> None:
    given = [
        "stages=[sft]", "sft.max_steps=6", "sft.learning_rate=0.03", "sft.save_steps=1", "sft.hand_over=best",
        "sft.held_out.every=1", "sft.held_out.items=6", "sft.held_out.stop_when=hacc", "sft.held_out.patience=2",
    ]  # fmt: skip
    one, other = prepare(tmp_path / "one", *given), prepare(tmp_path / "steps", *given)
    whole(one)
    measured = rows(one)
    assert measured[-1]["step"] < 6, "training has not ended early"
    manifest = json.loads((one.path / "manifest.json").read_text())
    assert manifest["steps"] == measured[-1]["step"]
    scores = {row["step"]: row["hacc"] for row in measured if row["step"]}
    best = manifest["best"]
    assert (
        best["by"] == "hacc" and best["value"] == max(scores.values()) and best["step"] == max(scores, key=scores.get)
    )
    short = prepare(tmp_path / "short", *given[:1], *given[2:5], f"sft.max_steps={best['step']}", "sft.hand_over=last")
    whole(short)
    a, b = (load_file(artifact.model / "model.safetensors") for artifact in (one, short))
    assert all(torch.equal(a[name], b[name]) for name in a)
    step_by_step(other)
    assert differences(one, other) == [] and rows(other) == measured
