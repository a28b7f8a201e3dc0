"""``adhere rehearse`` as a user runs it: real drawing from a real model, a second look for nothing, clear refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import ONE_ARM, REPOSITORY, SMALL, stage

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.compose import compose_recipe
from adhere.train.run.graph import order
from adhere.train.run.rehearsed import check_signal, rehearsal_of
from adhere.train.run.run import plan_rehearsal, plan_run

KEYS = {"groups", "live_groups", "zero_gradient_share", "components", "kinds", "alternatives", "verdict"}


def run(command: str, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    first = [word for word in words if "=" not in word and word[0] != "~"]
    rest = [word for word in words if word not in first]
    call = [sys.executable, "-m", "adhere.train.cli", command, *first, *SMALL, f"run.root={root}", *rest]
    return subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.slow
def test_a_rehearsal_is_drawn_once_shown_in_plan_and_followed_by_training(tmp_path: Path) -> None:
    words = [*ONE_ARM, "stages=[sft,grpo]", "rehearse.groups=6", "grpo.require_signal=stop"]
    refused = run("train", tmp_path, *words)
    assert refused.returncode != 0 and "was not rehearsed" in refused.stderr
    done = run("rehearse", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "artifacts").glob("rehearse-*/rehearsal.json")
    found = json.loads(file.read_text())
    assert set(found) >= KEYS and found["groups"] == 6
    assert {"rate", "spread", "spread_gated", "advantage_share"} <= set(found["components"]["math"])
    assert all({"rollouts", "rate", "spread"} <= set(kind) for kind in found["kinds"].values())
    assert found["verdict"]["sentence"] in done.stdout.replace("\n", " ")
    # The prompts are those that training takes first, in its order.
    logged = [json.loads(line)["id"] for line in (file.parent / "responses.jsonl").read_text().splitlines()[1:]]

    again = run("rehearse", tmp_path, *words)
    assert "nothing to do" in again.stdout and str(file) in again.stdout.replace("\n", "")
    assert found["verdict"]["sentence"] in run("plan", tmp_path, *words).stdout

    trained = run("train", tmp_path, *words, f"grpo.require_signal={'warn'}")
    assert trained.returncode == 0, trained.stderr
    import pyarrow.parquet as pq

    rollouts = pq.read_table(stage(tmp_path, "grpo") / "rollouts" / "step_000000.parquet").to_pylist()
    assert (
        list(dict.fromkeys(row["item_id"] for row in rollouts)) == logged[: len({row["item_id"] for row in rollouts})]
    )
    spec = (stage(tmp_path, "grpo") / "stage.yaml").read_text()
    assert f"- {found['live_groups']}\n- 6\n" in spec

    # Each change composes with the recipe.
    for change in found["verdict"]["changes"]:
        compose_recipe([*SMALL, *ONE_ARM, *change["overrides"]])
    done = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", "reweight", str(file.parent), "rewards.components.math.weight=2"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    level = found["verdict"] | {"level": "does not teach"}
    file.write_text(json.dumps(found | {"verdict": level}))
    planned = plan_run([*SMALL, *words, f"run.root={tmp_path}"])
    grpo = next(s for s in order(planned.graph) if s.kind == "grpo")
    with pytest.raises(StageError, match="its rehearsal says"):
        check_signal(planned.root, grpo)
    shutil.rmtree(file.parent)
    assert rehearsal_of(planned.root, grpo) is None


@pytest.mark.slow
def test_a_rehearsal_leaves_the_keys_of_training_alone(tmp_path: Path) -> None:
    words = [*SMALL, f"run.root={tmp_path}"]
    rehearsed, trained = plan_rehearsal(words), plan_run(words)
    assert [s.kind for s in order(rehearsed.graph)] == ["sft", "rehearse", "rehearse"]
    assert {k for k, s in rehearsed.graph.stages.items() if s.kind == "sft"} <= set(trained.graph.stages)
    assert [s.label for s in order(rehearsed.graph)][1:] == ["rehearse[math_only]", "rehearse[composite]"]
    (one,) = (s for s in order(plan_rehearsal(words, "composite").graph) if s.kind == "rehearse")
    assert one.key == order(rehearsed.graph)[2].key
    assert plan_rehearsal([*words, "rehearse.groups=5"]).graph.stages.keys() != rehearsed.graph.stages.keys()
    assert plan_run([*words, "rehearse.groups=5"]).graph.stages.keys() == trained.graph.stages.keys()
    assert plan_run([*words, "grpo.require_signal=off"]).graph.stages.keys() == trained.graph.stages.keys()


def test_named_stages_are_rehearsed_from_where_they_start(tmp_path: Path) -> None:
    named = (
        "stages={sft: {}, maths: {kind: grpo, from: sft, with: ['rewards.components.checklist.weight=0']}, "
        "again: {kind: grpo, from: maths}}"
    )
    words = [*SMALL, *ONE_ARM, f"run.root={tmp_path}", named]
    graph = plan_rehearsal(words, "maths").graph
    assert [s.label for s in order(graph)] == ["sft", "rehearse_maths"]
    assert order(graph)[1].recipe.rewards.components["checklist"].weight == 0
    assert [s.label for s in order(plan_rehearsal(words, "again").graph)] == ["sft", "maths", "rehearse_again"]
    chain = plan_run([*SMALL, *ONE_ARM, f"run.root={tmp_path}", "stages=[sft,rehearse,grpo]"])
    assert not chain.rehearsal, "it trains, so runs/latest names it"
    assert [s.label for s in order(chain.graph)] == ["sft", "rehearse", "grpo"]
    assert order(chain.graph)[1].source == order(chain.graph)[0].key


@pytest.mark.parametrize(
    ("words", "wanted", "message"),
    [(["stages=[sft]"], None, "no GRPO stage"), ([], "compost", "no GRPO stage 'compost'.*did you mean 'composite'")],
)
def test_what_cannot_be_rehearsed(tmp_path: Path, words: list[str], wanted: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_rehearsal([*SMALL, f"run.root={tmp_path}", *words], wanted)


@pytest.mark.slow
def test_more_groups_than_prompts_are_refused_before_the_model_loads(tmp_path: Path) -> None:
    done = run("rehearse", tmp_path, *ONE_ARM, "stages=[grpo]", "rehearse.groups=1000")
    assert done.returncode != 0 and "rehearse.groups: 1000 groups need as many prompts, and there are" in done.stderr


@pytest.mark.slow
def test_a_policy_that_never_stops_is_rehearsed_and_said_to_teach_nothing(tmp_path: Path) -> None:
    words = [*ONE_ARM, "stages=[grpo]", "rehearse.groups=4", "grpo.max_completion_length=2", "rehearse.live_groups=3"]
    done = run("rehearse", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "artifacts").glob("rehearse-*/rehearsal.json")
    found = json.loads(file.read_text())
    assert found["cut"] == 1.0 and found["zero_gradient_share"] == 1.0
    verdict = found["verdict"]
    assert verdict["sentence"].startswith("does not teach: 100% of the completions were cut at 2 tokens")
    assert "of the 3 wanted, which no batch is expected to have" in verdict["sentence"]
    assert verdict["changes"][0]["overrides"] == ["grpo.max_completion_length=4"]


@pytest.mark.slow
def test_with_a_judge_that_is_down_what_was_drawn_is_kept_and_nothing_is_concluded(tmp_path: Path) -> None:
    judge = "{base_url: 'http://127.0.0.1:9', model: m, patience: 0, retries: 0, timeout: 2}"
    words = [
        *ONE_ARM, "stages=[grpo]", "rehearse.groups=4",
        f"+rewards.components.rating={{kind: judge, weight: 0.5, gate: null, judge: {judge}}}",
    ]  # fmt: skip
    failed = run("rehearse", tmp_path, *words)
    assert failed.returncode != 0
    assert "what was drawn is kept, and the same command scores it again" in failed.stderr + failed.stdout
    assert not list((tmp_path / "artifacts").glob("rehearse-*/rehearsal.json"))
    (log,) = (tmp_path / "artifacts").glob("rehearse-*/responses.jsonl")
    drawn = log.read_text()
    assert run("rehearse", tmp_path, *words).returncode != 0
    assert log.read_text() == drawn, "nothing is drawn twice"


def test_prompts_that_do_not_fill_a_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not divide the 8 completions of a step"):
        plan_rehearsal([*SMALL, *ONE_ARM, f"run.root={tmp_path}", "grpo.group_size=3"])
