"""Statistics over arms, seeds and prompts: known cases, coverage on simulated runs, corrections, the front, words."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adhere.evaluation.ablation import (
    Arm,
    Difference,
    Draws,
    analyse,
    differences,
    holm,
    pareto_front,
    read_scores,
    write,
)
from adhere.evaluation.ablation.analysis import MARGIN
from adhere.evaluation.ablation.differences import simultaneous
from adhere.evaluation.ablation.pareto import best_shares
from adhere.evaluation.ablation.power import DISAGREE, resolution
from adhere.evaluation.ablation.resampling import replicate
from adhere.evaluation.ablation.words import CAUTIONS, verdict_sentence
from adhere.evaluation.statistics import Bootstrap
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.compose import compose_recipe

ARMS = ["one", "two", "three"]


def responses(path: Path, correct: np.ndarray, followed: np.ndarray, *, source: str = "sums") -> Path:
    """Write the columns of a ``responses.parquet`` that statistics read; one response a prompt."""
    size = len(correct)
    table = {
        "id": [f"p{i}" for i in range(size)],
        "source": [source if i % 2 else "words" for i in range(size)],
        "twin_of": pa.array([None] * size, type=pa.string()),
        "tokens": [10 + i % 40 for i in range(size)],
        "correct": [{"score": float(x)} for x in correct],
        "hacc": followed.astype(float),
        "sacc": followed.astype(float),
        "joint": (correct * followed).astype(float),
        "verdicts": [[{"id": f"rule:{i % 3}", "score": float(x)}] for i, x in enumerate(followed)],
    }
    pq.write_table(pa.table(table), path)
    return path


def drawn(rng: np.random.Generator, shares: Mapping[str, float], prompts: int = 150, seeds: int = 3) -> dict[str, Any]:
    base = rng.random(prompts)
    return {name: (rng.random((seeds, prompts)) * 0.5 + base * 0.5 < share) for name, share in shares.items()}


# Correction for many arms ---------------------------------------------------------------------------------------


def test_holm_s_table_by_hand() -> None:
    """Four p-values: 0.005·4, 0.01·3, then 0.03·2 = 0.06, which 0.04·1 may not go below."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.2]) == pytest.approx([0.2]) and len(holm([])) == 0


def test_simultaneous_intervals_hold_together() -> None:
    """Of 20 independent normal figures, the largest deviation in its own scale is below 3.02 with 95 %."""
    deviations = np.random.default_rng(0).standard_normal((20_000, 20)) * np.linspace(0.1, 10.0, 20)
    half = simultaneous(deviations, 0.95)
    assert half / np.linspace(0.1, 10.0, 20) == pytest.approx(np.full(20, 3.02), abs=0.12)
    assert (np.abs(deviations) <= half).all(axis=1).mean() == pytest.approx(0.95, abs=0.005)


# Coverage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "between"), [(1, 0.0), (3, 0.0), (3, 0.05), (5, 0.02)])
def test_the_interval_of_a_known_difference_covers_it(seeds: int, between: float) -> None:
    """Prompts differ, arms differ by prompt, runs of one arm differ by ``between``, responses are noise."""
    hits, trials, prompts, truth = 0, 150, 60, 0.1
    rng = np.random.default_rng(7)
    for trial in range(trials):
        base, by_prompt = rng.normal(0.4, 0.3, prompts), rng.normal(0.0, 0.1, prompts)
        values = rng.normal(base, 0.3, (2, seeds, prompts)) + rng.normal(0.0, between, (2, seeds, 1))
        values[1] += truth + by_prompt
        found = replicate(values, Draws.make(2, prompts, Bootstrap(300, seed=trial)), base=0)
        low, high = np.quantile(found.draws[:, 1], [0.025, 0.975])
        hits += low <= truth <= high
    assert 0.89 <= hits / trials <= 0.995


