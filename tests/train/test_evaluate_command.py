"""``adhere evaluate`` with responses from a file, several suites in one run, and ``adhere compare``."""

import json
from pathlib import Path

import pytest

from adhere.rewards.errors import ConfigError
from adhere.train.cli import main
from adhere.train.commands.evaluate import evaluation_overrides
from adhere.train.config.compose import compose_recipe
from adhere.train.run.run import plan_record, plan_run

IFEVAL = [
    {
        "key": n,
        "prompt": f"Describe river number {n}. Use no commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    }
    for n in range(6)
]
GSM8K = [{"question": f"What is {n} + {n}?", "answer": f"Add.\n#### {2 * n}"} for n in range(4)]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "ifeval.jsonl", IFEVAL)
    write(tmp_path / "gsm8k.jsonl", GSM8K)
    write(tmp_path / "a.jsonl", [{"key": n, "response": "Slow, and brown" if n < 2 else "Slow"} for n in range(6)])
    write(tmp_path / "b.jsonl", [{"prompt": row["prompt"], "response": "Slow"} for row in IFEVAL[:5]])
    write(tmp_path / "sums.jsonl", [{"question": r["question"], "response": "\\boxed{2}"} for r in GSM8K])
    return tmp_path


REPLAY = ["backend=replay", "bootstrap=100", "run.root=runs"]


@pytest.mark.slow
def test_responses_from_a_file_are_scored_and_compared(files, capsys):
    for name in "ab":
        line = ["evaluate", f"m {name}", "suite=ifeval", "suite.path=ifeval.jsonl", f"responses={name}.jsonl"]
        assert main([*line, *REPLAY, f"to={name}"]) == 0
    metrics = json.loads((files / "a/results.json").read_text())["metrics"]
    assert metrics["prompt_strict"]["mean"] == pytest.approx(4 / 6) == metrics["instruction_loose"]["mean"]
    results = json.loads((files / "b/results.json").read_text())
    assert (results["model"], results["replay"]["missing"], results["replay"]["rows"]) == ("m b", 1, 5)
    assert results["metrics"]["prompts"] == 5 and results["sampling"] is None
    assert results["contamination"] == {"training_items": 0, "shared": []}
    printed = capsys.readouterr()
    assert "prompt strict" in printed.out
    assert main(["compare", "a", "b", "to=both"]) == 0
    table = json.loads((files / "both/comparison.json").read_text())
    assert table["models"] == ["m a", "m b"] and table["suites"] == {"ifeval": "prompt_strict"}
    assert table["differences"][0]["gained"] == ["0", "1"] and table["differences"][0]["prompts"] == 5


@pytest.mark.slow
def test_several_suites_have_an_artifact_each_and_one_more_reruns_nothing(files, capsys):
    entry = "{path: %s, responses: %s}"
    ifeval = "ifeval: " + entry % ("ifeval.jsonl", "a.jsonl")
    gsm8k = "gsm8k: " + entry % ("gsm8k.jsonl", "sums.jsonl")
    assert main(["evaluate", "m", f"suites={{{ifeval}}}", *REPLAY, "to=one"]) == 0
    assert (files / "one/results.json").exists()
    capsys.readouterr()
    assert main(["evaluate", "m", f"suites={{{ifeval}, {gsm8k}}}", *REPLAY, "to=two"]) == 0
    assert "reused  ifeval[m]" in capsys.readouterr().out
    results = json.loads((files / "two/gsm8k/results.json").read_text())
    assert results["metrics"]["accuracy"]["mean"] == 0.25 and (files / "two/ifeval/results.json").exists()


