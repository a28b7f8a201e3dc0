"""Graphs of named stages: keys by content, labels, shared stages, merges, and a run that is killed in the middle."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_run import REPOSITORY, adhere

from adhere.records.artifact import Artifact
from adhere.rewards.errors import ConfigError
from adhere.train.config.kinds import StageKind, stage_kind
from adhere.train.config.named_stages import DECLARED, StageConfig, running_order
from adhere.train.config.stage import StageSpec
from adhere.train.plan.describe import describe_run
from adhere.train.run.graph import compared
from adhere.train.run.run import Run, plan_run, unread_overrides
from adhere.train.stages.merge import slerp

GRAPH = """\
# @package _global_
defaults: [quickstart]
arms: null
stages:
  sft: {}
  maths: {kind: grpo, from: sft, with: [rewards.components.checklist.weight=0]}
  instructions:
    kind: grpo
    from: sft
    with: [rewards.components.math.weight=0, rewards.components.checklist.gate=null]
  both: {kind: merge, from: sft, inputs: {models: [maths, instructions]}, with: ['merge.weights=[0.25, 0.75]']}
  again: {kind: grpo, from: both, with: [grpo.learning_rate=1e-3]}
  evaluate: {of: [base, sft, maths, instructions, both, again]}
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A folder of a user's own recipes, with the graph above as ``recipe=graph``."""
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    (tmp_path / "mine" / "recipe" / "graph.yaml").write_text(GRAPH, encoding="utf-8")
    return tmp_path / "mine"


def planned(recipes: Path, *overrides: str) -> Run:
    return plan_run([f"hydra.searchpath=[{recipes}]", "recipe=graph", *overrides])


def keys(run: Run) -> dict[str, str]:
    return {stage.label: stage.key for stage in run.graph.stages.values()}


def test_a_graph_has_a_stage_for_each_name_and_an_evaluation_for_each_model(recipes: Path) -> None:
    run = planned(recipes)
    models = ["base", "sft", "maths", "instructions", "both", "again"]
    assert list(keys(run)) == [*models[1:], *(f"evaluate[{model}]" for model in models)]
    stages = {stage.label: stage for stage in run.graph.stages.values()}
    assert stages["both"].inputs == {
        "model": stages["sft"].key, "models.0": stages["maths"].key, "models.1": stages["instructions"].key
    }  # fmt: skip
    assert stages["both"].recipe.merge.weights == [0.25, 0.75]
    assert stages["maths"].recipe.rewards.components["checklist"].weight == 0.0
    assert stages["again"].recipe.rewards.components["checklist"].weight == 1.0


def test_names_are_no_part_of_a_key_and_the_order_of_a_merge_is(recipes: Path) -> None:
    before = keys(planned(recipes))
    graph = recipes / "recipe" / "graph.yaml"
    graph.write_text(GRAPH.replace("maths", "sums").replace("both", "soup"), encoding="utf-8")
    renamed = keys(planned(recipes))
    assert [renamed[name] for name in ("sums", "soup", "again")] == [before[n] for n in ("maths", "both", "again")]
    graph.write_text(GRAPH.replace("[maths, instructions]}", "[instructions, maths]}"), encoding="utf-8")
    assert keys(planned(recipes))["both"] != before["both"]


def test_what_a_stage_overrides_reaches_it_and_what_starts_from_it_alone(recipes: Path) -> None:
    before = keys(planned(recipes))
    (recipes / "recipe" / "graph.yaml").write_text(GRAPH.replace("learning_rate=1e-3", "max_steps=7"), encoding="utf-8")
    after = keys(planned(recipes))
    assert {label for label in before if before[label] != after[label]} == {"again", "evaluate[again]"}


def test_the_command_an_arm_and_a_stage_override_in_this_order(recipes: Path) -> None:
    arms = "arms={slow: ['grpo.learning_rate=1e-6'], same: []}"
    run = planned(recipes, arms, "grpo.learning_rate=1e-5")
    trained = [stage for stage in run.graph.stages.values() if stage.kind == "grpo"]
    rates = {stage.label: stage.recipe.grpo.learning_rate for stage in trained}
    assert rates["maths[slow]"] == 1e-6 and rates["maths[same]"] == 1e-5
    assert rates["again[slow]"] == rates["again[same]"] == 1e-3
    sft = [stage for stage in run.graph.stages.values() if stage.kind == "sft"]
    assert [(stage.label, stage.arms) for stage in sft] == [("sft", ("slow", "same"))]


