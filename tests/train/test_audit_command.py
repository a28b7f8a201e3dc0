"""``adhere audit`` as a user calls it: exit codes, files, messages, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adhere.evaluation.audit import weight_settings
from adhere.prompts.item import read_items, write_items
from adhere.rewards.errors import ConfigError
from adhere.train.cli import main
from adhere.train.commands.audit import BARE, audited, sample_items
from adhere.train.config.compose import compose_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "items.jsonl"
    write_items(path, sample_items(compose_recipe(list(BARE)).data, 2))
    return path


@pytest.mark.slow
def test_the_default_passes_without_torch(prompts: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'trl'): sys.modules[name] = None\n"
        "from adhere.train.cli import main\n"
        f"sys.exit(main(['audit', 'recipe=quickstart', 'prompts={prompts}', '--out', {str(tmp_path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "audit passed" in done.stdout
    report = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert report["passed"] is True and len(read_items(prompts)) == 2


def test_a_composite_that_can_be_fooled_exits_with_1(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fooled = ["rewards.components.math.weight=0", "rewards.components.checklist.gate=null"]
    assert main(["audit", *fooled, f"prompts={prompts}", "items=1", f"out={tmp_path}"]) == 1
    printed = capsys.readouterr().out
    assert "the first 1 of 2 items are audited" in printed
    assert "audit failed on 1 prompts" in printed and "constraint_template" in printed
    assert "constraint_template" in (tmp_path / "audit.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sibling", "code", "said"),
    [
        ("safe", 0, "sdpo: its feedback tells the gold answer of none of 1 prompts"),
        ("always", 1, "sdpo: its feedback tells the gold answer of 1 of 1 prompts, first of"),
    ],
)
def test_feedback_that_tells_the_gold_answer_fails_the_audit(
    sibling: str, code: int, said: str, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"distill.sibling={sibling}", "items=1", f"prompts={prompts}", f"out={tmp_path}"]
    assert main(["audit", "recipe=sdpo", *words]) == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipe"], "write key=value"),
        (["items=0"], "items: '0'"),
        (["prompts="], "prompts: has no value"),
        (["itmes=3"], "did you mean 'items'?"),
        (["items=few"], "items: 'few' is not a whole number"),
        (["items=3.5"], "items: '3.5' is not a whole number"),
        (["step=none"], "step: 'none' is not a whole number"),
        (["out="], "out: has no value"),
        (["--out="], "out: has no value"),
        (["items=1", "items=0"], "items: '0'"),
        (["step=-1"], "step: '-1' is not an optimizer step"),
        (["order=maybe"], "order: 'maybe' is neither report nor fail"),
        (["rewards.componentz=1"], "there is no such key"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_a_recipe_every_family_is_asked_for() -> None:
    assert audited(["rewards=composite"]) == [*BARE, "rewards=composite"]
    assert audited(["recipe=quickstart"]) == ["recipe=quickstart"]
    items = sample_items(compose_recipe(list(BARE)).data, 40)
    assert len({r.check.constraint for item in items for r in item.checklist}) >= 12


RAMP = ["rewards.components.math.weight={schedule: linear, start: 0, end: 1, over: 1}"]


def test_a_schedule_is_audited_from_its_first_step_on(
    prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*RAMP, "rewards.components.checklist.gate=null", f"prompts={prompts}", "items=1", f"out={tmp_path}"]
    assert main(["audit", *given]) == 1
    assert "(at step 0)" in capsys.readouterr().out
    assert json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))["failures"][0]["step"] == 0
    assert main(["audit", *given, "step=200", "grpo.max_steps=300"]) == 0
    assert main(["audit", *given, "step=300", "grpo.max_steps=300"]) == 2
    assert "grpo.max_steps is 300" in capsys.readouterr().err


def test_the_audited_steps_are_where_weights_change() -> None:
    stepped = "rewards.components.checklist.weight={schedule: step, values: [[0, 0.5], [0.5, 2]]}"
    many = ", ".join(f"[{at}, {at + 1}]" for at in range(50))
    of = {
        name: weight_settings(compose_recipe([*BARE, given]).rewards, 100)
        for name, given in {
            "stepped": stepped,
            "many": f"rewards.components.checklist.weight={{schedule: step, unit: steps, values: [{many}]}}",
            "ramp": RAMP[0],
            "constant": "rewards.components.checklist.weight=1",
        }.items()
    }
    assert list(of["stepped"]) == [0, 50]
    assert len(of["many"]) <= 16 and {0, 99} <= set(of["many"])
    assert list(of["ramp"]) == [0, 99] and list(of["constant"]) == [0]


def test_a_step_that_pays_nothing_is_named() -> None:
    recipe = compose_recipe([*BARE, *RAMP, "rewards.components.checklist.weight=0"])
    with pytest.raises(ConfigError, match="every weight is 0 at step 0"):
        weight_settings(recipe.rewards, 100, 0)


def test_help_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--help"]) == 0
    assert "Usage: adhere audit" in capsys.readouterr().out