def test_resampling_seeds_alone_would_have_been_too_narrow() -> None:
    """Three seeds 0, 3 and 6 points apart in all else equal arms: t with 2 degrees of freedom, 4.30 · s/√3."""
    values = np.zeros((2, 3, 50))
    values[1] += np.array([0.0, 0.03, 0.06])[:, None]
    found = replicate(values, Draws.make(2, 50, Bootstrap(20_000, seed=0)), base=0)
    low, high = np.quantile(found.draws[:, 1], [0.025, 0.975])
    assert (high - low) / 2 == pytest.approx(4.30 * 0.03 / np.sqrt(3), rel=0.35)
    assert (high - low) / 2 > 1.96 * 0.03 / np.sqrt(3)


# Differences ----------------------------------------------------------------------------------------------------


def test_pairing_takes_the_prompts_out_and_missing_scores_are_left_out() -> None:
    rng = np.random.default_rng(3)
    hard = (rng.random(200) < 0.5).astype(float)
    values = np.stack([hard, hard, hard])[:, None, :].copy()
    values[1, 0, :20] = 0.0
    values[2, 0, 50:] = np.nan
    two, three = differences(ARMS, values, "one", Draws.make(3, 200, Bootstrap(2000, seed=0)))
    assert two.mean == pytest.approx(-hard[:20].sum() / 200) and two.sign == -1
    assert two.high_all is not None and two.high_all < 0.0 and two.half < 0.06
    assert (two.prompts, three.prompts, two.family, two.runs) == (200, 50, 2, 1)
    assert three.mean == 0.0 and three.p == 1.0


def test_arms_that_agree_on_every_prompt_are_not_certainly_equal() -> None:
    values = np.ones((2, 1, 50))
    (found,) = differences(ARMS[:2], values, "one", Draws.make(2, 50, Bootstrap(500, seed=0)))
    assert found.mean == 0.0 and found.sign == 0
    assert found.high == pytest.approx(0.0711, abs=1e-3) and found.low == -found.high


def test_an_arm_without_a_score_has_no_difference() -> None:
    values = np.ones((2, 1, 20))
    values[1] = np.nan
    (found,) = differences(ARMS[:2], values, "one", Draws.make(2, 20, Bootstrap(100, seed=0)))
    assert (found.mean, found.p_holm, found.prompts) == (None, None, 0)


# The front ------------------------------------------------------------------------------------------------------


def test_the_front_and_how_sure_it_is() -> None:
    rng = np.random.default_rng(0)
    x = (rng.random((4, 1, 300)) < np.array([0.9, 0.5, 0.5, 0.7])[:, None, None]).astype(float)
    y = (rng.random((4, 1, 300)) < np.array([0.2, 0.9, 0.3, 0.7])[:, None, None]).astype(float)
    found = pareto_front([*ARMS, "four"], x, y, Draws.make(4, 300, Bootstrap(1000, seed=0)))
    assert [arm.on_front for arm in found] == [True, True, False, True]
    assert found[2].support < 0.01 and all(found[i].support > 0.99 for i in (0, 1, 3))
    same = pareto_front(ARMS[:2], x[:2] * 0 + 1.0, y[:2] * 0 + 1.0, Draws.make(2, 300, Bootstrap(100, seed=0)))
    assert all(arm.on_front and arm.support == 1.0 for arm in same)


@pytest.mark.filterwarnings("error")
def test_the_best_of_what_nobody_has_is_nobody() -> None:
    values = np.full((3, 2, 20), np.nan)
    draws = Draws.make(3, 20, Bootstrap(100, seed=0))
    assert best_shares(values, draws).tolist() == [0.0, 0.0, 0.0]
    values[1], values[2] = 0.5, 0.5  # a tie is shared, and the arm without the figure has no part in it
    assert best_shares(values, draws).tolist() == [0.0, 0.5, 0.5]


# From files to words --------------------------------------------------------------------------------------------


def written(folder: Path, arms: Mapping[str, tuple[float, float]], seeds: int = 3) -> list[Arm]:
    rng = np.random.default_rng(5)
    correct = drawn(rng, {name: accuracy for name, (accuracy, _) in arms.items()}, seeds=seeds)
    followed = drawn(rng, {name: hacc for name, (_, hacc) in arms.items()}, seeds=seeds)
    return [
        Arm(n, {s: responses(folder / f"{n}-{s}.parquet", correct[n][s], followed[n][s]) for s in range(seeds)})
        for n in arms
    ]