def test_evaluated_models_are_called_after_what_tells_them_apart(recipes: Path) -> None:
    def names(*overrides: str) -> list[str]:
        return [name for name, _ in compared(plan_run(["recipe=quickstart", *overrides]).graph)]

    assert names("~arms") == ["base", "sft", "grpo"]
    assert names() == ["base", "sft", "math_only", "composite"]
    two = "+arms={a: [], b: ['sft.max_steps=1']}"
    assert names("~arms", two) == ["base", "sft[a]", "sft[b]", "a", "b"]
    assert names("~arms", "stages=[evaluate]", "+arms={a: [], b: ['grpo.max_steps=3']}") == ["base"]
    suites = "stages=[grpo,{short: {kind: evaluate}},{long: {kind: evaluate, of: [grpo], with: ['seed=1']}}]"
    assert names("~arms", suites) == ["short: base", "short: grpo", "long: grpo"]
    forked = "stages={a: {kind: grpo}, b: {kind: sft}, evaluate: {}}"
    assert names(forked) == ["base", "a[math_only]", "a[composite]", "b"]


def test_the_chain_is_short_for_a_graph(recipes: Path) -> None:
    chain = keys(plan_run(["recipe=quickstart", "~arms"]))
    graph = "stages={evaluate: {}, last: {kind: grpo, from: first}, first: {kind: sft}}"
    named = keys(plan_run(["recipe=quickstart", "~arms", graph]))
    assert [chain["sft"], chain["grpo"]] == [named["first"], named["last"]]
    assert chain["evaluate[grpo]"] == named["evaluate[last]"]


def test_reinforcement_comes_before_supervision_and_several_times_without_code() -> None:
    run = plan_run(["recipe=quickstart", "~arms", "stages=[grpo,sft,{more: {kind: grpo}}]"])
    stages = {stage.label: stage for stage in run.graph.stages.values()}
    assert stages["grpo"].source is None
    assert (stages["sft"].source, stages["more"].source) == (stages["grpo"].key, stages["sft"].key)


