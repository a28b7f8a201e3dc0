"""A ladder of requirements, and the admission of groups: what prompts ask for, who climbs, and who is trained on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from attempts import differences, logged, prepare, step_by_step, whole

from adhere.evaluation.reweight import read_rollouts
from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.records.artifact import REHEARSAL
from adhere.records.tables import read_rollout_files, rollout_files
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import AdmissionConfig, LadderConfig
from adhere.train.run.run import plan_run
from adhere.train.stages.data import grpo_dataset
from adhere.train.stages.grpo_trainer import refused_groups
from adhere.train.stages.ladder import Ladder, all_met, rungs

LEARNS = [
    "stages=[grpo]", "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null", "grpo.temperature=2",
    "data.constraints.count=[0,1]",
]  # fmt: skip
SHUFFLED = "data.train=[{generator:basic_arithmetic,size:96,seed:1},{generator:chain_sum,size:96,shuffled:true}]"
THREE = [
    {"id": "1", "text": "Use no comma.", "check": {"constraint": "punctuation:no_comma"}},
    {"id": "2", "text": "Write in small letters.", "check": {"constraint": "change_case:english_lowercase"}},
    {"id": "3", "text": "Put it in quotes.", "check": {"constraint": "startend:quotation"}},
]


def item(answer: str | None = "5", placement: Any = "after") -> PromptItem:
    bare = PromptItem("i", ({"role": "user", "content": "What is 2+3?"},), answer)
    return with_constraints(bare, parse_checklist(THREE, where="test"), placement)


def texts(found: list[PromptItem]) -> list[str]:
    return [str(rung.messages[-1]["content"]) for rung in found]


def test_a_rung_asks_for_the_easiest_requirements_and_the_last_is_the_prompt_itself() -> None:
    whole_prompt = item()
    found = rungs(whole_prompt, LadderConfig(start=0))
    assert texts(found) == [
        "What is 2+3?",
        "What is 2+3? Use no comma.",
        "What is 2+3? Use no comma. Write in small letters.",
        "What is 2+3? Use no comma. Write in small letters. Put it in quotes.",
    ]
    assert found[-1] is whole_prompt
    assert [len(rung.checklist) for rung in found] == [0, 1, 2, 3]
    by_kind = rungs(whole_prompt, LadderConfig(start=1, order=["startend", "change_case:english_lowercase"]))
    assert texts(by_kind)[0] == "What is 2+3? Put it in quotes."
    assert texts(by_kind)[1] == "What is 2+3? Write in small letters. Put it in quotes.", "in the order of the prompt"
    assert texts(by_kind)[2] == texts([whole_prompt])[0]


@pytest.mark.parametrize(
    ("answer", "start", "asked"),
    [("5", 0, [0, 1, 2, 3]), (None, 0, [1, 2, 3]), ("5", 2, [2, 3]), ("5", 3, [3]), ("5", 9, [3])],
)
def test_a_prompt_without_an_answer_keeps_a_requirement(answer: str | None, start: int, asked: list[int]) -> None:
    assert [len(rung.checklist) for rung in rungs(item(answer), LadderConfig(start=start))] == asked


@pytest.mark.parametrize("placement", ["before", "system", "list", "woven", "repeated"])
def test_requirements_elsewhere_climb_behind_the_question_to_the_prompt_as_it_was_built(placement: str) -> None:
    whole_prompt = item(placement=placement)
    found = rungs(whole_prompt, LadderConfig(start=0))
    assert texts(found)[:2] == ["What is 2+3?", "What is 2+3? Use no comma."]
    assert found[-1] is whole_prompt


def example(config: LadderConfig) -> dict[str, Any]:
    return dict(grpo_dataset([item()], 1, None, config)[0])


@pytest.mark.parametrize(
    ("progress", "until", "asked"),
    [(0.0, 0.8, 0), (0.19, 0.8, 0), (0.2, 0.8, 1), (0.4, 0.8, 2), (0.6, 0.8, 3), (1.0, 0.8, 3), (0.0, 0.0, 3)],
)
def test_with_a_schedule_prompts_climb_in_equal_shares_of_training(progress: float, until: float, asked: int) -> None:
    config = LadderConfig(start=0, until=until)
    row = Ladder(config).place(example(config), progress)
    assert len(json.loads(row["checklist"])) == asked
    assert (row["answer"], row["item_id"]) == ("5", "i")


def rollout(**given: Any) -> dict[str, Any]:
    return {"item_id": "i", "decided": True, "correct": True, "followed": True, "requirements": [{}]} | given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, True),
        ({"correct": False}, False),
        ({"followed": False}, False),
        ({"correct": None}, True),
        ({"followed": None, "requirements": []}, True),
        ({"followed": None}, False),
        ({"decided": False}, False),
        ({"correct": None, "followed": None, "requirements": []}, False),
    ],
)
def test_a_rollout_passes_where_all_that_was_asked_is_known_to_be_met(given: dict[str, Any], expected: bool) -> None:
    assert all_met(rollout(**given)) is expected


def test_a_prompt_climbs_only_after_a_whole_group_passed() -> None:
    config = LadderConfig(start=1, rise="pass")
    ladder = Ladder(config)

    def asked() -> int:
        return len(json.loads(ladder.place(example(config), 1.0)["checklist"]))

    assert asked() == 1, "training alone does not climb"
    ladder.observe([rollout(), rollout(followed=False)], 2)
    assert asked() == 1
    ladder.observe([rollout(item_id="other")] * 2, 2)
    assert asked() == 1
    assert ladder.observe([rollout()] * 2, 2) == 1.0
    assert asked() == 2
    for _ in range(5):
        ladder.observe([rollout()] * 2, 2)
    assert asked() == 3, "the last rung is the whole prompt"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["grpo.exact_trl=true", "grpo.ladder.start=1"], "grpo.ladder.start: changes the prompts"),
        (["grpo.exact_trl=true", "grpo.admission.spread=0.1"], "grpo.admission: changes advantages"),
        (["grpo.exact_trl=true", "grpo.admission.distinct=3"], "grpo.admission: changes advantages"),
        (["grpo.ladder.start=1", SHUFFLED], "grpo.ladder.start: asks for requirements that a prompt is scored by"),
        (["grpo.relabel.advantage=1", SHUFFLED], "grpo.relabel.advantage: asks for requirements that a prompt is"),
        (["grpo.ladder.start=1", "grpo.ladder.order=[punktuation]"], "grpo.ladder.order: there is no constraint"),
        (
            ["grpo.ladder.start=1", "grpo.relabel.advantage=1"],
            "grpo.relabel.advantage: replays prompts by what was met",
        ),
        (
            ["grpo.ladder.start=1", "grpo.curriculum.every=5"],
            "grpo.curriculum.every: orders prompts by the rates of all",
        ),
    ],
)
def test_what_cannot_work_is_refused_while_planning(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_run(["~arms", "stages=[grpo]", f"run.root={tmp_path}", *overrides])
    assert plan_run(["~arms", "stages=[grpo]", f"run.root={tmp_path}", overrides[0].replace("=true", "=false")])


def test_both_are_off_by_default() -> None:
    grpo = compose_recipe([]).grpo
    assert (grpo.ladder.start, grpo.admission.spread, grpo.admission.distinct) == (None, 0.0, 2)


@pytest.mark.slow
def test_a_ladder_that_is_climbed_at_once_is_plain_training_and_a_low_one_asks_for_less(tmp_path: Path) -> None:
    plain, climbed, low = (
        prepare(tmp_path / name, *LEARNS, *words)
        for name, words in (
            ("plain", []),
            ("climbed", ["grpo.ladder.start=0", "grpo.ladder.until=0.0"]),
            ("low", ["grpo.ladder.start=0", "grpo.ladder.until=1.0"]),
        )
    )
    for artifact in (plain, climbed, low):
        whole(artifact)
    assert [line for line in differences(plain, climbed) if "ladder/" not in line] == []
    asked = [row["ladder/requirements"] for row in logged(low) if "ladder/requirements" in row]
    assert asked[0] == 0.0 and asked == sorted(asked)
    assert any(line.startswith("weights") for line in differences(plain, low))


@pytest.mark.slow
def test_a_rehearsal_asks_for_what_training_asks_for_first(tmp_path: Path) -> None:
    ladders = {"lowest": ["grpo.ladder.start=0"], "climbed": ["grpo.ladder.start=0", "grpo.ladder.until=0.0"]}
    kinds = {}
    for name, words in ladders.items():
        artifact = prepare(tmp_path / name, *LEARNS[1:], "stages=[rehearse]", "rehearse.groups=6", *words)
        whole(artifact)
        kinds[name] = json.loads((artifact.path / REHEARSAL).read_text(encoding="utf-8"))["kinds"]
    assert kinds["lowest"] == {} != kinds["climbed"]


def test_what_a_rehearsal_draws_from_is_in_its_key(tmp_path: Path) -> None:
    def key(*words: str) -> str:
        (stage,) = plan_run(["~arms", "stages=[rehearse]", f"run.root={tmp_path}", *words]).graph.stages.values()
        return stage.key

    assert len({key(), key("grpo.ladder.start=0"), key("grpo.ladder.start=1"), key("grpo.imitation.weight=1")}) == 4
    assert key() == key("grpo.ladder.until=0.5") == key("grpo.imitation.rows=3")


@pytest.mark.slow
def test_what_prompts_have_climbed_survives_an_interruption(tmp_path: Path) -> None:
    # The base obeys without being asked for an answer: groups pass as a whole, and some rollouts of others do not.
    source = "data.train=[{generator:basic_arithmetic,size:4,seed:1,verified:false}]"
    ladder = ["grpo.ladder.start=1", "grpo.ladder.rise=pass", "grpo.max_steps=4", "grpo.temperature=0.7"]
    words = [*LEARNS, source, *ladder, "data.train_size=4", "grpo.max_completion_length=72"]
    one, other = prepare(tmp_path / "whole", *words), prepare(tmp_path / "steps", *words)
    whole(one)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []
    asked = [row["ladder/requirements"] for row in logged(one) if "ladder/requirements" in row]
    assert asked[0] == 1.0 < max(asked), "prompts come again, and some had climbed"


@pytest.mark.parametrize(
    ("rewards", "spread", "distinct", "refused"),
    [
        ([1.0, 1.0, 1.0], 0.0, 2, True),
        ([1.0, 1.0, 0.9], 0.0, 2, False),
        ([1.0, 1.0, 0.75], 0.25, 2, True),
        ([1.0, 1.0, 0.7], 0.25, 2, False),
        ([1.0, 1.0, 0.0], 0.0, 3, True),
        ([1.0, 0.5, 0.0], 0.0, 3, False),
        ([1.0, 0.5, 0.0], 0.5, 2, True),  # neighbours within the spread count as one reward
        ([math.nan, 1.0, 1.0], 0.0, 2, True),
        ([math.nan, 1.0, 0.5], 0.0, 2, False),
        ([math.nan, 1.0, 0.5], 0.0, 3, True),  # what was not scored is no reward
        ([math.nan, math.nan, math.nan], 0.0, 2, True),
        ([math.nan, math.nan, 1.0], 0.0, 2, True),
    ],
)
def test_which_groups_are_refused(rewards: list[float], spread: float, distinct: int, refused: bool) -> None:
    config = AdmissionConfig(spread=spread, distinct=distinct)
    assert refused_groups(torch.tensor([rewards]), config).tolist() == [refused]


@pytest.mark.slow
@pytest.mark.parametrize("admission", ["spread=100", "distinct=5"])
def test_refused_groups_are_refilled_and_are_not_live(tmp_path: Path, admission: str) -> None:
    words = ["grpo.refill=true", "grpo.refill_rounds=1", "grpo.learning_rate_follows=live_share", "grpo.max_steps=2"]
    artifact = prepare(tmp_path, *LEARNS, f"grpo.admission.{admission}", *words)
    whole(artifact)
    found = [row for row in logged(artifact) if "live_share" in row]
    assert [row["live_share"] for row in found] == [0.0, 0.0]
    assert all(row["refill/groups_drawn"] == 2 * row["refill/groups_flat"] > 0 for row in found)


@pytest.mark.slow
@pytest.mark.parametrize("admission", ["spread=100", "distinct=5"])
def test_groups_that_are_not_admitted_have_no_advantage(tmp_path: Path, admission: str) -> None:
    """Four rollouts a group: none has five different rewards, and none differs by 100; so nothing is trained."""
    artifact = prepare(tmp_path, *LEARNS, f"grpo.admission.{admission}", "grpo.max_steps=2")
    whole(artifact)
    rows = read_rollout_files(rollout_files(artifact.rollouts))
    assert set(rows["advantage"].to_pylist()) == {0.0}
    refused = [row["admission/refused"] for row in logged(artifact) if "admission/refused" in row]
    assert max(refused) > 0.0
    assert read_rollouts(artifact.rollouts, ["math", "checklist"], 4)
