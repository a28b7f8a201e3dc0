"""The part of the report on benchmarks: suites × models, the plane with its arrows, remedies, diagnostics."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from report_run import write_graph, write_run, write_suites

from adhere.evaluation.report.benchmarks import benchmark_charts, suites_table
from adhere.evaluation.report.chart import Chart
from adhere.evaluation.report.collect import collect
from adhere.evaluation.report.write import write_report
from adhere.rewards.errors import DataError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_suites(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def charts(run: Path) -> dict[str, Chart]:
    return {chart.name: chart for chart in benchmark_charts(collect(run))}


def test_every_model_has_its_leading_figure_on_every_suite(run: Path) -> None:
    head, lines = suites_table(collect(run)) or ([], [])
    assert head == ["model", "words (joint)", "sums (accuracy)"]
    assert [line[0] for line in lines] == ["base", "sft", "math_only", "composite"]
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", value) for line in lines for value in line[1:])
    assert lines[2][2].startswith("90.0 [") and lines[3][1].startswith("80.0 [")


def test_the_chart_of_suites_has_the_same_figures(charts: dict[str, Chart]) -> None:
    (panel,) = charts["suites"].panels
    assert [series.name for series in panel.series] == ["base", "sft", "math_only", "composite"]
    assert list(panel.series[3].y) == pytest.approx([0.8, 0.85])
    assert panel.series[3].low is not None and panel.series[3].low[0] < 0.8


def test_arrows_lead_from_the_base_over_sft_to_each_arm(charts: dict[str, Chart]) -> None:
    panels = {panel.title: panel for panel in charts["plane"].panels}
    assert list(panels) == ["words", "mean over suites"]
    arrows = {((a.x0, a.y0), (a.x1, a.y1)) for a in panels["words"].arrows}
    base, sft, maths, composite = (0.25, 0.5), (0.5, 0.65), (0.9, 0.2), (0.85, 0.8)
    assert arrows == {(base, sft), (sft, maths), (sft, composite)}
    assert [series.name for series in panels["words"].series] == ["base", "sft", "math_only", "composite"]


def test_a_model_that_a_suite_did_not_measure_is_passed_over_by_its_arrow(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run.parent, tmp_path / "copy") / run.name
    plan = json.loads((run / "plan.json").read_text())
    plan["models"] = [model for model in plan["models"] if model["name"] not in ("words: sft", "sums: sft")]
    (run / "plan.json").write_text(json.dumps(plan))
    (plane,) = [chart for chart in benchmark_charts(collect(run)) if chart.name == "plane"]
    assert {(a.x0, a.x1) for a in plane.panels[0].arrows} == {(0.25, 0.9), (0.25, 0.85)}


def test_remedies_have_a_front_and_what_they_cost(charts: dict[str, Chart]) -> None:
    plane, cost = charts["remedies"].panels
    assert {series.name: series.hollow for series in plane.series} == {"front": False, "none": False, "repeat": False}
    assert not cost.x_share and (cost.x_label, cost.y_label) == ("tokens a response", "joint")
    # Both meet more than they answer, so that joint is the accuracy: `repeat` spends more for less.
    assert {series.name: (series.x[0], series.hollow) for series in cost.series} == {
        "none": (40.0, False),
        "repeat": (50.0, True),
    }


def test_diagnostics_are_small_figures_with_both_models(charts: dict[str, Chart]) -> None:
    panels = {panel.title: panel for panel in charts["diagnostics"].panels}
    assert list(panels) == [
        "lift of attention to constraints",
        "HAcc, told something else",
        "answers that stay the same",
    ]
    assert list(panels["answers that stay the same"].series[0].x) == ["early"]
    assert [series.name for series in panels["HAcc, told something else"].series] == [
        "stages/grpo/model",
        "stages/sft/model",
    ]
    assert [panel.title for panel in charts["attention"].panels] == ["reasoning", "answer"]
    assert charts["attention"].panels[1].series[0].y == [1.0, 2.5]


def test_damaged_diagnostics_are_named(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run.parent, tmp_path / "copy") / run.name
    (run / "diagnostics" / "diagnostics.json").write_text('{"model": 3}')
    with pytest.raises(DataError, match=r"diagnostics.json: is not written by adhere diagnose"):
        collect(run)


def test_a_run_without_any_of_it_has_no_such_charts(tmp_path: Path) -> None:
    data = collect(write_run(tmp_path))
    assert benchmark_charts(data) == [] and suites_table(data) is None


def test_a_merged_model_has_an_arrow_from_each_that_it_was_made_of(tmp_path: Path) -> None:
    found = {
        entry.model: entry.parents for entry in collect(write_graph(tmp_path)).evaluated if entry.evaluation == "whole"
    }
    assert found["sft"] == ("base",) and found["maths"] == ("sft",) and found["base"] == ()
    assert found["both"] == ("sft", "maths", "instructions") and found["again"] == ("both",)


@pytest.mark.slow
def test_the_page_and_the_files_hold_them(run: Path, tmp_path: Path) -> None:
    made = write_report(run, tmp_path / "report")
    page = made.page.read_text(encoding="utf-8")
    assert 'href="#benchmarks"' in page and "words (joint)" in page
    for name in ("suites", "plane", "remedies", "diagnostics", "attention"):
        assert page.count(f'id="figure-{name}"') == 1
        assert (tmp_path / "report" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "report" / "figures" / "plane.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["panel"] == "words"]
    assert [(row["series"], row["accuracy"], row["value"]) for row in rows[:1]] == [("base", "0.25", "0.5")]
    assert "booktabs" not in (tmp_path / "report" / "figures" / "suites.tex").read_text()