def test_verdicts_claim_what_intervals_show(tmp_path: Path) -> None:
    arms = written(tmp_path, {"math": (0.6, 0.3), "both": (0.6, 0.8), "same": (0.6, 0.3), "cheap": (0.3, 0.3)})
    found = analyse(arms, bootstrap=Bootstrap(resamples=2000))
    both, same, cheap, front, best = found.verdicts
    assert both.startswith("both is better than math on joint by ")
    assert "; a loss of accuracy of 2 points or more is not ruled out (" in both and "one seed" not in both
    assert same.startswith("same cannot be told apart from math on joint (") and "nor on accuracy (" in same
    assert cheap.startswith("cheap is worse than math on joint by ") and "and on accuracy by " in cheap
    assert front.startswith("on the front of accuracy and HAcc: ") and "both (" in front
    assert best == "best on joint, by share of resamples: both (100%)"
    assert found.differences["joint"][0].runs == 3


CLAIMS = re.compile(r"\b(better|worse|best|measurable|cannot be told apart)\b")


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize(
    "second", [(0.6, 0.8), (0.6, 0.3), (0.3, 0.1), (0.9, 0.1), (0.2, 0.9)], ids=["up", "same", "down", "trade", "edart"]
)
def test_only_several_seeds_are_ground_for_a_claim(tmp_path: Path, second: tuple[float, float], seeds: int) -> None:
    arms = written(tmp_path, {"math": (0.6, 0.3), "both": second}, seeds=seeds)
    found = analyse(arms, bootstrap=Bootstrap(resamples=500))
    text = write(tmp_path / "out", found)[2].read_text()
    if seeds == 1:
        # The figures stand there, and no word of which is ahead, in no sentence.
        assert not CLAIMS.search(" ".join(found.verdicts))
        assert re.match(r"both − math on these prompts: joint [+-]\d+\.\d ± ", found.verdicts[0])
        assert found.verdicts[0].endswith("one seed only: the interval does not hold the variation between runs")
        assert found.verdicts[1].startswith("on the front of accuracy and HAcc of these runs: ")
        assert "One seed only" in text and found.to_dict()["not_less_accurate"] == {"both": None}
        return
    assert CLAIMS.search(found.verdicts[0])
    assert found.verdicts[0].endswith(CAUTIONS[2]) == (seeds == 2) == ("Two seeds only" in text)


def test_an_arm_that_lost_its_other_seeds_is_not_claimed_to_be_better(tmp_path: Path) -> None:
    math, both = written(tmp_path, {"math": (0.6, 0.3), "both": (0.6, 0.8)})
    apart = Arm("both", {5: both.responses[0], 6: both.responses[1], 0: both.responses[2]})
    for lost in (Arm("both", {0: both.responses[0]}), apart):
        found = analyse([math, lost], bootstrap=Bootstrap(resamples=500))
        assert found.differences["joint"][0].runs == 1 and "better" not in found.verdicts[0]


def test_runs_that_score_alike_are_still_runs(tmp_path: Path) -> None:
    every, none = np.ones(60), np.zeros(60)
    paths = {
        (n, s): responses(tmp_path / f"{n}{s}.parquet", every, every if n else none) for n in (0, 1) for s in (0, 1, 2)
    }
    arms = [Arm(name, {s: paths[n, s] for s in (0, 1, 2)}) for n, name in enumerate(("one", "two"))]
    found = analyse(arms, bootstrap=Bootstrap(resamples=500))
    assert [arm["runs"] for arm in found.to_dict()["arms"].values()] == [3, 3]
    assert found.differences["joint"][0].runs == 3 and found.verdicts[0].startswith("two is better than one")
    # One evaluation under three seeds, by another path to it too, is one run.
    link = tmp_path / "link.parquet"
    link.symlink_to(paths[1, 0])
    found = analyse(
        [arms[0], Arm("two", {0: paths[1, 0], 1: link, 2: paths[1, 0]})], bootstrap=Bootstrap(resamples=500)
    )
    assert found.to_dict()["arms"]["two"]["runs"] == 1


