"""Drift alarms: quiet on steady figures and recorded healthy runs, raised by constructed drifts and real collapses."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from adhere.train.config.monitors import MonitorsConfig
from adhere.train.stages.drift import CHECKS, Alarm, alarms
from adhere.train.stages.rollout_stats import masked_shares

RECORDED = Path(__file__).parents[1] / "data" / "monitors"
STEADY = {
    "length": 50.0,
    "repetition": 0.02,
    "distinct": 0.4,
    "compression": 0.3,
    "accuracy": 0.85,
    "hacc": 0.6,
    "disagreement": 0.1,
    "zero_spread": 0.2,
    "clipped": 0.02,
    "probe_like": 0.0,
}


def history(after: dict[str, float], steps: int = 30, noise: float = 0.02) -> list[dict[str, float]]:
    """Return ten steady generations, then a slide to ``after``."""
    rng = random.Random(0)
    rows = []
    for step in range(steps):
        part = min(1.0, max(0, step - 10) / 10)
        row = {name: value + part * (after.get(name, value) - value) for name, value in STEADY.items()}
        rows.append({"step": step} | {name: value * (1 + rng.gauss(0, noise)) for name, value in row.items()})
    return rows


def raised(rows: list[dict[str, float]], config: MonitorsConfig | None = None) -> dict[str, Alarm]:
    """Return the first alarm of each kind over a whole run."""
    found: dict[str, Alarm] = {}
    for end in range(1, len(rows) + 1):
        for alarm in alarms(rows[:end], config or MonitorsConfig()):
            found.setdefault(alarm.name, alarm)
    return found


def recorded(name: str) -> list[dict[str, float]]:
    lines = (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: math.nan if v is None else v for k, v in json.loads(line).items()} for line in lines]


def test_steady_figures_raise_nothing() -> None:
    assert raised(history({})) == {}


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("length", {"length": 90.0}),
        ("length", {"length": 8.0}),
        ("repetition", {"repetition": 0.5}),
        ("diversity", {"distinct": 0.05}),
        ("diversity", {"compression": 0.1}),
        ("trade", {"accuracy": 0.66, "hacc": 0.9}),
        ("accuracy", {"accuracy": 0.4, "hacc": 0.5}),
        ("judge", {"disagreement": 0.5}),
        ("zero_spread", {"zero_spread": 0.9}),
        ("clipped", {"clipped": 0.6}),
        ("probe_like", {"probe_like": 0.3}),
    ],
)
def test_a_constructed_drift_raises_its_own_alarm_alone(name: str, after: dict[str, float]) -> None:
    found = raised(history(after))
    assert set(found) == {name}
    assert found[name].step > 10
    assert "→" in found[name].text


def test_every_monitor_has_a_drift_above_or_is_told_by_an_audit() -> None:
    marks: Any = test_a_constructed_drift_raises_its_own_alarm_alone
    (mark,) = marks.pytestmark
    assert {name for name, _ in mark.args[1]} == set(CHECKS)


def test_learning_to_obey_at_equal_accuracy_is_no_drift() -> None:
    assert raised(history({"hacc": 0.95, "zero_spread": 0.45, "length": 58.0})) == {}


def test_figures_that_nothing_decides_raise_nothing() -> None:
    rows = [row | dict.fromkeys(("accuracy", "hacc", "disagreement"), math.nan) for row in history({})]
    assert raised(rows) == {}


def test_nothing_is_said_before_a_reference_and_a_window() -> None:
    rows = history({"clipped": 1.0})
    assert alarms(rows[:14], MonitorsConfig()) == []
    assert raised(rows, MonitorsConfig(window=28)) == {}


@pytest.mark.parametrize("name", ["healthy", "healthy_math_only"])
def test_recorded_healthy_runs_raise_nothing(name: str) -> None:
    assert raised(recorded(name)) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("traded", {"trade", "accuracy"}),
        ("forgetting", {"accuracy"}),
        ("rambling", {"clipped", "length", "accuracy", "zero_spread"}),
    ],
)
def test_recorded_collapses_raise_theirs_before_half_of_the_run_is_over(name: str, expected: set[str]) -> None:
    found = raised(recorded(name))
    assert set(found) == expected
    assert min(alarm.step for alarm in found.values()) <= 30


def test_long_rollouts_that_are_left_out_more_often_raise_an_alarm() -> None:
    """Not where all lengths are left out alike, nor where nothing corrects the engine's probabilities."""

    def rows(short: float, long: float) -> list[dict[str, float]]:
        return [row | {"masked_short": short, "masked_long": long} for row in history({}, steps=12)]

    assert raised(rows(0.05, 0.3))["masked"].value == pytest.approx(0.25)
    assert raised(rows(0.3, 0.35)) == raised(rows(0.3, 0.0)) == raised(rows(math.nan, 0.5)) == {}
    assert raised(rows(0.05, 0.3)[:9]) == {}


def test_the_share_left_out_is_told_by_length() -> None:
    assert masked_shares([10, 20, 30, 40], [0.0, 0.5, 1.0, 0.5]) == {"masked_short": 0.25, "masked_long": 0.75}
    alike = masked_shares([7, 7], [1.0, 0.0])
    assert alike["masked_short"] == 0.5 and math.isnan(alike["masked_long"])
