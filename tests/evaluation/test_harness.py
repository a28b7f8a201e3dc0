"""lm-evaluation-harness: what it writes is read as results of ours; the command that runs it says what is missing."""

import json
import stat
import sys
from pathlib import Path

import pytest

from adhere.evaluation.compare import compare_folders
from adhere.evaluation.harness import read_harness
from adhere.evaluation.statistics import Bootstrap
from adhere.records.tables import read_responses
from adhere.rewards.errors import ConfigError, DataError, StageError
from adhere.train.cli import main
from adhere.train.commands.lm_eval import lm_eval

FAST = Bootstrap(resamples=100)
STAMP = "2026-01-01T00-00-00.000000"


def sample(number: int, **changes) -> dict:
    return {
        "doc_id": number,
        "doc": {"key": number, "prompt": f"Describe {number}."},
        "arguments": {"gen_args_0": {"arg_0": f"<user>Describe {number}.", "arg_1": {"until": []}}},
        "resps": [[f"text {number}"]],
        "filtered_resps": [f"text {number}"],
        "filter": "none",
        "metrics": ["prompt_level_strict_acc", "inst_level_strict_acc"],
        "prompt_level_strict_acc": number > 0,
        "inst_level_strict_acc": [True, number > 0],
    } | changes


def write(folder: Path, samples: dict[str, list[dict]], stamp: str = STAMP, **results) -> Path:
    folder = folder / "lab__model"
    folder.mkdir(parents=True, exist_ok=True)
    found = {task: {"alias": task, "prompt_level_strict_acc,none": 0.5} for task in samples}
    document = {"results": found, "lm_eval_version": "0.4.9", "n-shot": dict.fromkeys(samples, 0)} | results
    (folder / f"results_{stamp}.json").write_text(json.dumps(document))
    for task, rows in samples.items():
        (folder / f"samples_{task}_{stamp}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder.parent


def test_each_task_is_a_suite_with_intervals(tmp_path):
    folder = write(tmp_path, {"ifeval": [sample(n) for n in range(4)]})
    (found,) = read_harness(folder, "lab/model", FAST).values()
    metrics = found.results["metrics"]
    assert (found.results["suite"], found.results["headline"]) == ("lm_eval/ifeval", "prompt_level_strict_acc")
    assert metrics["prompt_level_strict_acc"]["mean"] == 0.75 and metrics["prompt_level_strict_acc"]["low"] < 0.75
    assert metrics["inst_level_strict_acc"]["mean"] == 7 / 8 and metrics["inst_level_strict_acc"]["prompts"] == 4
    assert found.results["reported"]["prompt_level_strict_acc,none"] == 0.5
    assert found.results["harness"]["version"] == "0.4.9"
    assert found.rows[0].item.question == "<user>Describe 0." and found.rows[2].generation.text == "text 2"


def test_filters_of_one_response_are_figures_of_their_own(tmp_path):
    rows = [
        {**sample(n), "filter": name, "metrics": ["exact_match"], "exact_match": float(value)}
        for n in range(2)
        for name, value in (("strict-match", n), ("flexible-extract", 1))
    ]
    (found,) = read_harness(write(tmp_path, {"gsm8k": rows}), "m", FAST).values()
    assert len(found.rows) == 2 and found.results["headline"] == "exact_match,strict-match"
    assert found.results["metrics"]["exact_match,strict-match"]["mean"] == 0.5
    assert found.results["metrics"]["exact_match,flexible-extract"]["mean"] == 1.0


def test_a_multiple_choice_keeps_its_likelihoods_and_groups_are_passed_over(tmp_path):
    row = sample(0, metrics=["acc", "bits"], acc=1.0, bits=7.5, resps=[[[-1.5, False]]])
    folder = write(tmp_path, {"arc": [row], "all": []}, group_subtasks={"all": ["arc"], "arc": []})
    (name, found), *rest = read_harness(folder, "m", FAST).items()
    assert (name, rest, found.results["own_metrics"]) == ("arc", [], ["acc"])
    assert found.rows[0].generation.text == "[-1.5, false]"


def test_the_newest_run_counts(tmp_path):
    write(tmp_path, {"ifeval": [sample(0)]}, "2025-12-31T00-00-00.000000")
    folder = write(tmp_path, {"ifeval": [sample(1)]})
    (found,) = read_harness(folder, "m", FAST).values()
    assert found.results["metrics"]["prompt_level_strict_acc"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ({"t": []}, "all of its lines cannot be read"),
        ({"t": [{"doc_id": 0}]}, "lacks doc, resps, metrics"),
        ({"t": [sample(0, metrics=["ppl"], ppl=7.5)]}, r"no value in \[0, 1\]"),
    ],
)
def test_damaged_samples_are_named(tmp_path, samples, says):
    with pytest.raises(DataError, match=says):
        read_harness(write(tmp_path, samples), "m", FAST)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no results_"):
        read_harness(tmp_path, "m", FAST)
    folder = write(tmp_path, {"t": [sample(0)]})
    next(folder.rglob("samples_*")).unlink()
    with pytest.raises(DataError, match="run the harness with --log_samples"):
        read_harness(folder, "m", FAST)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tasks=[]"], "name the harness's tasks"),
        (["tasks=[a]", "environment=/nowhere"], r"not at /nowhere; python -m venv"),
        (["tasks=[a]", "mode=compat"], "mode=compat: suite=lm_eval takes tasks"),
        (["tasks=[a]", "chat=yes"], "neither true nor false"),
    ],
)
def test_the_command_says_what_is_wrong(words, says):
    with pytest.raises(ConfigError, match=says):
        lm_eval(["m", "suite=lm_eval", *words])


