"""What a user reads who mistypes a recipe: the dotted key, the nearest known word, what to do."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType

import pytest

from adhere.rewards.errors import ConfigError, DataError
from adhere.train.config.compose import compose_recipe, compose_variants
from adhere.train.run.run import plan_run

UNKNOWN = {
    "recipe=quickstrat": ["recipe=quickstrat", "did you mean 'quickstart'?", "smollm2_gsm8k"],
    "model=tinny": ["model=tinny", "did you mean 'tiny'?"],
    "debug=smok": ["debug=smok", "did you mean 'smoke'?"],
    "recipee=quickstart": ["recipee", "did you mean 'recipe'?"],
    "sead=1": ["sead", "did you mean 'seed'?"],
    "rewards.components.checklist.judge.base_url=x": ["checklist.judge is null and has no keys; give it whole"],
    "rewards.components.math.weight.schedule=linear": ["math.weight is 1", "give it whole"],
    "rewards.components.rating.kind=judge": ["+rewards.components.NAME={kind: ...} adds a component"],
    "grpo.learning_rat=1": ["grpo.learning_rat", "did you mean 'learning_rate'?"],
    "+grpo.learning_rat=1": ["grpo.learning_rat", "did you mean 'learning_rate'?"],
    "model.adapter.rnak=2": ["model.adapter.rnak", "did you mean 'rank'?"],
    "evaluation.sampling.temprature=1": ["evaluation.sampling.temprature", "did you mean 'temperature'?"],
    "data.train=[{generator: chain_sum, sise: 10}]": ["data.train.0.sise", "did you mean 'size'?"],
    "data.constraints.ids=[punctuation:no_coma]": ["data.constraints.ids", "did you mean 'punctuation:no_comma'?"],
    "rewards.components.maths.weight=1": ["rewards.components.maths", "did you mean 'math'?"],
    "+rewards.components.maths.weight=1": ["rewards.components.maths", "did you mean 'math'?"],
    "++rewards.components.math.timout=3": ["rewards.components.math.timout", "did you mean 'timeout'?"],
    "+rewards.components.mine={kind: python, function: 'no_lab.rewards:f'}": [
        "rewards.components.mine.function: there is no module 'no_lab.rewards'",
    ],
    "+rewards.components.mine={kind: python, function: 'os.path:join', parms: {}}": [
        "rewards.components.mine.parms: there is no such key (did you mean 'params'?)",
    ],
    "+rewards.components.mine={kind: reward_model, model: /no/where}": [
        "rewards.components.mine.model: there is no model at '/no/where'",
    ],
    "+rewards.components.mine={kind: http, url: 'host/score'}": ["rewards.components.mine.url: "],
    "+rewards.components.style={kind: formt}": ["rewards.components.style.kind", "did you mean 'format'?"],
    "rewards.components.checklist.gate=maths": ["rewards.components.checklist.gate", "did you mean 'math'?"],
    "+grpo.trl.num_iteration=2": ["grpo.trl.num_iteration", "did you mean 'num_iterations'?"],
    "+sft.trl.paking=true": ["sft.trl.paking", "did you mean 'packing'?"],
}

IMPOSSIBLE = {
    "grpo=[1]": ["grpo=[1]: grpo takes names of options; there are default"],
    "rewards=[composite,2]": ["rewards takes names of options; there are composite"],
    "launcher={a: 1}": ["launcher={a: 1}: launcher takes the name of an option", "launcher.KEY=VALUE"],
    "arms=[3]": ["arms: is a map, and a list was given; set its keys: arms.KEY=VALUE"],
    "grpo.held_out=[1]": ["grpo.held_out: is a map, and a list was given"],
    "rewards.components.math=3": ["rewards.components.math: 3 is not a component; set one of its keys, such as weight"],
    "+rewards.components.mine=[math]": ["rewards.components.mine: ['math'] is not a component", "{kind: ...}"],
    "grpo.group_size=7": ["grpo.group_size: 7 does not divide the 64 completions", "grpo.gradient_accumulation"],
    "grpo.max_completion_length=200": ["grpo.max_completion_length: 200", "model.context 256", "lower"],
    "evaluation.sampling.max_new_tokens=200": ["evaluation.sampling.max_new_tokens: 200", "model.context 256"],
    "rewards.components.math.weight=-1": ["rewards.components.math.weight", "got -1"],
    "rewards.components.checklist.gate=checklist": ["rewards.components.checklist.gate", "cannot gate itself"],
    "rewards.components.length.target=2000": ["rewards.components.length", "below maximum 1024"],
    "rewards.aggregation=sum": ["rewards.aggregation", "there is no aggregation 'sum'", "weighted_sum"],
    "launcher.processes=2": ["launcher.strategy", "strategy=ddp"],
    "stages=[sft,sft]": ["stages", "'sft' comes twice", "again: {kind: sft}"],
    "stages=[]": ["stages", "at least one"],
    "stages=[sft,gpro]": ["stages", "gpro.kind", "did you mean 'grpo'?", "plugins"],
    "stages=sft": ["stages", "a list of kinds"],
    "stages=[3]": ["stages", "an entry is a kind"],
    "stages={a: {kind: grpo, from: b}}": ["stages", "a.from", "there is no stage 'b'"],
    "stages={a: {kind: grpo, form: sft}}": ["stages.a.form", "did you mean 'from'?"],
    "stages={a: {kind: grpo, from: e}, e: {kind: evaluate}}": ["a.from", "'e' is of kind evaluate", "no weights"],
    "stages={a: {kind: grpo, from: b}, b: {kind: sft, from: a}}": ["a, b", "start from each other"],
    "stages={base: {kind: sft}}": ["base", "the recipe's own model"],
    "stages={a/b: {kind: sft}}": ["'a/b'", "leave out"],
    "stages={..: {kind: sft}}": ["'..'", "neither a letter nor a digit"],
    "stages=[{a: {kind: [sft]}}]": ["stages.a.kind", "valid string"],
    "stages={sft: {with: ['launcher=slurm']}}": ["sft.with", "launcher", "belongs to the whole run"],
    "stages={sft: {with: ['launcher.slurm.profile=gpu']}}": ["launcher.slurm.profile", "belongs to the whole run"],
    "stages={sft: {with: ['recipe=tiny_base']}}": ["sft.with", "recipe", "belongs to the whole run"],
    "stages={sft: {of: [base]}}": ["sft.of", "for stages of kind evaluate"],
    "stages={sft: {}, e: {kind: evaluate, from: sft}}": ["e.from", "of: [sft]"],
    "stages={evaluate: {of: [sft]}}": ["evaluate.of", "no stage 'sft'"],
    "stages={evaluate: {of: [base, base]}}": ["evaluate.of", "each once"],
    "stages={sft: {inputs: {models: [base]}}}": ["sft.inputs.models", "has no such input"],
    "stages={m: {kind: merge, inputs: {models: [base]}}}": ["m.inputs.models", "at least 2 stages"],
    "stages={m: {kind: merge}}": ["m.inputs.models", "at least 2 stages"],
    "stages={sft: {with: ['run.root=x']}}": ["sft.with", "belongs to the whole run"],
    "stages={sft: {with: ['~arms']}}": ["sft.with", "belongs to the whole run"],
    "evaluation=mathif": ["evaluation.path", "*.jsonl"],
    "evaluation.backend=openai": ["evaluation.base_url", "http://"],
    "grpo.max_steps=1.5": ["grpo.max_steps", "got 1.5"],
    "seed=": ["seed", "integer"],
    "seed": ["'seed'", "key=value"],
    "name=a=b": ["'name=a=b'", "quote"],
    "rewards=null": ["rewards=null", "options"],
    "data.train=[]": ["data.train", "at least 1"],
    "data.train=[{generator: chain_sum}]": ["data.train.0.size", "'chain_sum'"],
}


@pytest.mark.parametrize("override", UNKNOWN)
def test_an_unknown_word_is_named_with_the_nearest_one(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe([override])
    for part in UNKNOWN[override]:
        assert part in str(caught.value)


@pytest.mark.parametrize("override", IMPOSSIBLE)
def test_an_impossible_value_is_named_with_what_to_do(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe([override])
    for part in IMPOSSIBLE[override]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sft.tokens_per_microbatch=0", "Input should be 'auto' or greater than or equal to 1, got 0"),
        ("grpo.tokens_per_microbatch=-1", "Input should be 'auto' or greater than or equal to 1, got -1"),
        ("model.adapter.target_modules=3", "Input should be a valid string or a valid list, got 3"),
        ("sft.max_steps=x", "Input should be a valid integer, unable to parse string as an integer, got 'x'"),
    ],
)  # fmt: skip
def test_a_value_of_several_types_is_refused_in_one_line_under_its_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe(["recipe=quickstart", override])
    assert str(caught.value) == f"{override.partition('=')[0]}: {message}"


def test_a_list_in_place_of_one_of_its_types_is_named_by_its_key_alone() -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe(["recipe=quickstart", "model.adapter.target_modules=[3]"])
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "model.adapter.target_modules", "model.adapter.target_modules.0",
    ]  # fmt: skip


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compose_recipe(["grpo.group_size=7", "grpo.max_completion_length=200"])
    assert len(str(caught.value).splitlines()) == 2


def test_overrides_come_last_and_options_replace_a_group() -> None:
    recipe = compose_recipe(["strategy=ddp", "grpo.max_steps=3", "rewards.components.checklist.weight=0.25"])
    assert (recipe.launcher.strategy, recipe.launcher.processes) == ("ddp", 2)
    assert recipe.grpo.max_steps == 3
    assert recipe.rewards.components["checklist"].weight == 0.25


def test_a_field_of_trl_passes_and_a_component_may_be_added_and_removed() -> None:
    recipe = compose_recipe(["+grpo.trl.num_iterations=2", "+rewards.components.tidy={kind: format, weight: 0.5}"])
    assert recipe.grpo.trl == {"num_iterations": 2}
    assert recipe.rewards.components["tidy"].weight == 0.5
    assert "length" not in compose_recipe(["~rewards.components.length"]).rewards.components


def test_removing_a_component_that_gates_another_says_which() -> None:
    with pytest.raises(ConfigError, match=r"rewards\.components\.checklist\.gate: no component is named 'math'"):
        compose_recipe(["~rewards.components.math"])


def test_a_wrong_override_of_an_arm_names_the_arm(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"arms\.low: .*grpo\.learning_rat.*'learning_rate'"):
        plan_run([f"model.path={model_folder}", '+arms.low=["grpo.learning_rat=1"]'])


def test_variants_are_what_composing_each_of_them_gives() -> None:
    variants = {
        "weight": ["rewards.components.checklist.weight=0.25", "~arms"],
        "gate": ["rewards.components.checklist.gate=null", "grpo.seed=3"],
        "added": ["+grpo.trl.num_iterations=2", "+rewards.components.format={kind: format, weight: 0}"],
        "group": ["strategy=ddp", "debug=smoke"],
        "component": ["rewards.aggregation=product"],
    }
    found = compose_variants(["recipe=quickstart", "seed=4"], variants)
    assert found == {name: compose_recipe(["recipe=quickstart", "seed=4", *extra]) for name, extra in variants.items()}


def test_a_wrong_variant_is_named() -> None:
    with pytest.raises(ConfigError, match=r"arms\.b: grpo\.max_step: there is no such key.*max_steps"):
        compose_variants(["recipe=quickstart"], {"a": ["seed=1"], "b": ["grpo.max_step=3"]})


def test_an_overlay_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "torn.yaml").write_text("# @package _global_\nseed: [1\n")
    with pytest.raises(ConfigError, match=r"is not valid YAML: (?s:.*)torn.yaml"):
        compose_recipe([f"hydra.searchpath=[{tmp_path}]", "recipe=torn"])


@pytest.mark.parametrize(
    ("override", "write"),
    [
        ("~grpo", r"grpo\.KEY=VALUE"), ("~sft", r"sft\.KEY=VALUE"), ("~launcher", r"launcher\.KEY=VALUE"),
        ("~merge", r"merge\.KEY=VALUE"), ("~grpo.vllm", r"grpo\.vllm\.KEY=VALUE"),
        ("~grpo.max_steps", r"grpo\.max_steps=VALUE"), ("~data.constraints", r"data\.constraints=null"),
        ("grpo={}", r"grpo\.KEY=VALUE"),
        ("merge={}", r"merge\.KEY=VALUE"), ("grpo.vllm={}", r"grpo\.vllm\.KEY=VALUE"),
    ],
)  # fmt: skip
def test_no_override_puts_the_schemas_defaults_in_place_without_a_word(
    override: str, write: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(override)}: .*{write}"):
        compose_recipe(["recipe=quickstart", override])
    with pytest.raises(ConfigError, match=rf"arms\.a: {re.escape(override)}: .*{write}"):
        compose_variants(["recipe=quickstart"], {"a": ["~arms", override]})


@pytest.mark.parametrize(
    "override", ["~arms", "~rewards.components.checklist", "data.constraints=null", "merge.weights=[1,2]", "~debug"]
)
def test_what_falls_back_to_nothing_may_be_removed(override: str) -> None:
    compose_recipe(["recipe=quickstart", "debug=smoke", override])


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("option", "files"),
    [
        ("bomb", {"bomb": BOMB}),
        ("outer", {"bomb": BOMB, "outer": "defaults: [quickstart, bomb]\n"}),
        ("outer", {"bomb": BOMB, "outer": "defaults: [{/recipe: [quickstart, bomb]}]\n"}),
        ("loop", {"loop": "name: &a [*a]\n"}),
    ],
)
def test_a_file_of_nested_aliases_is_refused_before_it_is_expanded(
    option: str, files: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "recipe").mkdir()
    for name, text in files.items():
        (tmp_path / "recipe" / f"{name}.yaml").write_text(f"# @package _global_\n{text}", encoding="utf-8")
    wrong = "loop" if option == "loop" else "bomb"
    with pytest.raises(DataError, match=rf"recipe/{wrong}\.yaml: its aliases .* stand for more than"):
        compose_recipe([f"hydra.searchpath=[{tmp_path}]", f"recipe={option}"])


def test_aliases_that_stand_for_little_and_bombs_that_nobody_chooses_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "bomb.yaml").write_text(BOMB, encoding="utf-8")
    few = "# @package _global_\ndefaults: [quickstart]\ngrpo: {max_steps: &n 7}\nsft: {max_steps: *n}\n"
    (tmp_path / "recipe" / "few.yaml").write_text(few, encoding="utf-8")
    recipe = compose_recipe([f"hydra.searchpath=[{tmp_path}]", "recipe=few"])
    assert recipe.sft.max_steps == recipe.grpo.max_steps == 7


def test_a_variant_reaches_what_interpolates_it_and_no_other_variant() -> None:
    base = ["recipe=quickstart", "~arms", "sft.max_steps=${grpo.max_steps}", "+grpo.trl.top_k=3"]
    wanted = {"a": ["grpo.max_steps=3"], "b": ["sft.learning_rate=0.5"], "c": ["~grpo.trl.top_k", "seed=4"], "d": []}
    found = compose_variants(base, wanted)
    assert found == {name: compose_recipe([*base, *extra]) for name, extra in wanted.items()}
    assert (found["a"].sft.max_steps, found["b"].sft.max_steps, found["c"].grpo.trl) == (3, 60, {})


def test_variants_share_the_stages_that_were_checked_once() -> None:
    found = compose_variants(["recipe=quickstart"], {n: [f"seed={n}"] for n in range(3)}, "stage {}".format)
    assert found[0].stages is found[1].stages is found[2].stages
    other = compose_variants(["recipe=quickstart"], {0: ["stages=[sft]"], 1: ["seed=1"]}, "stage {}".format)
    assert (list(other[0].stages), list(other[1].stages)) == (["sft"], ["sft", "grpo", "evaluate"])


def test_an_override_crosses_few_functions_on_its_way_into_the_recipe(model_folder: Path) -> None:
    """Of those in compose.py and validate.py, each counted once; a reader follows this path."""
    given = ["recipe=quickstart", "~arms", f"model.path={model_folder}"]
    of_a_stage = "stages={sft: {with: ['sft.learning_rate=1e-5']}}"
    for overrides in ([*given, "sft.learning_rate=1e-5"], [*given, of_a_stage], [*given, "debug=smoke"]):
        crossed: set[str] = set()

        def count(frame: FrameType, event: str, _: object, crossed: set[str] = crossed) -> None:
            path, name = frame.f_code.co_filename, frame.f_code.co_name
            if event == "call" and path.endswith(("config/compose.py", "config/validate.py")) and name[0] != "<":
                crossed.add(name)

        sys.setprofile(count)
        try:
            compose_recipe(overrides)
        finally:
            sys.setprofile(None)
        assert "validate_recipe" in crossed and len(crossed) <= 12, sorted(crossed)