def difference(low: float, high: float, *, runs: int = 3) -> Difference:
    ends = {"mean": (low + high) / 2, "low": low, "high": high, "low_all": low, "high_all": high}
    return Difference("new", "old", **ends, p=0.1, p_holm=0.1, prompts=100, runs=runs, family=1)


@pytest.mark.parametrize(
    ("low", "high", "margin", "said"),
    [
        (-0.019, 0.01, 2.0, " at no measurable loss of accuracy, with a margin of 2 points ("),
        (-0.021, 0.01, 2.0, "; a loss of accuracy of 2 points or more is not ruled out ("),
        (-0.02, 0.01, 2.0, "; a loss of accuracy of 2 points or more is not ruled out ("),
        (-0.021, 0.01, 2.5, " at no measurable loss of accuracy, with a margin of 2.5 points ("),
        (-0.3, 0.3, 2.0, "; a loss of accuracy of 2 points or more is not ruled out ("),
        (-0.015, -0.005, 2.0, " at a loss of accuracy of 1.0 ± 0.5 points, within the margin of 2"),
        (-0.055, -0.005, 2.0, " at a loss of accuracy of 3.0 ± 2.5 points"),
        (0.01, 0.03, 2.0, " and on accuracy by 2.0 ± 1.0 points"),
    ],
)
def test_no_measurable_loss_is_a_statement_with_a_margin(low: float, high: float, margin: float, said: str) -> None:
    sentence = verdict_sentence(difference(0.1, 0.2), difference(low, high), margin)
    assert sentence.startswith("new is better than old on joint by 15.0 ± 5.0 points")
    assert said in sentence and ("within" in sentence) == ("within" in said)


def test_the_margin_is_the_recipe_s(tmp_path: Path) -> None:
    assert compose_recipe([]).ablation.margin == MARGIN == 2.0
    for wrong in ("0", "-1", "101", "nan"):
        with pytest.raises(ConfigError, match=r"ablation\.margin: (Input should|.*finite)"):
            compose_recipe([f"ablation.margin={wrong}"])
    arms = written(tmp_path, {"math": (0.6, 0.3), "both": (0.6, 0.8)})
    wide = analyse(arms, bootstrap=Bootstrap(resamples=500), margin=20.0)
    assert wide.to_dict()["not_less_accurate"] == {"both": True} and "a margin of 20 points (" in wide.verdicts[0]


def test_a_model_that_all_seeds_share_has_no_seeds_of_its_own(tmp_path: Path) -> None:
    arms = written(tmp_path, {"both": (0.6, 0.8), "sft": (0.6, 0.3)})
    shared = Arm("sft", {None: arms[1].responses[0]})
    found = analyse([shared, arms[0]], bootstrap=Bootstrap(resamples=500))
    assert found.differences["joint"][0].runs == 3 and "one seed" not in found.verdicts[0]
    assert found.to_dict()["arms"]["sft"]["runs"] == 1


def test_parts_of_the_prompts_and_files(tmp_path: Path) -> None:
    found = analyse(written(tmp_path, {"math": (0.6, 0.3), "both": (0.6, 0.8)}), bootstrap=Bootstrap(resamples=500))
    parts = {(part.kind, part.name): part for part in found.slices}
    assert {name for kind, name in parts if kind == "source"} == {"sums", "words"}
    assert {name for kind, name in parts if kind == "constraint"} == {"rule:0", "rule:1", "rule:2"}
    assert sum(part.prompts for (kind, _), part in parts.items() if kind == "length") == 150
    assert all(part.differences[0].sign == 1 for (kind, _), part in parts.items() if kind == "constraint")
    assert parts["constraint", "rule:0"].differences[0].family == 3
    paths = {path.name: path for path in write(tmp_path / "out", found)}
    rows = list(csv.DictReader(paths["ablation.csv"].open()))
    assert len(rows) == 4 + len(parts) and {row["metric"] for row in rows} >= {"joint", "met"}
    assert json.loads(paths["ablation.json"].read_text())["verdicts"] == list(found.verdicts)
    assert "| both | 3 |" in paths["ablation.md"].read_text()


