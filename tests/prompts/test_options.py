"""Multiple choice: rows that bring their options, and which answers are right then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adhere.prompts.config import SourceConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle, load
from adhere.rewards.errors import DataError
from adhere.rewards.math import verify_answer


def read(folder: Path, row: dict[str, Any], **source: Any) -> PromptItem:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"question": "What is 5 + 7?", **row}) + "\n", encoding="utf-8")
    (item,) = load(SourceConfig(path=str(path), **source), PromptStyle())
    return item


@pytest.mark.parametrize(
    "row",
    [{"options": ["10", "11", "12", "13"], "answer": "C"}, {"choices": [10, 11, 12, 13], "answer": "(c)"},
     {"options": {"A": "10", "B": "11", "C": "12", "D": "13"}, "answer": "C"}],
    ids=["list", "numbers", "map"],
)  # fmt: skip
def test_the_question_shows_the_options_and_letter_text_or_both_are_right(tmp_path: Path, row: dict[str, Any]) -> None:
    item = read(tmp_path, row)
    assert "(A) 10\n(B) 11\n(C) 12\n(D) 13" in str(item.messages[-1]["content"])
    assert item.answer is not None
    for answer in ("C", "(C)", "12", r"\textbf{(C)}\ 12", "C: 12", r"\text{C}"):
        assert verify_answer(item.answer, f"So \\boxed{{{answer}}}.").score == 1.0, answer
    for answer in ("D", "13", "(D) 12", "(C) 13", "C, D", "A"):
        assert verify_answer(item.answer, f"So \\boxed{{{answer}}}.").score == 0.0, answer


def test_options_that_the_question_holds_already_are_not_repeated(tmp_path: Path) -> None:
    item = read(tmp_path, {"question": "5 + 7? A 10, B 12", "options": ["10", "12"], "answer": "B"})
    assert item.question == "5 + 7? A 10, B 12"


def test_an_answer_that_is_no_letter_is_left_as_it_is(tmp_path: Path) -> None:
    assert read(tmp_path, {"options": ["10", "12"], "answer": "12"}).answer == "12"
    assert read(tmp_path, {"options": None, "answer": "B"}).answer == "B"


@pytest.mark.parametrize(
    ("row", "message"),
    [({"options": ["10", "12"], "answer": "C"}, "rows.jsonl:1: the answer 'C' is none of the options A, B"),
     ({"options": "10, 12", "answer": "A"}, "neither a list of up to 10 options nor a map"),
     ({"options": ["10", ""], "answer": "A"}, "neither a list"), ({"options": {"one": "10"}, "answer": "A"}, "neither"),
     ({"options": list(range(11)), "answer": "A"}, "neither a list of up to 10")],
)  # fmt: skip
def test_options_that_cannot_be_read_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, row)