def test_models_are_merged_with_the_recipes_own(recipes: Path) -> None:
    graph = "stages={sft: {}, half: {kind: merge, inputs: {models: [base, sft]}}}"
    run = plan_run(["recipe=quickstart", "~arms", graph])
    stages = {stage.label: stage for stage in run.graph.stages.values()}
    assert stages["half"].inputs == {"models.1": stages["sft"].key}
    assert stages["half"].further == {"models": [None, stages["sft"].key]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("'merge.weights=[0.25, 0.75]'", "'merge.weights=[1, 1, 1]'"), "stages.both: merge.weights: 3 weights for 2"),
        (("'merge.weights=[0.25, 0.75]'", "merge.method=slerp, 'merge.weights=[1, 1]'"), "not shares"),
        (("grpo.learning_rate=1e-3", "grpo.learning_rat=1"), r"stages.again.with: grpo.learning_rat: .*learning_rate"),
        (("grpo.learning_rate=1e-3", "grpo.group_size=7"), "stages.again.with: grpo.group_size: 7 does not divide"),
    ],
)
def test_a_stage_that_cannot_work_is_named_before_anything_starts(
    recipes: Path, change: tuple[str, str], words: str
) -> None:
    (recipes / "recipe" / "graph.yaml").write_text(GRAPH.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        planned(recipes)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["stages={a b: {kind: sft}, a-b: {kind: sft, with: ['seed=4']}}"], "'a b' and 'a-b' would have one name"),
        (["+arms={base: ['grpo.seed=1'], b: ['grpo.seed=2']}"], r"'evaluate\[base.* would have one name"),
        (["stages={sft: {}, g: {kind: grpo, from: sft, with: ['model=qwen3_0_6b']}}"], "stages.g.with: model.path"),
        (["stages={sft: {with: ['seed=1,2']}}"], r"stages.sft.with: seed=1,2: names several values"),
    ],
)
def test_what_would_be_mixed_up_is_met_when_it_is_planned(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_run(["recipe=quickstart", "~arms", *overrides])


def test_a_kind_that_makes_no_weights_starts_from_what_it_names_and_is_no_evaluation() -> None:
    @stage_kind("look")
    class Look(StageKind):
        makes = None

        def run(self, spec: StageSpec, artifact: Artifact) -> None: ...

    try:
        graph = plan_run(
            ["recipe=quickstart", "~arms", "stages={sft: {}, x: {kind: look, from: sft}, evaluate: {}}"]
        ).graph
        stages = {stage.label: stage for stage in graph.stages.values()}
        assert stages["x"].source == stages["sft"].key
        assert [name for name, _ in compared(graph)] == ["base", "sft"]
        for name in ("rewards", "base", "a b", "seed", "hydra"):
            with pytest.raises(ConfigError, match=f"the stage kind '{name}' needs another name"):
                stage_kind(name)(Look)
    finally:
        DECLARED.remove("look")


def test_slerp_keeps_the_length_and_ends_at_both_ends() -> None:
    a, b = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    middle = slerp(a, b, 0.5)
    assert torch.allclose(middle.norm(), a.norm())
    assert torch.allclose(middle, torch.tensor([[3.0, 0.0], [0.0, 3.0]]) / 2**0.5)
    assert torch.allclose(slerp(a, b, 0.0), a) and torch.allclose(slerp(a, b, 1.0), b)
    assert torch.allclose(slerp(a, 2 * a, 0.5), 1.5 * a) and torch.allclose(slerp(a, 0 * a, 0.5), 0.5 * a)


@pytest.mark.slow
def test_a_graph_is_killed_goes_on_and_merges_what_it_trained(recipes: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    line = [sys.executable, "-m", "adhere.train.cli", "train", f"hydra.searchpath=[{recipes}]", "recipe=graph"]
    line += ["debug=smoke", "launcher.device=cpu", f"run.root={root}", "run.name=graph", "grpo.max_steps=3"]
    # Lengths differ within a group, so that there is something to learn in the first step already.
    line += ["grpo.save_steps=1", "grpo.learning_rate=1e-3", "rewards.components.length.weight=1"]
    line += ["rewards.components.length.target=1", "rewards.components.length.maximum=64"]
    first = subprocess.Popen(line, cwd=REPOSITORY, start_new_session=True)
    deadline = time.monotonic() + 300
    while not list(root.glob("artifacts/grpo-*/checkpoints/*/COMPLETE")):
        assert first.poll() is None, "it ended before a checkpoint was seen"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    assert "reused  sft" in done.stdout
    models = {name: load_file(root / f"graph/stages/{name}/model/model.safetensors")
              for name in ("maths", "instructions", "both", "again")}  # fmt: skip
    for name, tensor in models["both"].items():
        expected = 0.25 * models["maths"][name].float() + 0.75 * models["instructions"][name].float()
        assert torch.allclose(tensor.float(), expected, atol=1e-6), name
    assert any((models["both"][name] != models["again"][name]).any() for name in models["both"])
    table = (root / "graph" / "results.md").read_text(encoding="utf-8")
    assert [
        name for name in ("base", "sft", "maths", "instructions", "both", "again") if f"| {name} |" not in table
    ] == []
    again = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert "nothing to do" in again.stdout


@pytest.mark.slow
def test_adapters_are_merged_exactly(tmp_path: Path) -> None:
    merge = "c: {kind: merge, inputs: {models: [a, b]}, with: ['merge.weights=[2, -1]']}"
    graph = f"stages={{a: {{kind: sft}}, b: {{kind: sft, with: ['seed=1']}}, {merge}}}"
    adhere(tmp_path, "~arms", graph, "model.adapter.kind=lora", "sft.learning_rate=1e-2")
    stages = {path.name: path / "model" for path in (tmp_path / "latest" / "stages").iterdir()}
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def update(folder: Path) -> dict[str, torch.Tensor]:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
        plain = AutoModelForCausalLM.from_pretrained(base).state_dict()
        whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder)).merge_and_unload()
        return {name: tensor - plain[name] for name, tensor in whole.state_dict().items()}

    a, b, c = (update(stages[name]) for name in "abc")
    for name, tensor in c.items():
        assert torch.allclose(tensor, 2 * a[name] - b[name], atol=1e-6), name
    assert any(tensor.abs().max() > 1e-4 for tensor in c.values())


