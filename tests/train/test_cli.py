"""The command line: exit codes, one clear message for each mistake, and nothing started that cannot end well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

from adhere.rewards.files import write_json
from adhere.train.cli import COMMANDS, COMPOSING, app, main
from adhere.train.drive import claim_run
from adhere.train.run.run import plan_record, plan_run, write_spec

ROOT = Path(__file__).parents[2]
TINY = ROOT / "recipes" / "assets" / "tiny_base"

MISTAKES = {
    "tran recipe=quickstart": ["no such command", "did you mean 'train'?", "adhere --help"],
    "train recipe=quickstrat": ["did you mean 'quickstart'?"],
    "plan grpo.learning_rat=1": ["grpo.learning_rat", "did you mean 'learning_rate'?"],
    "train model.path=/nowhere": ["model.path: there is no folder '/nowhere'"],
    "score only_one.jsonl": ["usage: adhere score IN.jsonl"],
    "score nowhere.jsonl out.jsonl": ["nowhere.jsonl: no such file"],
    "score in.jsonl out.jsonl mode=strict": ["mode: 'strict' is neither compat nor hardened"],
    "score in.jsonl out.jsonl mod=compat": ["mod: there is no such key (did you mean 'mode'?)", "usage: adhere score"],
    "score in.jsonl out.jsonl third.jsonl": ["'third.jsonl': is one word too many", "usage: adhere score"],
    "score in.jsonl out.jsonl plugins=": ["plugins: has no value", "usage: adhere score"],
    "score in.jsonl out.jsonl plugins=[a,]": ["plugins: '[a,]' is not a list of modules", "plugins=[my_lab.rewards]"],
    "score in.jsonl out.jsonl plugins=[no_such_lab.rewards]": ["plugins: there is no module 'no_such_lab.rewards'"],
    "report": ["usage: adhere report RUN"],
    "report runs --text-mb=few": ["text_mb: 'few' is not a whole number", "usage: adhere report"],
    "report runs --text-mb=-1": ["--text-mb: -1 is negative"],
    "watch runs --onc": ["--onc: there is no such option (did you mean '--once'?)", "usage: adhere watch"],
    "watch nowhere": ["nowhere: there is no such folder"],
    "export runs": ["--format: is missing", "usage: adhere export"],
    "export runs --format xml": ["format: 'xml' is not one of mathif, lm-eval, hf"],
    "export runs --format": ["--format: is missing, or has no value"],
    "status": ["usage: adhere status RUN"],
    "logs": ["usage: adhere logs RUN [STAGE] [-f]"],
    "cancel one two": ["'two': is one word too many", "usage: adhere cancel RUN"],
    "doctor now then": ["'then': is one word too many", "usage: adhere doctor"],
    "doctor now": ["now: there is no run of that name here"],
    "reweight": ["usage: adhere reweight RUN"],
    "checklist inspect a.jsonl --limit": ["--limit: is missing, or has no value"],
    "-sc": ["install=bash"],
    "export nowhere --format hf": ["nowhere: is not the folder of a run", "plan.json"],
    "import-gguf": ["usage: adhere import-gguf FILE.gguf FOLDER"],
    "import-gguf nowhere.gguf out": ["nowhere.gguf: no such file"],
    "evaluate": ["name the model first", "suite=mathif"],
    "evaluate owner/name suite=mathif suite.path=/ remedies=repeat": ["remedies: 'repeat' is not a list"],
    "evaluate owner/name suite=mathif suite.path=/ remedies=[repaet]": ["remedies: there is no remedy 'repaet'"],
    "evaluate owner/name suite=mathif suite.path=/ remedies=[none] remedy=repeat": [
        "remedies: is a comparison in one run"
    ],
    "evaluate owner/name suite=mathif suite.path=/ remedy=repaet": [
        "evaluation.remedy: there is no remedy 'repaet'",
        "did you mean 'repeat'?",
    ],
    "evaluate owner/name suite=mathif suite.path=/ remedy=repeat remedy.txt=a": [
        "evaluation.remedy.txt: repeat has no such option",
        "'text'?",
    ],
    "evaluate owner/name suite=mathif suite.path=/ remedy=sft_as_context remedy.parent=/nowhere": [
        "evaluation.remedy.parent: there is no folder"
    ],
    "evaluate owner/name suite=mathif suite.path=/ remedy=steering remedy.pairs=nowhere": [
        "evaluation.remedy.pairs: there is no file 'nowhere'"
    ],
    "selector one": ["usage: adhere selector THINK DIRECT"],
    "selector one two": ["responses.parquet: no such file"],
    "chat": ["usage: adhere chat MODEL"],
    "chat owner/name remedy=repaet": ["remedy: there is no remedy 'repaet'"],
    "chat owner/name remedy=repeat remedy.txt=a": ["remedy: txt: repeat has no such option"],
    "chat owner/name hello": ["'hello' is one word too many"],
    "chat owner/name backend=openai remedy=repeat": ["remedy: repeat goes on with responses that are begun"],
    "diagnose": ["usage: adhere diagnose MODEL"],
    "diagnose owner/name only=[atention]": ["there is no diagnostic 'atention' (did you mean 'attention'?)"],
    "evaluate suite=mathif": ["name the model first"],
    "evaluate owner/name": ["suite: say what owner/name is measured on: suite=NAME (abstention, aime24, "],
    "evaluate owner/name batch_size=3": ["suite: say what owner/name is measured on"],
    "train quickstart": ["'quickstart'", "did you mean recipe=quickstart?"],
    "plan quickstrat seed=1": ["did you mean recipe=quickstart?"],
    "ablate smollm2_gsm8k seeds=[0]": ["did you mean recipe=smollm2_gsm8k?"],
    "train nothing-like-it": ["'nothing-like-it': cannot be read as an override; write key=value"],
    "plan run.name=a/b": ["run.name: 'a/b' holds '/'"],
    "plan run.name=..": ["run.name: '..' has neither a letter nor a digit"],
    "plan run.name=artifacts": ["run.name: 'artifacts' cannot be the name of a run"],
    "plan run.name=latest": ["run.name: 'latest' cannot be the name of a run"],
    "plan run.name=.hidden": ["run.name: '.hidden' cannot be the name of a run"],
    "evaluate owner/name suite=mathf": ["did you mean 'mathif'?"],
    "evaluate owner/name suite=mathif": ["evaluation.path", "*.jsonl"],
    "evaluate owner/name suite=mathif suite.path=/nowhere": ["evaluation.path: there is no '/nowhere'"],
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def adhere(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for command in ("train", "plan", "evaluate", "score", "export", "import-gguf", "doctor"):
        assert f"adhere {command}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: adhere {name}" in shown
    assert f"Example: adhere {name}" in " ".join(shown.split())
    assert ("grpo: default" in shown and "recipe: controls, " in shown) is (name in COMPOSING)


@pytest.mark.parametrize("words", [["train", ""], ["score", "", "out.jsonl"]], ids=lambda words: words[0])
def test_an_empty_word_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "one of the words is empty" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("adhere ") and "trl 1.16" in second


HYDRA_WORDS = [
    ["-m", "seed=0,1", "hydra/launcher=adhere_slurm"],
    ["--multirun", "hydra/sweeper=basic", "+x=1", "++y.z=2", "~arms"],
    ["--cfg", "job", "-p", "grpo", "--resolve"],
    ["--cfg=hydra", "--package", "hydra.job", "-cd", "my recipes", "-cn", "config", "-cp=conf"],
    ["--info", "defaults"],
    ["-sc", "install=bash"],
    ["name='a=b, c'", 'x="[1, 2]"', "weights=[{checklist: 0},{checklist: 1}]", "data.train=[{path: /a b/c.jsonl}]"],
    ["x=--y", "k=-1", "--", "--version", "--hydra-help"],
]


@pytest.mark.parametrize("words", HYDRA_WORDS, ids=lambda words: words[0])
@pytest.mark.parametrize("command", COMPOSING)
def test_words_of_hydra_are_handed_on_untouched(command: str, words: list[str]) -> None:
    _, bound, _ = app.parse_args([command, *words], print_error=False, exit_on_error=False)
    assert list(bound.args) == words
    assert bound.kwargs == {}


@pytest.mark.parametrize(
    "words",
    [["plan", "seed=7"], ["ablate", "seeds=[7]"], ["audit", "seed=7"], ["evaluate", "owner/name", "batch_size=7"]],
    ids=lambda words: words[0],
)
def test_a_composed_configuration_is_shown(words: list[str], tmp_path: Path) -> None:
    shown = adhere(*words, "--cfg", "job", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    config = yaml.safe_load(shown.stdout)
    assert 7 in (config["seed"], config["evaluation"]["batch_size"]) or config["ablation"]["seeds"] == [7]
    assert list(tmp_path.iterdir()) == []


def test_a_plug_in_of_the_working_folder_is_imported(tmp_path: Path) -> None:
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "rewards.py").write_text("print('imported')\n", encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(row(), encoding="utf-8")
    for given in ("plugins=[my_lab.rewards]", "plugins=['my_lab.rewards', my_lab]"):
        done = adhere("score", "in.jsonl", "out.jsonl", given, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "imported"


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_ends_with_2_and_one_message(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = line.split()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"adhere {arguments[0]}: ")
    assert "Traceback" not in error
    for part in MISTAKES[line]:
        assert part in error


@pytest.mark.parametrize("name", [" mine", "mine ", "~mine", "-mine", "a[1]", "a\tb"])
def test_what_is_not_a_name_of_a_run_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f'run.name="{name}"']) == 2
    assert "run.name: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "key",
    [
        "run.root", "model.path", "evaluation.path", "evaluation.responses", "data.decontaminate_against",
        "model.chat_template",
    ],
)  # fmt: skip
def test_a_line_break_in_a_path_is_refused(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = '"/tmp/a' + "\n" + 'b"'
    assert main(["plan", f"data.decontaminate_against=[{path}]" if "against" in key else f"{key}={path}"]) == 2
    error = capsys.readouterr().err
    assert key in error and "\\n" in error


@pytest.mark.parametrize("name", ["first-try", "v1.2", "größer", "a b", "latest-2", "artifacts_old"])
def test_other_names_of_a_run_are_taken(name: str, model_folder: Path, tmp_path: Path) -> None:
    assert plan_run([f"model.path={model_folder}", f"run.name='{name}'"]).path.name == name


def evaluation_of(model: Path, rows: Path, root: Path) -> list[str]:
    return [
        "recipe=evaluate",
        f"model.path={model}",
        "evaluation=prompts",
        f"evaluation.path={rows}",
        f"run.root={root}",
    ]


def test_a_model_that_is_only_measured_has_its_name_and_leaves_latest_to_runs_that_train(
    model_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "2"}\n', encoding="utf-8")
    root = tmp_path / "runs"
    measured = [plan_run([*evaluation_of(model_folder, tmp_path / "rows.jsonl", root), f"seed={n}"]) for n in (0, 1, 2)]
    assert [model.name for model in plan_record(measured[0]).models] == ["model"]
    trained = plan_run([f"model.path={model_folder}", "~arms", "stages=[sft,evaluate]", f"run.root={root}"])
    assert [model.name for model in plan_record(trained).models] == ["base", "sft"]
    latest = root / "latest"
    for run, newest in (
        (measured[0], measured[0]),
        (measured[1], measured[1]),
        (trained, trained),
        (measured[2], trained),
    ):
        claim_run(run)
        assert latest.resolve() == newest.path


def test_stages_are_meant_by_label_name_or_arm(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = plan_run([f"model.path={model_folder}"])
    claim_run(run)
    for stage in run.graph.stages.values():
        artifact = run.artifact(stage.key)
        artifact.logs.mkdir(parents=True)
        (artifact.logs / "attempt_0.log").write_text(f"log of {stage.label}\n")
    evaluated = next(s for s in run.graph.stages.values() if s.label == "evaluate[composite]")
    artifact = run.artifact(evaluated.key)
    metrics = {"accuracy": {"mean": 0.5}, "hacc": {"mean": None}, "joint": {"mean": 0.25}}
    write_json(artifact.results, {"metrics": metrics})
    artifact.finish({"kind": "evaluate"})
    capsys.readouterr()
    for word, label in {
        "grpo[composite]": "grpo[composite]",
        "grpo-composite": "grpo[composite]",
        "sft": "sft",
    }.items():
        assert main(["logs", str(run.path), word]) == 0
        assert capsys.readouterr().out == f"log of {label}\n"
    assert main(["logs", str(run.path), "composite"]) == 0
    assert "composite]" in capsys.readouterr().out
    assert main(["status", str(run.path), "composite"]) == 0
    out = capsys.readouterr().out
    assert "grpo[composite]" in out and " sft\n" in out and "math_only" not in out
    assert "evaluate[composite]      accuracy 50.0%  joint 25.0%\n" in out
    assert main(["status", str(run.path), "compsite"]) == 2
    assert "the run has no such stage (did you mean 'composite'?)" in capsys.readouterr().err


def test_planning_starts_and_writes_nothing(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["plan", f"model.path={model_folder}"]) == 0
    shown = capsys.readouterr().out
    assert "to run    sft" in shown and "grpo[math_only]" in shown and "-m adhere.train.worker" in shown
    assert f"\n  PYTHONSAFEPATH=1 {sys.executable} -m " in shown  # pasted, it runs no file of the working folder
    assert sorted(tmp_path.iterdir()) == before


def test_a_finished_recipe_is_not_run_again(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"model.path={model_folder}", "~arms", "stages=[sft,grpo]"]
    run = plan_run(arguments)
    for key in run.graph.stages:
        artifact = run.artifact(key)
        artifact.model.mkdir(parents=True)
        stage = run.graph.stages[key]
        write_spec(run, stage)
        made = {"kind": stage.kind, "label": stage.label, "key": key, "seed": 0, "items": 1, "seconds": 0.0}
        artifact.finish({**made, "versions": {}})
    assert main(["plan", *arguments]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["train", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "reused  sft" in shown and "reused  grpo" in shown
    assert "nothing to do: every stage of this configuration is done" in shown
    assert (run.root / "latest").resolve() == run.path


def test_a_run_folder_of_another_configuration_is_left_alone(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "runs" / "mine"
    taken.mkdir(parents=True)
    (taken / "run.key").write_text("another configuration\n", encoding="utf-8")
    assert main(["train", f"model.path={model_folder}", "run.name=mine"]) == 2
    assert f"run.name: {taken} holds a run of another configuration" in capsys.readouterr().err
    assert [path.name for path in taken.iterdir()] == ["run.key"]


def test_a_run_folder_that_cannot_be_written_is_named(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["train", f"model.path={model_folder}", f"run.root={tmp_path / 'file'}"]) == 1
    error = capsys.readouterr().err
    assert "cannot be written" in error and "run.root" in error


@pytest.mark.skipif(sys.platform != "linux", reason="needs DeepSpeed's absence to be checked on Linux")
def test_a_strategy_without_its_package_fails_before_anything_starts(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib.util

    if importlib.util.find_spec("deepspeed") is not None:
        pytest.skip("DeepSpeed is installed")
    assert main(["train", f"model.path={model_folder}", "strategy=zero3"]) == 2
    assert "pip install 'adhere[deepspeed]'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_native_hydra_flags_work(model_folder: Path, tmp_path: Path) -> None:
    shown = adhere("train", "--cfg", "job", "seed=7", f"model.path={model_folder}", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert yaml.safe_load(shown.stdout)["seed"] == 7
    swept = adhere("plan", "-m", "seed=0,1", "~arms", f"model.path={model_folder}", cwd=tmp_path)
    assert swept.returncode == 0, swept.stderr
    assert swept.stdout.count("to run    sft") == 2


def row(**changes: object) -> str:
    made = {"question": "q", "answer": "4", "response": "\\boxed{4}", "constraints": []}
    return json.dumps(made | changes) + "\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["in.jsonl", "holds no row"]),
        (row() + "{broken\n", ["in.jsonl:2"]),
        (
            row() + row(constraints=[{"id": "punctuation:no_coma"}]),
            ["in.jsonl:2", "did you mean 'punctuation:no_comma'"],
        ),
        (row() + row(response=None), ["in.jsonl:2", "response"]),
    ],
    ids=["empty", "no JSON", "unknown constraint", "no response"],
)
def test_a_malformed_row_names_file_and_line(
    content: str, parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")
    assert main(["score", "in.jsonl", "out.jsonl"]) == 2
    error = capsys.readouterr().err
    for part in parts:
        assert part in error
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [{"id": "punctuation:no_comma", "kwargs": {}}]
    content = row(constraints=asked) + row(constraints=asked, response="well, \\boxed{4}")
    (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")
    assert main(["score", "in.jsonl", "out.jsonl", "mode=compat"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy 1.0000" in shown and "joint 0.5000" in shown
    assert main(["score", "in.jsonl", "again.jsonl", "mode=hardened", "--mode", "compat"]) == 0
    assert capsys.readouterr().out == shown
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [scored["joint"] for scored in rows] == [1.0, 0.0]


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text(row(), encoding="utf-8")
    assert main(["score", "in.jsonl", "in.jsonl/out.jsonl"]) == 1
    assert "adhere score: in.jsonl/out.jsonl: cannot be written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "rows.jsonl: holds no rows"),
        ('{"question": "What is 2 + 2?", "answer": "4"}\n{"question": \n', "rows.jsonl:2"),
        ('{"question": "What is 2 + 2?", "answer": "4"}\n', "grpo.per_device_batch_size: a step takes 8 prompts"),
    ],
    ids=["empty", "malformed", "too few"],
)
def test_training_data_that_cannot_be_used_is_named_by_the_driver(content: str, message: str, tmp_path: Path) -> None:
    if not TINY.is_dir():
        pytest.skip(f"needs the tiny base model at {TINY}")
    data = tmp_path / "rows.jsonl"
    data.write_text(content, encoding="utf-8")
    done = adhere("train", "~arms", "stages=[grpo]", f"data.train=[{{path: {data}}}]", cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()
    assert any(line.startswith("adhere train: grpo: ") and message in line for line in last), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_doctor_reports_versions_and_devices(tmp_path: Path) -> None:
    done = adhere("doctor", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    for word in ("python", "torch", "trl", "hydra-core", "math-verify", "disk", "cpu"):
        assert word in done.stdout
    assert ("bad" in done.stdout) is (done.returncode == 1)


def test_a_warning_for_the_user_is_said_without_its_line_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back behind the test
    assert main(["--version"]) == 0
    assert warnings.formatwarning("2 rows left out", UserWarning, "build.py", 73) == "warning: 2 rows left out\n"
    assert "old.py:1: FutureWarning" in warnings.formatwarning("gone soon", FutureWarning, "old.py", 1)
