"""What ``adhere report`` writes for runs, ablations, stages and runs that are not finished."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import report_run
from report_run import PROMPTS, STEPS, write_run

from evaluation.report.chart import Chart, Panel, Series
from evaluation.report.charts import build_charts
from evaluation.report.collect import collect
from evaluation.report.pack import NO_TEXT, choose, pack
from evaluation.report.rollouts import EVALUATION, read_rollouts
from evaluation.report.static import latex
from evaluation.report.summary import differences, headline
from evaluation.report.write import write_report
from rewards.errors import ConfigError
from train.cli import main

ROLLOUTS = 2 * (STEPS * 16 + PROMPTS)
CHARTS = {"pareto", "rates", "components", "zero_spread", "running", "constraints", "crossed", "reasoning"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs"))


def test_the_command_writes_a_page_and_every_figure_in_three_forms(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run)]) == 0
    assert f"{ROLLOUTS} rollouts" in capsys.readouterr().out
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page and "http-equiv" in page
    figures = run / "report" / "figures"
    assert {path.name for path in figures.iterdir()} == {f"{c}.{e}" for c in CHARTS for e in ("png", "csv", "tex")}
    with (figures / "pareto.csv").open(encoding="utf-8") as file:
        rows = {row["series"]: row for row in csv.DictReader(file)}
    assert float(rows["composite"]["value"]) == pytest.approx(36 / 40)
    assert (figures / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_responses_too_few_for_a_bin_leave_its_figure_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_run, "PROMPTS", 8)
    run = write_run(tmp_path)
    assert main(["report", str(run)]) == 0
    found = {path.stem for path in (run / "report" / "figures").iterdir()}
    assert "pareto" in found
    assert "reasoning" not in found


def test_the_verdict_names_the_better_arm_with_its_interval(run: Path) -> None:
    data = collect(run)
    found = differences(data)
    assert [(d.group, d.reference) for d in found] == [("composite", "math_only")]
    assert found[0].estimates["hacc"].mean == pytest.approx(26 / 40)
    assert headline(data, found).startswith("composite is better than math_only on joint by 50.0 points [")
    assert headline(data, found).endswith("at no measurable loss of accuracy.")


def test_an_ablation_groups_the_seeds_of_an_arm(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_run(tmp_path / "sweep", name=f"seed{seed}", seed=seed)
    data = collect(tmp_path / "sweep")
    assert data.groups == ["math_only", "composite"] and data.reference == "math_only"
    assert [arm.name for arm in data.arms if arm.group == "composite"] == [f"composite · seed {s}" for s in (0, 1, 2)]
    (difference,) = differences(data)
    assert difference.estimates["hacc"].mean == pytest.approx((26 + 25 + 24) / 3 / 40)
    rates = next(chart for chart in build_charts(data, read_rollouts(data)) if chart.name == "rates")
    assert [series.name for series in rates.panels[0].series] == ["math_only", "composite"]
    assert rates.panels[2].series[1].low != rates.panels[2].series[1].high


def test_the_points_of_one_ablation_are_groups_of_their_seeds(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    points = {arm: {"point": "weights", "seed": seed} for seed, arm in enumerate(("math_only", "composite"))}
    (run / "plan.json").write_text(json.dumps({**plan, "points": points}), encoding="utf-8")
    data = collect(run)
    assert [(arm.name, arm.group) for arm in data.arms] == [(f"weights · seed {s}", "weights") for s in (0, 1)]
    assert [(e.name, e.seed) for e in data.evaluated] == [("weights · seed 0", 0), ("weights · seed 1", 1)]
    assert differences(data) == []
    assert headline(data, []).startswith("Only one arm")


def test_an_unfinished_run_says_what_is_missing(tmp_path: Path) -> None:
    run = write_run(tmp_path, evaluated=False)
    (grpo,) = tmp_path.glob("artifacts/grpo-0composite*")
    (grpo / "DONE").unlink()
    with (grpo / "metrics.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"step": 5, "rates/jo\n{"step": 7, "half a li')
    (failed,) = tmp_path.glob("artifacts/grpo-0math_only*")
    (failed / "DONE").unlink()
    (failed / "FAILED").write_text('{"message": "the judge did not answer"}', encoding="utf-8")
    report = write_report(run)
    assert "grpo[math_only] failed: the judge did not answer" in report.data.missing
    assert any(line.startswith("grpo[composite] is not done") for line in report.data.missing)
    assert any(line.startswith("evaluate[composite] is not done (not started)") for line in report.data.missing)
    assert "1 lines of the logs of composite cannot be read and are left out" in report.data.missing
    assert "Nothing has been evaluated yet" in report.page.read_text(encoding="utf-8")


def test_one_stage_alone_has_a_report(run: Path, tmp_path: Path) -> None:
    (grpo,) = run.parent.glob("artifacts/grpo-0composite*")
    report = write_report(grpo, tmp_path / "out")
    assert report.rollouts == STEPS * 16
    assert "No evaluation has finished: there is no table, no Pareto plot and no verdict yet" in report.data.missing


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="is no run"):
        collect(tmp_path)
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_texts_beyond_the_limit_are_left_out_in_whole_groups_and_figures_are_not(run: Path) -> None:
    table = read_rollouts(collect(run))
    assert len(choose(table, 10**9)) == len(table) == ROLLOUTS
    kept = choose(table, 40_000)
    columns = table.columns
    assert set((columns["phase"] == EVALUATION).nonzero()[0]) <= set(kept.tolist())
    training = [row for row in kept if columns["phase"][row] != EVALUATION]
    assert 0 < len(training) < STEPS * 32 and len(training) % 4 == 0
    packed = pack(table, 40_000)
    assert packed.index["rows"] == ROLLOUTS and packed.index["with_text"] == len(kept) < NO_TEXT


def test_a_copied_run_is_read_through_its_links(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "toy"
    shutil.copytree(run, copy)
    (copy / "stages").mkdir()
    for planned in run.parent.glob("artifacts/*"):
        kind, _, key = planned.name.partition("-")
        arm = "composite" if "composite" in key else "math_only"
        (copy / "stages" / f"{kind}-{arm}").symlink_to(planned)
    assert len(collect(copy).evaluated) == 2


def test_latex_writes_out_what_it_would_read_as_a_command() -> None:
    series = Series("a_b & 50%", [0.5], [0.25], 0, [0.2], [0.3], [0.4], [0.6])
    chart = Chart("p", "Cost_of {x}", "100 %", "", "points", "accuracy", "HAcc", [Panel("", [series])])
    text = latex(chart)
    assert r"Cost\_of \{x\}. 100 \%" in text
    assert r"a\_b \& 50\% & 50.0 [40.0, 60.0] & 25.0 [20.0, 30.0] \\" in text
