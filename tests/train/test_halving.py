"""Which points of an ablation go on at a rung, and how sure that choice is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adhere.rewards.errors import DataError
from adhere.train.ablation.halving import decide_rung, rung_steps
from adhere.train.config.ablation import HalvingConfig


def curve(folder: Path, name: str, rates: list[float], metric: str = "rates/joint") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"step": i + 1, metric: r}) + "\n" for i, r in enumerate(rates)), "utf-8")
    return path


@pytest.mark.parametrize(
    ("rungs", "total", "steps"), [([0.25, 0.5], 60, [15, 30]), ([0.1, 0.2], 5, [1]), ([0.5], 2, [1]), ([0.9], 1, [])]
)
def test_rungs_are_steps_before_the_end(rungs: list[float], total: int, steps: list[int]) -> None:
    assert rung_steps(HalvingConfig(rungs=rungs), total) == steps


def test_the_better_half_goes_on_by_the_rate_before_the_rung(tmp_path: Path) -> None:
    curves = {
        "early": [curve(tmp_path, "early", [0.9] * 8 + [0.2] * 2)],
        "late": [curve(tmp_path, "late", [0.0] * 8 + [0.8] * 2)],
        "weak": [curve(tmp_path, "weak", [0.1] * 10)],
    }
    rung = decide_rung(HalvingConfig(window=0.1), 10, 20, curves)
    assert rung.kept == ("late", "early")
    assert rung.ended == ("weak",)
    assert rung.rates["late"] == pytest.approx(0.8)
    assert rung.risk == 0.0


def test_seeds_count_alike_however_often_they_logged(tmp_path: Path) -> None:
    curves = {"a": [curve(tmp_path, "a0", [1.0]), curve(tmp_path, "a1", [0.0, 0.0, 0.0])]}
    assert decide_rung(HalvingConfig(window=1.0), 3, 3, curves).rates == {"a": 0.5}


def test_the_risk_is_high_where_points_cannot_be_told_apart(tmp_path: Path) -> None:
    noise = [0.0, 1.0] * 5
    curves = {name: [curve(tmp_path, name, noise)] for name in ("a", "b")}
    assert 0.3 < decide_rung(HalvingConfig(window=1.0), 10, 10, curves).risk < 0.6


def test_steps_after_the_rung_are_not_looked_at(tmp_path: Path) -> None:
    curves = {"a": [curve(tmp_path, "a", [0.5, 0.5, 1.0])], "b": [curve(tmp_path, "b", [0.6, 0.6, 0.0])]}
    assert decide_rung(HalvingConfig(window=1.0), 2, 3, curves).kept == ("b",)


def test_points_without_constraints_are_compared_by_accuracy(tmp_path: Path) -> None:
    curves = {"a": [curve(tmp_path, "a", [0.25], "rates/accuracy")]}
    assert decide_rung(HalvingConfig(window=1.0), 1, 1, curves).rates == {"a": 0.25}


def test_a_point_without_a_rate_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl: holds no rates/joint for steps 2 to 2"):
        decide_rung(HalvingConfig(window=0.1), 2, 10, {"a": [curve(tmp_path, "a", [0.25])]})
