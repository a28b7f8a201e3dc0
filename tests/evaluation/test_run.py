"""One evaluation from end to end with a scripted model, resumption, tables, pictures and exports."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from adhere.evaluation.export import export
from adhere.evaluation.generation import Generation, Sampling, over_context
from adhere.evaluation.plot import write_plot
from adhere.evaluation.run import Evaluation, compare, evaluate, write_results
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import Suite, mathif, prompt_suite
from adhere.evaluation.table import compare_results, markdown_table, terminal_table, write_csv, write_markdown
from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.records.tables import read_responses
from adhere.rewards.checklist import ProgramCheck, Requirement, RuleCheck
from adhere.rewards.errors import ConfigError, DataError, StageError

FAST = Bootstrap(resamples=200)


class Scripted:
    """Item ``i``: right when ``i < right``, without a comma when ``i < obeys``, an error if ``broken``."""

    def __init__(self, name: str, right: int = 4, obeys: int = 4, broken: tuple[str, ...] = ()) -> None:
        self.name, self.right, self.obeys, self.broken = name, right, obeys, broken
        self.asked: list[str] = []

    def generate(self, items, sampling):
        self.asked += [item.id for item in items]
        return [[self._answer(item, k) for k in range(sampling.samples)] for item in items]

    def _answer(self, item: PromptItem, sample: int) -> Generation:
        if item.id in self.broken:
            return Generation("", None, False, error="APITimeoutError: late")
        i = int(item.id.split("#")[0].split(":")[-1].removeprefix("p"))
        text = f"So{'' if i < self.obeys else ','} \\boxed{{{4 if i < self.right else 5}}}"
        return Generation(text, 5 + i, True)


def suite(count: int = 6) -> Suite:
    asked = Requirement("c", "No commas.", RuleCheck("punctuation:no_comma"))
    plain = [PromptItem(f"p{i}", ({"role": "user", "content": f"{i}?"},), "4", source="toy") for i in range(count)]
    return prompt_suite("toy", [with_constraints(item, [asked]) for item in plain])


def run(name: str = "model", folder: Path | None = None, **script) -> Evaluation:
    done = evaluate(suite(), Scripted(name, **script), Sampling(), without_constraints=True, bootstrap=FAST)
    if folder is not None:
        write_results(folder, done, {"commit": "abc"})
    return done


def test_results_hold_metrics_floors_and_provenance(tmp_path):
    run(folder=tmp_path, right=3, obeys=4)
    results = json.loads((tmp_path / "results.json").read_text())
    metrics = results["metrics"]
    assert (metrics["accuracy"]["mean"], metrics["joint"]["mean"]) == (0.5, 0.5)
    assert metrics["hacc"]["mean"] == pytest.approx(4 / 6)
    assert metrics["accuracy_without"]["mean"] == 0.5 and metrics["accuracy_drop"]["mean"] == 0.0
    assert results["floors"]["constant 0"]["hacc"]["mean"] == 1.0
    assert results["floors"]["constant 0"]["joint"]["mean"] == 0.0
    assert results["floors"]["constraints only"]["hacc"]["mean"] == 1.0
    assert (results["model"], results["suite"], results["provenance"]) == ("model", "toy", {"commit": "abc"})
    assert results["modes"]["hardened"] == {k: metrics[k] for k in ("accuracy", "hacc", "sacc", "joint")}
    assert results["modes"]["compat"]["hacc"]["mean"] == pytest.approx(4 / 6)
    rows = read_responses(tmp_path / "responses.parquet")
    assert len(rows) == 12
    assert rows[0]["constraints"] == [{"id": "punctuation:no_comma", "kwargs": {}, "text": "No commas."}]
    assert rows[0]["verdicts"][0]["score"] == 1.0 and rows[5]["correct"]["score"] == 0.0
    assert rows[6]["twin_of"] == "p0" and rows[6]["hacc"] is None
    assert not list(tmp_path.glob(".*"))


def test_a_restart_generates_only_what_is_missing(tmp_path):
    log = tmp_path / "responses.jsonl"
    first = Scripted("model", broken=("p2",))
    evaluate(suite(), first, Sampling(), log=log, bootstrap=FAST, max_error_share=0.5)
    with log.open("a") as out:
        out.write('{"id": "p9", "gener')
    second, told = Scripted("model"), []
    done = evaluate(
        suite(),
        second,
        Sampling(),
        log=log,
        bootstrap=FAST,
        progress=lambda done, all_: told.append((done, all_)),
    )
    assert told == [(6, 6)]
    assert second.asked == ["p2"]
    assert done.results["metrics"]["responses"] == 6
    third = Scripted("model")
    again = evaluate(suite(), third, Sampling(), log=log, bootstrap=FAST)
    assert third.asked == [] and again.results == done.results


def test_a_response_with_another_end_of_line_survives_a_restart(tmp_path):
    class Separated(Scripted):
        def _answer(self, item, sample):
            return Generation("one\u2028two\x85three \\boxed{4}", 5, True)

    log = tmp_path / "responses.jsonl"
    for asked in (6, 0):
        model = Separated("model")
        evaluate(suite(), model, Sampling(), bootstrap=FAST, log=log)
        assert len(model.asked) == asked


def test_a_log_of_another_run_is_refused(tmp_path):
    log = tmp_path / "responses.jsonl"
    evaluate(suite(), Scripted("model"), Sampling(), log=log, bootstrap=FAST)
    with pytest.raises(DataError, match="model model, this run has other"):
        evaluate(suite(), Scripted("other"), Sampling(), log=log, bootstrap=FAST)
    with pytest.raises(DataError, match="sampling"):
        evaluate(suite(), Scripted("model"), Sampling(seed=1), log=log, bootstrap=FAST)


def test_the_figures_without_flagged_prompts_stand_beside_the_others():
    flagged = replace(suite(), flags={"a fault": ("p0", "p5"), "another": ("p5",)})
    results = evaluate(flagged, Scripted("model", right=3), Sampling(), bootstrap=FAST).results
    assert results["metrics"]["accuracy"]["mean"] == 0.5
    assert results["metrics"]["without_flagged"]["accuracy"]["mean"] == 0.5
    assert results["metrics"]["without_flagged"]["hacc"]["mean"] == 0.75
    assert "joint without 2 flagged prompts 50.0 [" in compare_results([results]).lost[0]
    for none in (suite(), replace(suite(), flags={"all": tuple(f"p{i}" for i in range(6))})):
        assert "without_flagged" not in evaluate(none, Scripted("model"), Sampling(), bootstrap=FAST).results["metrics"]


class Short(Scripted):
    """A model in whose context the prompts ``broken`` have no room."""

    def _answer(self, item: PromptItem, sample: int) -> Generation:
        return over_context(50 if item.id in self.broken else 10, 30, 64) or super()._answer(item, sample)


def test_a_prompt_over_the_context_is_skipped_and_counted():
    done = evaluate(suite(), Short("short", broken=("p0",), right=3), Sampling(), bootstrap=FAST)
    assert done.results["flags"]["over_context"] == ["p0"]
    assert done.results["metrics"]["accuracy"]["mean"] == pytest.approx(2 / 5)
    assert [row.item.id for row in done.rows if row.generation.error] == ["p0"]
    assert "over_context" not in evaluate(suite(), Short("short"), Sampling(), bootstrap=FAST).results["flags"]


@pytest.mark.parametrize(("count", "broken"), [(6, ("p0", "p1")), (1, ("p0",))], ids=["a third", "the only one"])
def test_where_many_prompts_are_over_the_context_the_length_is_wrong(count, broken):
    with pytest.raises(
        StageError, match=rf"{len(broken)} of {count} prompts are over .*context.*the first: p0.*lower it"
    ):
        evaluate(suite(count), Short("short", broken=broken), Sampling(), bootstrap=FAST)


def test_too_many_errors_stop_the_evaluation():
    with pytest.raises(StageError, match=r"2 of 6 .*APITimeoutError"):
        evaluate(suite(), Scripted("model", broken=("p0", "p1")), Sampling(), bootstrap=FAST)


def test_too_many_responses_without_a_score_stop_the_evaluation():
    broken = Requirement("c", "Fails.", ProgramCheck("def verify_requirement(text):\n    raise ValueError(text)"))
    plain = [PromptItem(f"p{i}", ({"role": "user", "content": f"{i}?"},), "4", (broken,), "toy") for i in range(4)]
    with pytest.raises(StageError, match="4 of 4 responses could not be scored"):
        evaluate(prompt_suite("toy", plain), Scripted("model"), Sampling(), bootstrap=FAST)


def test_paired_comparison_of_two_folders(tmp_path):
    run("weak", tmp_path / "weak", right=2)
    run("strong", tmp_path / "strong", right=4)
    found = compare(tmp_path / "strong", tmp_path / "weak", "accuracy", FAST)
    assert found.mean == pytest.approx(2 / 6) and found.n == 6
    with pytest.raises(DataError, match=r"responses\.parquet"):
        compare(tmp_path / "none", tmp_path / "weak")


def test_floors_whose_every_figure_is_alike_are_one_row():
    results = run("weak", right=2).results
    first, *others = results["floors"]
    alike = {**results, "model": first, "floors": dict.fromkeys(results["floors"], results["floors"][first])}
    comparison = compare_results([alike])
    assert [line.name for line in comparison.rows] == [first, ", ".join([first, *others])]
    assert re.search(r"^\| \*constant 0, constant .*, constraints only\* \|", markdown_table(comparison), re.MULTILINE)
    assert len(comparison.lines) == 2 + len(others), "files of figures keep each"
    # One figure of many that differs, and a model that scores as a floor does, are rows of their own.
    other = {**alike["floors"][first], "sacc": {**alike["floors"][first]["sacc"], "mean": 0.123}}
    differs = compare_results([{**alike, "floors": {**alike["floors"], first: other}}])
    assert [line.name for line in differs.rows] == [first, first, ", ".join(others)]


def test_comparison_table_in_all_forms(tmp_path):
    comparison = compare_results([run("weak", right=2).results, run("strong|er").results])
    assert [line.name for line in comparison.lines][:2] == ["weak", "strong|er"]
    text = markdown_table(comparison)
    assert text.splitlines()[0] == "| model | accuracy without | accuracy | HAcc | SAcc | joint |"
    assert "| weak | 33.3 [" in text and "strong\\|er" in text and "| *constant 0, " in text
    write_markdown(tmp_path / "table.md", comparison)
    assert "toy · 6 prompts · hardened checkers" in (tmp_path / "table.md").read_text()
    write_csv(tmp_path / "table.csv", comparison)
    with (tmp_path / "table.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert float(rows[0]["accuracy_mean"]) == pytest.approx(1 / 3) and rows[-1]["floor"] == "1"
    console = Console(width=140, file=io.StringIO(), color_system=None)
    console.print(terminal_table(comparison))
    printed = console.file.getvalue()
    assert "strong|er" in printed and "\\boxed{0}" in printed and "33.3 [" in printed


def test_a_terminal_shows_the_first_of_many_figures_and_says_how_many_more_there_are():
    results = run("weak").results
    own = [f"own_{i}" for i in range(9)]
    figure = results["metrics"]["accuracy"]
    many = {**results, "own_metrics": own, "metrics": results["metrics"] | dict.fromkeys(own, figure)}
    comparison = compare_results([many])
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(terminal_table(comparison))
    printed = console.file.getvalue()
    assert "weak" in printed and "own 3" in printed and "own 4" not in printed
    assert f"{len(comparison.metrics) - 4} more figures are in" in printed
    assert "own 8" in markdown_table(comparison)


def test_what_has_no_score_is_named_below_the_table(tmp_path):
    done = evaluate(suite(), Scripted("shaky", broken=("p0",)), Sampling(), bootstrap=FAST, max_error_share=0.5)
    write_markdown(tmp_path / "table.md", compare_results([done.results]))
    assert (
        "shaky: left out without a score: answers (error 1), constraints (error 1)"
        in (tmp_path / "table.md").read_text()
    )


def test_runs_on_other_items_are_not_compared():
    one = run().results
    other = evaluate(suite(3), Scripted("model"), Sampling(), bootstrap=FAST).results
    with pytest.raises(DataError, match="differ in items"):
        compare_results([one, other])
    with pytest.raises(DataError, match="no results"):
        compare_results([])


def test_picture_is_a_png(tmp_path):
    write_plot(tmp_path / "new" / "table.png", compare_results([run("$a_b$").results, run("other", obeys=2).results]))
    assert (tmp_path / "new" / "table.png").read_bytes().startswith(b"\x89PNG")


def mathif_folder(folder: Path) -> Path:
    row = {"source": "toy", "id": "x", "answer": "4", "constraint_desc": ["No commas."]}
    row |= {"constraint_name": ["punctuation:no_comma"], "constraint_args": [None]}
    folder.mkdir()
    for name in ("gsm8k_single", "aime_single"):
        rows = [json.dumps(row | {"question": f"{name} {i}?"}) + "\n" for i in range(3)]
        (folder / f"{name}.jsonl").write_text("".join(rows))
    return folder


def test_mathif_export_is_what_the_official_script_reads(tmp_path):
    source = mathif_folder(tmp_path / "data")
    done = evaluate(mathif(source), Scripted("m"), Sampling(), without_constraints=True, bootstrap=FAST)
    write_results(tmp_path / "run", done)
    names = {file.name for file in export(tmp_path / "run", "mathif", tmp_path / "out")}
    assert names == {f"{s}_single{n}.jsonl" for s in ("gsm8k", "aime") for n in ("", "_noconstraint")}
    given = [json.loads(line) for line in (source / "gsm8k_single.jsonl").read_text().splitlines()]
    written = [json.loads(line) for line in (tmp_path / "out/gsm8k_single.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in row.items() if k != "output"} for row in written] == given
    assert written[0]["output"] == "So \\boxed{4}"


def test_lm_eval_export_has_results_and_samples(tmp_path):
    run("m", tmp_path / "run", right=3)
    export(tmp_path / "run", "lm-eval", tmp_path / "out")
    results = json.loads((tmp_path / "out/results_adhere.json").read_text())
    figures = results["results"]["adhere_toy"]
    assert figures["exact_match,none"] == 0.5 and figures["exact_match_stderr,none"] > 0
    assert results["n-samples"]["adhere_toy"] == {"original": 6, "effective": 6}
    lines = (tmp_path / "out/samples_adhere_toy_adhere.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    assert [s["doc_id"] for s in samples] == list(range(6))
    assert samples[0]["resps"] == [["So \\boxed{4}"]] and samples[0]["target"] == "4"
    assert (samples[0]["exact_match"], samples[5]["exact_match"]) == (1.0, 0.0)


def test_model_export_takes_weights_card_and_results(tmp_path):
    run("m", tmp_path / "run")
    model = tmp_path / "model"
    (model / "checkpoint-1").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "README.md", "DONE", "checkpoint-1/optimizer.pt"):
        (model / name).write_text("x")
    written = export(tmp_path / "run", "hf", tmp_path / "hub", model=model)
    names = {str(file.relative_to(tmp_path / "hub")) for file in written}
    assert names == {"config.json", "model.safetensors", "README.md", "results.json", "responses.parquet"}
    with pytest.raises(ConfigError, match="not empty"):
        export(tmp_path / "run", "hf", tmp_path / "hub", model=model)


def test_exports_that_cannot_be_written_say_why(tmp_path):
    run("m", tmp_path / "run")
    with pytest.raises(ConfigError, match="did you mean 'lm-eval'"):
        export(tmp_path / "run", "lm_eval", tmp_path / "out")
    with pytest.raises(DataError, match="suite=mathif"):
        export(tmp_path / "run", "mathif", tmp_path / "out")
    with pytest.raises(DataError, match="finished evaluation"):
        export(tmp_path / "none", "lm-eval", tmp_path / "out")
    with pytest.raises(ConfigError, match="not a model folder"):
        export(tmp_path / "run", "hf", tmp_path / "out")
