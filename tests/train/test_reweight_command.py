"""``adhere reweight``: which stage, which points, and what it prints and writes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from rollout_files import random_verdicts, write_spec, write_stage

from adhere.records.plan import Plan, StageRecord, write_plan
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError
from adhere.train.cli import main
from adhere.train.commands.reweight import compose_points, find_stage
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import Recipe

SIZE = 4


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    components = "{math: {kind: math}, rules: {kind: checklist, weight: 0.5}}"
    plain = ["recipe=quickstart", "~arms", f"grpo.group_size={SIZE}", "grpo.max_steps=2"]
    config = compose_recipe(plain).model_dump(mode="json")
    config["rewards"]["components"] = yaml.safe_load(components)
    return Recipe.model_validate(config)


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe) -> Path:
    rng = random.Random(2)
    for arm in ("plain", "other"):
        stage = tmp_path / "stages" / f"grpo-{arm}"
        rows = [[{n: random_verdicts(rng) for n in recipe.rewards.components} for _ in range(8 * SIZE)] for _ in "ab"]
        write_stage(stage / "rollouts", recipe.rewards, rows, SIZE)
        write_spec(stage, recipe.model_dump(mode="json"), f"grpo[{arm}]")
    arms = {"plain": ("plain", "same as plain"), "other": ("other",)}
    stages = [StageRecord(f"grpo[{a}]", "grpo", "grpo", f"key-{a}", f"grpo-{a}", {}, arms[a]) for a in arms]
    write_plan(RunFolder(tmp_path).plan_file, Plan(tuple(stages)))
    return tmp_path


@pytest.mark.parametrize("word", ["plain", "same as plain", "grpo[plain]", "grpo-plain"])
def test_a_stage_is_named_as_for_logs_and_status(run: Path, word: str) -> None:
    spec, folder = find_stage(run, word)
    assert spec.label == "grpo[plain]" and folder == run / "stages" / "grpo-plain"
    assert find_stage(folder, word if word.startswith("grpo") else None)[0].label == "grpo[plain]"
    with pytest.raises(ConfigError, match=r"is the stage grpo\[plain\], not 'other'"):
        find_stage(folder, "other")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["reweight", *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_it_prints_a_sentence_a_point_and_writes_the_files(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reweight", str(run), "plain", "rewards.components.rules.weight=0.5,0", "rewards.scale=none"]) == 0
    printed = capsys.readouterr().out
    assert "64 rollouts; recomputed advantages are the recorded ones to 0.0e+00" in printed
    assert "rules.weight=0: worth a run: nearest is" in printed
    assert (run / "reweight" / "grpo-plain" / "points.csv").read_text().count("\n") == 4
    assert (
        main(["reweight", str(run / "stages" / "grpo-other"), "rewards.aggregation=product", f"out={run / 'o'}"]) == 0
    )
    assert (run / "o" / "rollouts.parquet").exists()


def test_points_have_the_names_of_the_ablation(recipe: Recipe, tmp_path: Path) -> None:
    short = compose_points(recipe, ["weights=math:1,rules:0.25;math:1,rules:1", "aggregation=[weighted_sum,product]"])
    assert list(short) == [
        "math1_rules0.25-weighted_sum", "math1_rules0.25-product", "math1_rules1-weighted_sum", "math1_rules1-product",
    ]  # fmt: skip
    assert short["math1_rules0.25-product"].rewards.components["rules"].weight == 0.25
    file = tmp_path / "mine.yaml"
    file.write_text("weights: [{math: 1, rules: 0.25}, {math: 1, rules: 1}]\naggregation: [weighted_sum, product]\n")
    assert compose_points(recipe, [f"ablation={file}"]) == short
    halves = "simplex={components: [math, rules], steps: 2}"
    assert list(compose_points(recipe, [halves, "rewards.scale=none,group"])) == [
        f"math{m}_rules{r}, scale={scale}" for scale in ("none", "group") for m, r in ((0, 1), (0.5, 0.5), (1, 0))
    ]  # fmt: skip
    assert list(compose_points(recipe, ["rewards.aggregation=product"])) == ["aggregation=product"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("rewards.scale=none",), "has 2 GRPO stages; name one of them after it: grpo[plain], grpo[other]"),
        (("plane", "rewards.scale=none"), r"plane: the run has no such stage (did you mean 'plain'?)"),
        (("plain",), "give at least one other reward"),
        (("plain", "rewards.components.rule.weight=1"), "rule: there is no such key (did you mean 'rules'?)"),
        (("plain", "rewards.components.rules.scope=response"), "rules.scope: the recorded scores depend on it"),
        (("plain", "grpo.temperature=0.5"), "grpo.temperature=0.5: overrides more than rewards.*"),
        (("plain", "rewards=composite"), "write keys of the recipe; options of groups are chosen before a run"),
        (("plain", "weights=maths:1"), "no component is named 'maths' (did you mean 'math'?)"),
        (("plain", "ablation=rlcf"), "there is no such option (did you mean 'rlcf_weights'?), nor such a file"),
        (("plain", "near=wide", "rewards.scale=none"), "near: 'wide' is not a number"),
        (("plain", "other", "rewards.scale=none"), "'other': name one stage at most"),
        (("plain", "plugins=[my_lab.no_such]", "rewards.scale=none"), "plugins: there is no module 'my_lab.no_such'"),
        (("plain", "plugins=my lab", "rewards.scale=none"), "plugins: 'my lab' is not a list of modules"),
        (("plain", "near=2", "rewards.scale=none"), "near: '2' is not a cosine"),
    ],
)
def test_what_cannot_be_meant_is_named(
    arguments: tuple[str, ...], reason: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in said(capsys, str(run), *arguments)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"weights: [{math: 1}", "mine.yaml: is not valid YAML"),
        (b"\xff\xfe\x00", "mine.yaml: is not valid YAML"),
        (b"- math", "mine.yaml: holds no keys of an ablation"),
        (b"weigths: [{math: 1}]", "weigths"),
    ],
    ids=["open bracket", "not UTF-8", "a list", "unknown key"],
)
def test_a_file_that_is_not_an_ablation_is_named(
    content: bytes, reason: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    assert reason in said(capsys, str(run), "plain", f"ablation={tmp_path / 'mine.yaml'}")


def test_a_folder_without_rollouts_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is neither a run nor a stage" in said(capsys, str(tmp_path), "rewards.scale=none")
    assert "name the run first" in said(capsys, "rewards.scale=none")
    assert main(["reweight", "--help"]) == 0