KIND = """\
from pathlib import Path

from adhere.rewards.strict import Strict
from adhere.train.config.kinds import StageKind, stage_kind


class NoiseConfig(Strict):
    scale: float = 0.1


@stage_kind("noise")
class Noise(StageKind):
    config = NoiseConfig
    data = None
    distributed = False

    def arithmetic(self, recipe):
        return [f"noise of {recipe.noise.scale}"]

    def run(self, spec, artifact):
        from adhere.train.model.load import load_for_inference, load_tokenizer

        load_for_inference(spec.recipe.model, spec.model_path).save_pretrained(artifact.model)
        load_tokenizer(spec.recipe.model, spec.model_path).save_pretrained(artifact.model)
        (artifact.path / "scale").write_text(str(spec.recipe.noise.scale))
        artifact.finish({"kind": spec.kind, "label": spec.label, "key": spec.key, "seed": 0, "items": 0,
                         "seconds": 0.0, "versions": {}})
"""


def lab(folder: Path) -> Path:
    """Write a user's own package with a stage kind; return the folder that it is imported from."""
    (folder / "my_lab").mkdir(parents=True)
    (folder / "my_lab" / "__init__.py").touch()
    (folder / "my_lab" / "stages.py").write_text(textwrap.dedent(KIND), encoding="utf-8")
    return folder