def test_the_key_is_that_of_the_file_and_the_label(files):
    def key(name: str, responses: str) -> str:
        words = ["suite=ifeval", "path=ifeval.jsonl", "backend=replay", f"responses={responses}"]
        line = ["recipe=evaluate", f"model.path={name}", *(f"evaluation.{word}" for word in words)]
        (stage,) = plan_run(line).graph.stages
        return stage

    first = key("m", "a.jsonl")
    assert first == key("m", "a.jsonl") and first not in (key("m", "b.jsonl"), key("n", "a.jsonl"))
    (files / "copy.jsonl").write_text((files / "a.jsonl").read_text())
    assert key("m", "copy.jsonl") == first
    write(files / "a.jsonl", [{"key": 0, "response": "other"}])
    assert key("m", "a.jsonl") != first


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["backend=replay"], "evaluation.responses: the replay back end reads"),
        (["responses=a.jsonl"], "evaluation.responses: the back end transformers generates its own"),
        (["backend=replay", "responses=none.jsonl"], "there is no file"),
        (["backend=replay", "responses=a.jsonl", "without_constraints=true"], "no prompts without constraints"),
        (["suites=[ifeval,ifeval]"], "'ifeval' comes twice"),
        (["suites=[ifevil]"], "did you mean 'ifeval'"),
        (["suites={ifeval: {pth: x}}"], "evaluation.suites.ifeval.pth"),
        (["limit=0"], "evaluation.limit"),
        (["suite=prompts", "path=null", "backend=replay", "responses=a.jsonl"], "name the suite, or its file"),
        (["to="], "to: has no value"),
        (["to=a.jsonl", "backend=replay", "responses=a.jsonl"], "to: a.jsonl is a file"),
        (["suite.path=none.jsonl", "backend=replay", "responses=a.jsonl"], "there is no 'none.jsonl'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(files, capsys, words, says):
    assert main(["evaluate", "m", "suite=ifeval", "suite.path=ifeval.jsonl", "run.root=runs", *words]) == 2
    assert says in capsys.readouterr().err


def test_suites_become_stages_with_their_own_defaults():
    recipe = compose_recipe(["recipe=quickstart", "evaluation.suites={aime24: null, again: {suite: gsm8k, limit: 9}}"])
    assert list(recipe.stages) == ["sft", "grpo", "aime24", "again"]
    run = plan_run(["recipe=quickstart", "evaluation.suites={aime24: null, again: {suite: gsm8k, limit: 9}}"])
    found = {stage.name: stage.recipe.evaluation for stage in run.graph.stages.values() if stage.kind == "evaluate"}
    assert (found["again"].suite, found["again"].limit, found["aime24"].suite) == ("gsm8k", 9, "aime24")
    with pytest.raises(ConfigError, match="comes twice"):
        compose_recipe(["recipe=quickstart", "evaluation.suites=[gsm8k,gsm8k]"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evaluation=ifeval", "evaluation.few_shot=2"], "evaluation.few_shot: ifeval has no examples, gsm8k has"),
        (["evaluation=gsm8k", "evaluation.path=gsm8k.jsonl", "evaluation.few_shot=2"], "there is no .*train.jsonl"),
        (["evaluation=gsm8k", "evaluation.path=gsm8k.jsonl", "evaluation.revision=v1"], "evaluation.revision: belongs"),
        (["evaluation=gsm8k", "evaluation.few_shot=-1"], "evaluation.few_shot"),
        (["evaluation=ood", "evaluation.path=gsm8k.jsonl"], "ood makes its problems; leave the path out"),
        (["evaluation=reasonif"], "reasonIF_dataset.json"),
        (["evaluation=followbench", "evaluation.path=gsm8k.jsonl", "evaluation.subsets=[judge]"], "no 'judge'"),
    ],
)
def test_settings_of_a_suite_that_it_has_not_are_refused(files, words, says):
    with pytest.raises(ConfigError, match=says):
        plan_run(["recipe=evaluate", "model.path=lab/model", *words])


@pytest.mark.parametrize(
    ("folder", "spec", "name"),
    [
        ("mine", None, "mine"),
        ("artifacts/grpo-0123/model", "label: grpo[composite]\n", "grpo[composite]"),
        ("artifacts/grpo-0123/model", None, "model"),  # a folder that only has the name of a stage's
        ("artifacts/grpo-0123/other", "label: grpo[composite]\n", "other"),
    ],
)
def test_a_row_is_called_as_the_model_is(tmp_path, folder, spec, name):
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    if spec is not None:
        (place.parent / "stage.yaml").write_text(spec)
    overrides, _ = evaluation_overrides([str(place), "data=gsm8k"])
    (model,) = plan_record(plan_run(overrides)).models
    assert model.name == name
