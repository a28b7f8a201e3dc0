"""What ``adhere report`` writes for runs, ablations, stages and runs that are not finished."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import report_run
from report_run import PROMPTS, STEPS, write_ablation, write_graph, write_run, write_sft

from adhere.evaluation.report.chart import Chart, Series, Subplot
from adhere.evaluation.report.charts import build_charts
from adhere.evaluation.report.collect import collect
from adhere.evaluation.report.pack import NO_TEXT, choose, pack
from adhere.evaluation.report.rollouts import EVALUATION, read_rollout_table
from adhere.evaluation.report.static import latex
from adhere.evaluation.report.verdict import compare_models, headline, table
from adhere.evaluation.report.write import write_report
from adhere.rewards.errors import ConfigError
from adhere.train.cli import main

ROLLOUTS = 2 * (STEPS * 16 + PROMPTS)
CHARTS = {
    "pareto",
    "rates",
    "components",
    "zero_spread",
    "running",
    "constraints",
    "changes",
    "crossed",
    "reasoning",
    "optimizer",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
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


@pytest.mark.slow
def test_responses_too_few_for_a_bin_leave_its_figure_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_run, "PROMPTS", 8)
    run = write_run(tmp_path)
    assert main(["report", str(run)]) == 0
    found = {path.stem for path in (run / "report" / "figures").iterdir()}
    assert "pareto" in found
    assert "reasoning" not in found


@pytest.mark.slow
def test_the_verdict_names_the_better_arm_with_its_interval(run: Path) -> None:
    data = collect(run)
    found = compare_models(data)
    assert found is not None
    (difference,) = found.differences["hacc"]
    assert (difference.arm, difference.reference) == ("composite", "math_only")
    assert difference.mean == pytest.approx(26 / 40)
    said = headline(data, found)
    assert said.startswith(
        "With one seed no model is claimed to be ahead. The largest difference in joint: composite − "
    )
    assert "joint +50.0 ± " in said and "better" not in said and "measurable" not in said
    assert "one seed only" in write_report(run, run / "again").page.read_text(encoding="utf-8").lower()


def test_the_optimizer_s_curves_are_drawn_and_those_of_sft(tmp_path: Path) -> None:
    data = collect(write_sft(tmp_path, write_run(tmp_path)))
    assert [entry.name for entry in data.taught] == ["sft"] and len(data.trained) == 2
    charts = {chart.name: chart for chart in build_charts(data, read_rollout_table(data), compare_models(data))}
    titles = ["loss", "KL to the reference, nats a token", "gradient norm", "learning rate", "entropy, nats a token"]
    assert [panel.title for panel in charts["optimizer"].panels] == titles
    assert [panel.title for panel in charts["taught"].panels] == [
        "loss",
        "gradient norm",
        "learning rate",
        "token accuracy",
    ]
    loss = {series.name: series for series in charts["optimizer"].panels[0].series}["composite"]
    assert list(loss.y) == pytest.approx([0.02 * (step - 2) for step in range(STEPS)])
    assert len(charts["taught"].panels[0].series[0].x) == 60


def test_several_runs_are_one_report_and_seeds_of_one_recipe_its_seeds(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a", name="first"), write_run(tmp_path / "b", name="second", seed=1)
    alike = collect(first, second)
    assert alike.groups == ["math_only", "composite"] and alike.title == "first · second"
    assert [e.name for e in alike.evaluated if e.group == "composite"] == ["composite · seed 0", "composite · seed 1"]
    (second / "recipe.yaml").write_text("name: toy\nseed: 9\ngrpo: {seed: 3}\n", encoding="utf-8")
    (first / "recipe.yaml").write_text("name: toy\nseed: 8\ngrpo: {seed: 4}\n", encoding="utf-8")
    assert collect(first, second).groups == ["math_only", "composite"]
    (second / "recipe.yaml").write_text("name: toy\ngrpo: {learning_rate: 1.0}\n", encoding="utf-8")
    apart = collect(first, second)
    assert apart.groups == ["first/math_only", "first/composite", "second/math_only", "second/composite"]
    assert {e.group for e in apart.evaluated} == {*apart.groups} and apart.reference == "first/math_only"
    # Runs of one name in two folders are told apart; an evaluation that both have is one.
    third = shutil.copytree(first, tmp_path / "b" / "first")
    shutil.copytree(tmp_path / "a" / "artifacts", tmp_path / "b" / "artifacts", dirs_exist_ok=True)
    assert {e.group for e in collect(first, second, third).evaluated} == {*apart.groups}
    with pytest.raises(ConfigError, match="is named twice; a run does not differ from itself"):
        collect(first, tmp_path / "b" / ".." / "a" / "first")
    with pytest.raises(ConfigError, match="is neither a run"):
        collect(first, tmp_path / "a" / "artifacts")


@pytest.mark.slow
def test_the_command_takes_several_runs_and_serves_their_page_to_this_machine_alone(tmp_path: Path) -> None:
    first, second = write_run(tmp_path, name="first"), write_run(tmp_path, name="second", seed=1)
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    line = [sys.executable, "-u", "-m", "adhere.train.cli", "report", str(first), str(second), "--serve"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = next(line for line in process.stdout if line.startswith("serving "))
        address = said.split()[1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        with urlopen(address) as answer:
            assert b"first \xc2\xb7 second" in answer.read()
        with urlopen(f"{address}figures/pareto.csv") as answer:
            assert b"composite" in answer.read()
        for path in (
            "figures/",
            "..%2fsecret.txt",
            "../../secret.txt",
            "%2e%2e/%2e%2e/secret.txt",
            "figures/../../x",
            "x",
        ):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"{address}{path}")
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(address, headers={"Host": "rebound.example:80"}))
        port = int(address.rsplit(":", 1)[1].strip("/"))
        listening = [
            row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines() if f":{port:04X} 00000000" in row
        ]
        assert listening == [f"0100007F:{port:04X}"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert (tmp_path / "reports" / "first+second" / "report.html").is_file()
    assert not (first / "report").exists()


def test_an_ablation_groups_the_seeds_of_an_arm(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_run(tmp_path / "sweep", name=f"seed{seed}", seed=seed)
    data = collect(tmp_path / "sweep")
    assert data.groups == ["math_only", "composite"] and data.reference == "math_only"
    assert [e.name for e in data.trained if e.group == "composite"] == [f"composite · seed {s}" for s in (0, 1, 2)]
    found = compare_models(data)
    assert found is not None and found.responses.seeds == (0, 1, 2)
    (difference,) = found.differences["hacc"]
    assert difference.mean == pytest.approx((26 + 25 + 24) / 3 / 40) and difference.runs == 3
    assert headline(data, found).startswith("composite is better than math_only on joint by ")
    (tmp_path / "sweep" / "seed0" / "recipe.yaml").write_text("name: toy\nablation: {margin: 50}\n", encoding="utf-8")
    found = compare_models(collect(tmp_path / "sweep"))
    assert found is not None and "no measurable loss of accuracy, with a margin of 50 points" in found.verdicts[0]
    rates = next(chart for chart in build_charts(data, read_rollout_table(data), found) if chart.name == "rates")
    assert [series.name for series in rates.panels[0].series] == ["math_only", "composite"]
    assert rates.panels[2].series[1].low != rates.panels[2].series[1].high


def test_the_points_of_one_ablation_are_groups_of_their_seeds(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    points = {arm: {"point": "weights", "seed": seed} for seed, arm in enumerate(("math_only", "composite"))}
    (run / "plan.json").write_text(json.dumps({**plan, "points": points}), encoding="utf-8")
    data = collect(run)
    assert [(arm.name, arm.group) for arm in data.trained] == [(f"weights · seed {s}", "weights") for s in (0, 1)]
    assert [(e.name, e.seed) for e in data.evaluated] == [("weights · seed 0", 0), ("weights · seed 1", 1)]
    found = compare_models(data)
    assert found is not None and not found.differences["joint"]
    assert headline(data, found).startswith("No two models")


@pytest.mark.slow
def test_an_ablation_has_a_row_a_point_its_seeds_below_and_says_how_it_went(tmp_path: Path) -> None:
    run = write_ablation(tmp_path, {"plain": (34, 8), "gated": (33, 30), "wild": (12, 34), "weak": (10, 8)})
    data = collect(run)
    found = compare_models(data)
    assert found is not None
    rows = {row.name: row for row in table(data, found)}
    assert [row.name for row in rows["gated"].runs] == ["seed 0", "seed 1", "seed 2"]
    assert [row.name for row in rows["wild"].runs] == ["seed 0", "seed 1"]
    assert rows["plain"].reference and rows["plain"].joint is None
    gated = rows["gated"]
    assert gated.joint is not None and gated.joint.sign == 1 and gated.joint.p_holm is not None
    assert gated.front is not None and gated.front.on_front and gated.front.support > 0.5
    assert rows["weak"].note == "ended at step 3 of 6" and rows["weak"].cells[0].mean is None
    assert {stage.state for stage in data.stages if "weak" in stage.label} == {"ended early"}
    assert not any("weak" in line for line in data.missing)
    charts = {chart.name: chart for chart in build_charts(data, read_rollout_table(data), found)}
    assert [s.name for s in charts["rates"].panels[0].series][-1] == "weak (ended at step 3 of 6)"
    assert [panel.title for panel in charts["crossed"].panels][:3] == ["plain", "gated", "wild"]
    assert [s.name for s in charts["pareto"].panels[0].series] == ["front", "plain", "gated", "wild"]
    assert [s.name for s in charts["changes"].panels[0].series] == ["gated", "wild"]
    assert "punctuation:no_comma" in charts["changes"].panels[0].series[0].x
    page = write_report(run).page.read_text(encoding="utf-8")
    assert "<b>twin</b> is plain: they differ in nothing that is trained on" in page
    assert "<b>evaluate[wild-s2]</b>: exit code 1" in page and "left out 25 % of GRPO" in page
    assert "2.5 times as long" in page and "35.0 ended" in page and "12 %" in page
    tex = (run / "report" / "figures" / "pareto.tex").read_text(encoding="utf-8")
    assert "on front (\\%)" in tex and "front &" not in tex


def test_the_recipe_names_the_reference(tmp_path: Path) -> None:
    run = write_ablation(tmp_path, {"plain": (34, 8), "gated": (33, 30), "late": (30, 34), "weak": (10, 8)}, seeds=2)
    (run / "recipe.yaml").write_text("name: grid\nablation: {reference: gated}\n", encoding="utf-8")
    found = compare_models(collect(run))
    assert found is not None and found.reference == "gated"


def test_many_stages_that_wait_are_counted(tmp_path: Path) -> None:
    run = write_ablation(tmp_path, {"plain": (34, 8), "gated": (33, 30), "weak": (10, 8)})
    for path in tmp_path.glob("artifacts/evaluate-*"):
        shutil.rmtree(path)
    (line,) = [line for line in collect(run).missing if "evaluate" in line]
    assert line.startswith("6 of 9 evaluate stages are not done (to run): evaluate[plain-s0], ")
    assert line.endswith(" and 3 more")


@pytest.mark.slow
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
    assert any(line.startswith("evaluate[composite] is not done (to run)") for line in report.data.missing)
    assert "1 lines of the logs of composite cannot be read and are left out" in report.data.missing
    assert "Nothing has been evaluated yet" in report.page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_one_stage_alone_has_a_report(run: Path, tmp_path: Path) -> None:
    (grpo,) = run.parent.glob("artifacts/grpo-0composite*")
    report = write_report(grpo, tmp_path / "out")
    assert report.rollouts == STEPS * 16
    assert "No evaluation has finished: there is no table, no Pareto plot and no verdict yet" in report.data.missing


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="is neither a run"):
        collect(tmp_path)
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    for damaged in (b"{}", b"[]", b'{"stages": 1}', b"\xff\xfe", b""):
        (tmp_path / "plan.json").write_bytes(damaged)
        for command in (["report"], ["watch", "--once"], ["export", "--format", "hf"]):
            assert main([command[0], str(tmp_path), *command[1:]]) == 2
            assert "plan.json: " in capsys.readouterr().err


def test_texts_beyond_the_limit_are_left_out_in_whole_groups_and_figures_are_not(run: Path) -> None:
    table = read_rollout_table(collect(run))
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
    series = Series("a_b & 50%", [0.5], [0.25], 0, [0.2], [0.3], [0.4], [0.6], support=0.9)
    chart = Chart("p", "Cost_of {x}", "100 %", "", "points", "accuracy", "HAcc", [Subplot("", [series])])
    text = latex(chart)
    assert r"Cost\_of \{x\}. 100 \%" in text
    assert r"a\_b \& 50\% & 50.0 [40.0, 60.0] & 25.0 [20.0, 30.0] & 90.0 \\" in text


@pytest.mark.slow
def test_a_graph_shows_how_each_model_was_made_and_its_merge_may_be_the_best(tmp_path: Path) -> None:
    data = collect(write_graph(tmp_path))
    found = compare_models(data)
    assert found is not None
    assert [entry.name for entry in data.trained] == ["maths", "instructions", "again"]
    assert data.reference == found.reference == "whole: maths"
    assert "difference in joint: whole: both − whole: maths on these prompts: joint +40.0 ± " in headline(data, found)
    rows = {row.name: row for row in table(data, found)}
    assert rows["whole: base"].note == ""
    assert rows["whole: both"].note == "merge from sft, maths and instructions"
    assert rows["whole: again"].note == "grpo from both"
    assert rows["part: again"].note == "answered other items, so it is not compared; grpo from both"
    floors = [row.name for row in rows.values() if row.floor]
    assert "toy, 40 prompts: constant 0" in floors and "toy, 8 prompts: constant 0" in floors
    page = write_report(data.folder).page.read_text(encoding="utf-8")
    assert "<td>merge</td><td>sft, maths, instructions</td>" in page


def test_the_headline_is_of_what_rewards_trained_not_of_a_better_model_before(tmp_path: Path) -> None:
    data = collect(write_graph(tmp_path))
    assert [e.name for e in data.evaluated if not e.candidate] == ["whole: base", "whole: sft"]


def test_stages_of_several_trainings_in_one_arm_are_not_taken_for_seeds(tmp_path: Path) -> None:
    run = write_ablation(tmp_path, {"first": (20, 20), "second": (30, 30), "third": (10, 10)})
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    for stage in [stage for stage in plan["stages"] if stage["label"].startswith("grpo")]:
        more = {"label": stage["label"].replace("grpo", "warm"), "name": "warm", "kind": "grpo"}
        key = f"w{stage['key']}"
        plan["stages"].insert(0, stage | more | {"key": key, "artifact": f"grpo-{key}"})
    (run / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    data = collect(run)
    assert {"first", "second", "third", "warm[first]", "warm[second]", "warm[third]"} == set(data.groups)
    assert sorted((e.name, e.seed) for e in data.trained if e.group == "warm[first]") == [
        (f"warm[first] · seed {seed}", seed) for seed in (0, 1, 2)
    ]
