"""``plan.json``: what is written is read again, an older one is understood, a damaged or newer one is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from adhere.records.artifact import Artifact
from adhere.records.names import slug
from adhere.records.plan import ModelRecord, Plan, StageRecord, read_plan, write_plan
from adhere.records.run import RunFolder, find_run
from adhere.rewards.errors import ConfigError, DataError
from adhere.train.cli import main


def stage(name: str, kind: str, arm: str, key: str, *, inputs: dict[str, str] | None = None) -> StageRecord:
    return StageRecord(f"{name}[{arm}]", name, kind, key, f"{kind}-{key}", inputs or {}, (arm,), 20, "adhere train")


def graph(*arms: str) -> Plan:
    """Return a plan of free names: each arm trains ``maths`` and ``again`` and measures both and the base."""
    stages: list[StageRecord] = []
    for arm in arms:
        stages += [
            stage("maths", "grpo", arm, f"m{arm}"),
            stage("again", "grpo", arm, f"a{arm}", inputs={"model": f"m{arm}"}),
        ]
    stages.append(stage("evaluate", "evaluate", arms[0], "eb"))
    for arm in arms:
        stages += [stage(f"evaluate {name}", "evaluate", arm, f"e{name[0]}{arm}") for name in ("maths", "again")]
    models = [ModelRecord("base", arms[0], "evaluate", None, "eb")]
    models += [ModelRecord(f"maths[{arm}]", arm, "evaluate", "maths", f"em{arm}") for arm in arms]
    models += [ModelRecord(arm, arm, "evaluate", "again", f"ea{arm}") for arm in arms]
    return Plan(tuple(stages), tuple(models), {arm: (arm.upper(), 0) for arm in arms}, "1.2")


def test_a_plan_is_read_as_it_was_written_with_its_arms_in_order(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", graph("z", "a"))
    found = read_plan(tmp_path / "plan.json")
    assert found == graph("z", "a")
    assert (list(found.points), found.arms) == (["z", "a"], ["z", "a"])
    assert json.loads((tmp_path / "plan.json").read_text())["schema"] == 3


SCHEMA_1: dict[str, Any] = {
    "stages": [
        {"label": "sft", "key": "s", "artifact": "sft-s", "inputs": {}, "arms": ["a", "b"], "steps": 4},
        {"label": "grpo[a]", "key": "g", "artifact": "grpo-g", "inputs": {"model": "s"}, "arms": ["a"], "steps": None},
        *(
            {"label": f"evaluate[{i}]", "key": f"e{i}", "artifact": f"evaluate-e{i}", "inputs": {}, "arms": arms}
            for i, arms in enumerate((["a", "b"], ["a", "b"], ["a"], ["b"]))
        ),
    ],
    "subjects": {"a": {"base": "e0", "grpo": "e2", "sft": "e1"}, "b": {"base": "e0", "grpo": "e3", "sft": "e1"}},
    "points": {},
}


def test_a_plan_of_the_version_before_is_understood(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(SCHEMA_1), encoding="utf-8")
    found = read_plan(tmp_path / "plan.json")
    assert [(s.name, s.kind, s.steps) for s in found.stages] == [("sft", "sft", 4), ("grpo", "grpo", None)] + [
        ("evaluate", "evaluate", None)
    ] * 4
    assert [model.name for model in found.models] == ["base", "sft", "a", "b"]
    assert found.adhere == ""


def test_status_of_a_run_of_the_version_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "old"
    run.mkdir()
    (run / "plan.json").write_text(json.dumps(SCHEMA_1), encoding="utf-8")
    done = tmp_path / "artifacts" / "sft-s"
    done.mkdir(parents=True)
    (done / "DONE").touch()
    assert main(["status", str(run)]) == 0
    out = capsys.readouterr().out
    assert "done      sft" in out and "to run    grpo[a]" in out and "1 of 6 stages done" in out


@pytest.mark.parametrize(
    "damage",
    [
        "{", "[]", "{}", '{"stages": {}, "models": []}', '{"stages": [{}], "subjects": {}}',
        '{"stages": [3], "models": []}', '{"stages": [], "models": [{"name": "x"}]}',
        '{"stages": [], "models": [], "points": {"a": {"point": "x"}}}', "\x00",
        json.dumps(SCHEMA_1 | {"stages": SCHEMA_1["stages"][1:]}),
        json.dumps(SCHEMA_1 | {"stages": SCHEMA_1["stages"][:-1]}),
        json.dumps(SCHEMA_1 | {"stages": [*SCHEMA_1["stages"], SCHEMA_1["stages"][0]]}),
        json.dumps(SCHEMA_1 | {"stages": [SCHEMA_1["stages"][0] | {"steps": "x"}, *SCHEMA_1["stages"][1:]]}),
        json.dumps(SCHEMA_1)[:-40],
    ],
)  # fmt: skip
def test_a_damaged_plan_is_one_error_for_every_command(tmp_path: Path, damage: str) -> None:
    (tmp_path / "plan.json").write_text(damage, encoding="utf-8")
    with pytest.raises(DataError, match=r"plan\.json: is damaged; the command that started the run writes it again"):
        read_plan(tmp_path / "plan.json")
    for command in ("status", "logs", "report", "export"):
        assert main([command, str(tmp_path), *(["--format=hf"] if command == "export" else [])]) == 2, command


def test_a_plan_of_a_later_version_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(SCHEMA_1 | {"schema": 4}), encoding="utf-8")
    with pytest.raises(DataError, match=r"has schema 4, this version of adhere reads up to 3"):
        read_plan(tmp_path / "plan.json")


def test_a_run_is_found_by_its_folder_and_no_other_is(tmp_path: Path) -> None:
    write_plan(RunFolder(tmp_path / "x").plan_file, graph("run"))
    assert find_run(str(tmp_path / "x")) == RunFolder(tmp_path / "x")
    with pytest.raises(ConfigError, match="there is no run of that name"):
        find_run(str(tmp_path))


def test_slugs_are_names_of_files() -> None:
    assert [slug(label) for label in ("grpo[composite]", "evaluate[a, b/c]", "weight=0.5,seed=1", "sft")] == [
        "grpo-composite", "evaluate-a,-b-c", "weight=0.5,seed=1", "sft",
    ]  # fmt: skip


def test_a_renamed_stage_leaves_no_link_behind_and_a_users_own_files_stay(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for plan in (graph("a"), Plan(tuple(replace(s, label=f"new {s.label}") for s in graph("a").stages))):
        run.record(plan)
        for record in plan.stages:
            artifact = Artifact(tmp_path / "artifacts" / record.artifact)
            artifact.path.mkdir(parents=True, exist_ok=True)
            run.link(record.label, artifact)
        if plan.models:  # the user's own: a file, a link of another name, and a link of ours that leads elsewhere now
            (run.stages / "notes.txt").write_text("x", encoding="utf-8")
            (run.stages / "favourite").symlink_to(tmp_path / "artifacts" / plan.stages[0].artifact)
            (run.stages / slug("again[a]")).unlink()
            (run.stages / slug("again[a]")).symlink_to(tmp_path)
    names = {"notes.txt", "favourite", slug("again[a]"), *(slug(f"new {s.label}") for s in graph("a").stages)}
    assert {path.name for path in run.stages.iterdir()} == names


def test_a_plan_without_a_stage_that_it_names_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no stage with the key nothing; the command .* writes it again"):
        graph("a").stage("nothing")


@pytest.mark.slow
def test_a_report_and_new_weights_of_a_run_of_the_version_before_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, artifact = tmp_path / "old", tmp_path / "artifacts" / "grpo-g"
    (run / "stages").mkdir(parents=True)
    artifact.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps(SCHEMA_1), encoding="utf-8")
    (run / "stages" / slug("grpo[a]")).symlink_to(artifact)
    recipe = {"name": "x", "stages": ["sft", "grpo", "evaluate"], "evaluation": {"subjects": ["base", "sft", "grpo"]}}
    recipe |= {"model": {"path": "m"}, "data": {"train": []}}
    spec = {"kind": "grpo", "label": "grpo[a]", "key": "g", "artifact": str(artifact), "inputs": {}, "recipe": recipe}
    (artifact / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    assert main(["reweight", str(run), "rewards.components.math.weight=0"]) == 2
    said = capsys.readouterr().err
    assert "stage.yaml: does not fit this version of adhere; plan the run again" in said and "subjects" in said
    code = main(["report", str(run), "--to", str(tmp_path / "report")])
    said = capsys.readouterr()
    assert code in (0, 2) and "Traceback" not in said.err, said