def from_outside(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "adhere.train.cli", *line, "recipe=quickstart", "~arms", "debug=smoke",
         "plugins=[my_lab.stages]", "launcher.device=cpu", "run.name=lab"],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_users_kind_of_stage_is_planned_with_its_own_section_and_its_code_counts(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    given = ("stages=[noise,{evaluate: {of: [noise]}}]", "noise.scale=0.5")
    done = from_outside(folder, "plan", *given)
    assert done.returncode == 0, done.stderr
    assert "noise    noise of 0.5" in done.stdout
    key = next(line.split()[3] for line in done.stdout.splitlines() if line.startswith("  to run    noise"))
    assert key not in from_outside(folder, "plan", given[0], "noise.scale=0.25").stdout
    module = folder / "my_lab" / "stages.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert key not in from_outside(folder, "plan", *given).stdout
    wrong = from_outside(folder, "plan", given[0], "noise.scal=0.5")
    assert wrong.returncode == 2 and "noise.scal" in wrong.stderr and "did you mean 'scale'" in wrong.stderr


@pytest.mark.slow
def test_a_users_kind_of_stage_runs(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    done = from_outside(folder, "train", "stages=[noise,{evaluate: {of: [noise]}}]", "noise.scale=0.5")
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "lab" / "stages" / "noise" / "scale").read_text(encoding="utf-8") == "0.5"
    assert "| noise |" in (folder / "runs" / "lab" / "results.md").read_text(encoding="utf-8")


def test_stages_run_after_what_they_start_from_and_else_as_written() -> None:
    draw = random.Random(0)
    for _ in range(50):
        names = [f"s{i}" for i in range(draw.randint(1, 12))]
        starts = {name: draw.choice([None, *names[:i]]) for i, name in enumerate(names)}
        stages = {n: StageConfig(kind="sft", source=starts[n]) for n in draw.sample(names, len(names))}
        waiting, wanted = list(stages), []
        while waiting:  # the definition: the first that is written of those that can run
            wanted.append(next(n for n in waiting if starts[n] not in waiting))
            waiting.remove(wanted[-1])
        assert running_order(stages) == wanted
    with pytest.raises(ValueError, match=r"^a, b: start from each other"):
        running_order({n: StageConfig(kind="sft", source=s) for n, s in (("c", None), ("a", "b"), ("b", "a"))})


def test_a_plan_shows_what_a_merge_takes_and_says_where_a_kind_says_nothing(recipes: Path) -> None:
    lines = describe_run(planned(recipes)).splitlines()
    memory, time_ = (next(i for i, line in enumerate(lines) if line.startswith(word)) for word in ("memory", "time"))
    merge = next(line for line in lines[memory:time_] if line.split()[0] == "both")
    assert "host memory" in merge and "not known" not in merge
    assert re.search(r"^  both +[\d.]+ to [\d.]+ \w+; models read", "\n".join(lines[time_:]), re.M)


NEEDS = """
    def needs(self, recipe, stage, weights):
        return Needs(device_gib=90.0, seconds=(60.0, 240.0), basis="as the lab measured it")
"""


@pytest.mark.slow
def test_a_users_kind_says_what_it_needs_or_the_plan_says_that_it_does_not(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    given = ("plan", "stages=[noise,{evaluate: {of: [noise]}}]", "launcher.gpu_memory_gib=80")
    done = from_outside(folder, *given)
    assert re.search(r"^  noise .* not known +the kind noise does not say$", done.stdout, re.M), done.stderr
    assert re.search(r"^  noise +not known: the kind noise does not say$", done.stdout, re.M), done.stdout
    assert "1 stage of unknown length" in done.stdout
    module = folder / "my_lab" / "stages.py"
    text = KIND.replace("import StageKind", "import Needs, StageKind") + NEEDS
    module.write_text(text, encoding="utf-8")
    done = from_outside(folder, *given)
    assert re.search(r"^  noise .* 90\.0 +host memory not known; as the lab measured it$", done.stdout, re.M), done
    assert re.search(r"^  noise +1\.0 to 4\.0 min; as the lab measured it$", done.stdout, re.M), done.stdout
    assert "warning: noise needs about 90.0 GiB per device, more than the 80 GiB" in done.stdout


@pytest.mark.slow
def test_a_data_file_of_a_plug_in_counts_and_what_is_not_part_of_it_does_not(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")

    def key() -> str:
        done = from_outside(folder, "plan", "stages=[noise]", "run.root=my_lab/runs")
        assert done.returncode == 0, done.stderr
        return next(line.split()[3] for line in done.stdout.splitlines() if line.startswith("  to run    noise"))

    first = key()
    for name in (".hidden/x", "__pycache__/x.pyc", "runs/artifacts/x.json", "../beside.txt"):
        (folder / "my_lab" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "my_lab" / name).write_text("x", encoding="utf-8")
        assert key() == first, name
    (folder / "my_lab" / "words.txt").write_text("x", encoding="utf-8")
    second = key()
    (folder / "my_lab" / "words.txt").write_text("y", encoding="utf-8")
    assert len({first, second, key()}) == 3


@pytest.mark.parametrize(
    ("stage", "override", "section"),
    [
        ("sft", "grpo.max_steps=3", "grpo"), ("sft", "rewards.components.math.weight=0", "rewards"),
        ("grpo", "evaluation.batch_size=3", "evaluation"), ("evaluate", "sft.max_steps=3", "sft"),
        ("merge", "data.train_size=9", "data"), ("merge", "seed=3", "seed"),
        ("sft", "sft.max_steps=3", None), ("sft", "sft.logging_steps=3", None),
        ("grpo", "grpo.monitors.window=3", None),
        ("evaluate", "data.max_prompt_tokens=9", None), ("grpo", "launcher.threads=1", None), ("grpo", "seed=3", None),
        ("merge", "merge.weights=[1,2]", None),
    ],
)  # fmt: skip
def test_an_override_of_what_the_stage_does_not_read_is_a_warning(
    stage: str, override: str, section: str | None, recipes: Path
) -> None:
    stages: dict[str, dict[str, object]] = {
        "sft": {}, "grpo": {"from": "sft"}, "merge": {"from": "sft", "inputs": {"models": ["sft", "grpo"]}},
        "evaluate": {},
    }  # fmt: skip
    stages[stage]["with"] = [override]
    head = "# @package _global_\ndefaults: [quickstart]\narms: null\n"
    (recipes / "recipe" / "unread.yaml").write_text(
        head + yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8"
    )
    found = unread_overrides(plan_run([f"hydra.searchpath=[{recipes}]", "recipe=unread"]))
    if section is None:
        assert found == []
    else:
        text = f"'{override}' changes nothing: a stage of kind {stage} does not read {section}"
        assert found == [f"stages.{stage}.with: {text}"]
