"""Suites: MathIF's files as they are, any file of prompts, twins without constraints."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from adhere.evaluation.floors import score_floors
from adhere.evaluation.metrics import summarise
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import BAD_GOLD, UNSATISFIABLE, mathif, prompt_file, prompt_suite
from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem, write_items
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.errors import ConstraintError, DataError

MATHIF = Path(__file__).parents[2] / "../shared/data/mathif"


def mathif_row(**changes) -> dict:
    return {
        "source": "toy/maths",
        "id": "same",
        "question": "What is 2+2, please?",
        "answer": "4",
        "constraint_desc": ["Use no commas.", "Repeat the request."],
        "constraint_name": ["punctuation:no_comma", "combination:repeat_prompt"],
        "constraint_args": [None, {"prompt_to_repeat": "What is 2+2, please?"}],
    } | changes


def write(folder: Path, name: str, rows: list[dict]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n", encoding="utf-8")


def test_mathif_prompts_are_joined_as_the_official_runner_joins_them(tmp_path):
    write(tmp_path, "toy_double.jsonl", [mathif_row()])
    (item,) = mathif(tmp_path).items
    assert item.messages == (
        {
            "role": "user",
            "content": "What is 2+2, please?"
            "Let's think step by step and output the final answer within \\boxed{}."
            "Use no commas. Repeat the request.",
        },
    )
    assert [r.check.constraint for r in item.checklist] == [
        "punctuation:no_comma",
        "combination:repeat_prompt",
    ]
    (twin,) = mathif(tmp_path).twins()
    assert twin.messages[0]["content"].endswith("within \\boxed{}.")
    assert (twin.checklist, twin.answer, twin.meta["twin_of"]) == ((), "4", item.id)


def test_mathif_rows_are_told_apart_by_file_and_row_and_faults_are_flagged(tmp_path):
    write(tmp_path, "b.jsonl", [mathif_row(), mathif_row(question="2+2?", answer="\\frac{")])
    write(tmp_path, "a.jsonl", [mathif_row()])
    suite = mathif(tmp_path)
    assert [item.id for item in suite.items] == ["a:0", "b:0", "b:1"]
    assert suite.flags[UNSATISFIABLE] == ("a:0", "b:0", "b:1")
    assert suite.flags[BAD_GOLD] == ("b:1",)
    assert [item.id for item in mathif(tmp_path, ["b"], limit=1).items] == ["b:0"]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"constraint_desc": ["one"]}, DataError, "1 constraint_desc"),
        ({"constraint_args": None}, DataError, "have to be lists"),
        ({"constraint_desc": [1, 2]}, DataError, "not a text"),
        ({"constraint_name": ["no", "combination:repeat_prompt"]}, ConstraintError, "constraint_args[0]"),
    ],
)
def test_a_broken_mathif_row_names_file_and_line(tmp_path, changes, error, says):
    write(tmp_path, "toy.jsonl", [mathif_row(), mathif_row(**changes)])
    with pytest.raises(error) as caught:
        mathif(tmp_path)
    assert "toy.jsonl:2" in str(caught.value) and says in str(caught.value)


def test_missing_folders_and_subsets_are_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        mathif(tmp_path / "none")
    with pytest.raises(DataError, match=r"no \*\.jsonl"):
        mathif(tmp_path)
    write(tmp_path, "gsm8k_single.jsonl", [mathif_row()])
    with pytest.raises(DataError, match="did you mean 'gsm8k_single'"):
        mathif(tmp_path, ["gsm8k_singel"])


def test_any_prompt_file_is_a_suite_and_its_twins_lose_their_constraints(tmp_path):
    plain = PromptItem("p", ({"role": "user", "content": "2+2?\nBox it."},), "4", question="2+2?")
    asked = with_constraints(plain, [Requirement("c", "No commas.", RuleCheck("punctuation:no_comma"))])
    write_items(tmp_path / "mine.jsonl", [asked])
    suite = prompt_file(tmp_path / "mine.jsonl")
    assert suite.name == "mine" and suite.items[0].messages[0]["content"].endswith("Box it. No commas.")
    assert suite.twins()[0].messages[0]["content"] == "2+2?\nBox it."


def test_raw_rows_of_known_files_become_items(tmp_path):
    write(tmp_path, "gsm.jsonl", [{"question": "2+2?", "answer": "Add. 2+2=<<2+2=4>>4\n#### 4"}])
    write(tmp_path, "math.jsonl", [{"problem": "2+2?", "answer": "4", "solution": "Four."}])
    for name in ("gsm", "math"):
        (item,) = prompt_file(tmp_path / f"{name}.jsonl").items
        assert (item.question, item.answer, item.checklist) == ("2+2?", "4", ())


def test_two_items_of_one_id_are_refused():
    item = PromptItem("x", ({"role": "user", "content": "?"},), None)
    with pytest.raises(DataError, match="'x'"):
        prompt_suite("twice", [item, item])
    with pytest.raises(DataError, match="has no prompt items"):
        prompt_suite("none", [])
    half = replace(item, messages=({"role": "user", "content": "\ud800"},))
    with pytest.raises(DataError, match=rf"suite 'half': item '{item.id}': messages holds .*half of a character"):
        prompt_suite("half", [half])


@pytest.mark.slow
def test_published_floor_of_the_constant_zero(tmp_path):
    if not MATHIF.is_dir():
        pytest.skip("needs MathIF's files in ../shared/data/mathif")
    suite = mathif(MATHIF)
    assert len(suite.items) == 180
    assert len({item.id for item in suite.items}) == 180
    assert len(suite.flags[UNSATISFIABLE]) == 2
    floors = score_floors(suite.items, mode="compat")
    shares = {name: summarise(rows, Bootstrap(200)) for name, rows in floors.items()}
    assert shares["constant 0"]["hacc"]["mean"] > 0.1
    assert shares["constraints only"]["hacc"]["mean"] > 0.9
    assert shares["constraints only"]["joint"]["mean"] < 0.05