@pytest.fixture
def stand_in(tmp_path):
    """A program with the harness's command line that writes files in its form: it needs no model and no network."""
    file = tmp_path / "env" / "bin" / "lm_eval"
    file.parent.mkdir(parents=True)
    made = write(tmp_path / "made", {"ifeval": [sample(n) for n in range(4)]})
    file.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, shutil, sys\n"
        "said = sys.argv\n"
        "assert 'PYTHONPATH' not in __import__('os').environ\n"
        "if 'bad' in said[said.index('--tasks') + 1]:\n    sys.exit('no task bad')\n"
        f"shutil.copytree({str(made)!r}, said[said.index('--output_path') + 1], dirs_exist_ok=True)\n"
        "pathlib.Path(said[said.index('--output_path') + 1], 'said').write_text(' '.join(said))\n"
    )
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file.parents[1]


def test_the_command_runs_the_harness_and_its_results_can_be_compared(tmp_path, stand_in, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    for name in ("a", "b"):
        words = ["tasks=[ifeval]", f"environment={stand_in}", "limit=4", "few_shot=2", f"to={tmp_path / name}"]
        assert main(["evaluate", f"lab/{name}", "suite=lm_eval", *words]) == 0
    assert "ifeval: prompt_level_strict_acc 75.0 [" in capsys.readouterr().out
    said = (tmp_path / "a/harness/said").read_text()
    for word in ("pretrained=lab/a", "--log_samples", "--limit 4", "--num_fewshot 2", "--apply_chat_template"):
        assert word in said
    assert len(read_responses(tmp_path / "a/ifeval/responses.parquet")) == 4
    table = compare_folders([tmp_path / "a", tmp_path / "b"], FAST)
    assert table.suites == ("lm_eval/ifeval",) and table.differences[0].mean == 0.0


def test_a_harness_that_fails_says_its_last_lines(tmp_path, stand_in):
    with pytest.raises(StageError, match=r"(?s)exit code 1.*no task bad"):
        lm_eval(["m", "suite=lm_eval", "tasks=[bad]", f"environment={stand_in}", f"to={tmp_path / 'out'}"])