def test_the_means_are_those_of_the_responses(tmp_path: Path) -> None:
    arms = written(tmp_path, {"math": (0.6, 0.3), "both": (0.6, 0.8)})
    table = read_scores(arms)
    expected = np.mean([pq.read_table(path)["joint"].to_numpy() for path in arms[1].responses.values()])
    found = replicate(table.values["joint"], Draws.make(2, 150, Bootstrap(200, seed=0)))
    assert found.means[1] == pytest.approx(expected)
    assert found.draws[:, 1].mean() == pytest.approx(expected, abs=0.02)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    arms = written(tmp_path, {"math": (0.6, 0.3), "both": (0.6, 0.8)}, seeds=1)
    with pytest.raises(ConfigError, match="there is no arm 'maths'; there are math, both"):
        analyse(arms, "maths")
    with pytest.raises(DataError, match="two arms are named 'math'"):
        read_scores([arms[0], arms[0]])
    with pytest.raises(DataError, match="arm 'lost' has no evaluation"):
        read_scores([Arm("lost", {})])
    with pytest.raises(DataError, match=r"gone\.parquet: no such file"):
        read_scores([Arm("gone", {0: tmp_path / "gone.parquet"})])
    other = tmp_path / "other.parquet"
    table = pq.read_table(arms[0].responses[0])
    pq.write_table(table.set_column(0, "id", pa.array([f"q{i}" for i in range(len(table))])), other)
    with pytest.raises(DataError, match="no prompt is in the evaluations of all arms"):
        read_scores([arms[0], Arm("other", {0: other})])


def test_an_arm_that_is_right_everywhere_is_not_claimed_to_be_certain() -> None:
    values = np.stack([np.ones((1, 20)), np.zeros((1, 20))])
    draws = Draws.make(2, 20, Bootstrap(200))
    always, never = pareto_front(ARMS[:2], values, values, draws)
    assert (always.x_low, always.x_high) == (pytest.approx(1 - never.x_high), 1.0)
    assert never.x_low == 0.0 and 0.1 < never.x_high < 0.2


# Before a run ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "arms", "between"), [(3, 2, 0.01), (3, 4, 0.05), (5, 3, 0.05), (2, 3, 0.01)])
def test_a_difference_as_large_as_the_plan_says_is_found_as_often(seeds: int, arms: int, between: float) -> None:
    """Simulated ablations under the plan's assumptions, through the analysis that a real one gets."""
    prompts, trials = 150, 60
    wanted = resolution(prompts, seeds, arms, between)
    rng, found, wrong = np.random.default_rng(11), 0, 0
    names = [f"arm{i}" for i in range(arms)]
    # A prompt differs between arms (half of what disagrees), and between runs of one arm (the other half).
    own, noise = (np.sqrt(DISAGREE / 2 / 2) for _ in range(2))
    for trial in range(trials):
        values = rng.normal(0.5, 0.3, prompts) + rng.normal(0, own, (arms, 1, prompts))
        values = values + rng.normal(0, noise, (arms, seeds, prompts)) + rng.normal(0, between, (arms, seeds, 1))
        values[-1] += wanted.detectable
        signs = [
            d.sign for d in differences(names, values, "arm0", Draws.make(arms, prompts, Bootstrap(800, seed=trial)))
        ]
        found, wrong = found + (signs[-1] == 1), wrong + any(signs[:-1])
    assert 0.6 <= found / trials <= 0.97
    assert wrong / trials <= 0.15


def test_more_seeds_and_prompts_resolve_more_and_more_arms_less() -> None:
    base = resolution(200, 3, 3, 0.02)
    assert 0.0 < base.half < base.detectable
    for finer in (resolution(400, 3, 3, 0.02), resolution(200, 5, 3, 0.02), resolution(200, 3, 3, 0.01)):
        assert finer.half < base.half and finer.detectable < base.detectable
    assert resolution(200, 2, 2, 0.02).half > 1.5 * resolution(200, 3, 2, 0.02).half
    for seeds, arms, prompts in ((1, 3, 200), (3, 1, 200), (3, 3, 0)):
        with pytest.raises(ValueError, match="needs two seeds, two arms and a prompt"):
            resolution(prompts, seeds, arms, 0.02)
