"""What a teacher is shown: what was wrong, in the prompt's own words, and never the gold answer."""

from __future__ import annotations

from typing import Any

import pytest

from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.prompts.privileged import (
    feedback_note,
    left_out,
    relabelled,
    requirements_note,
    solution_note,
    succeeded,
    tells_answer,
    with_note,
)
from adhere.rewards.checklist import parse_checklist

COMMA = {"id": "c", "text": "Use no comma.", "weight": 100, "check": {"constraint": "punctuation:no_comma"}}
LOWER = {
    "id": "l", "text": "Write in lowercase.", "weight": 100, "check": {"constraint": "change_case:english_lowercase"},
}  # fmt: skip
TOLD = {"id": "t", "text": "Say that the total is 17.", "weight": 100, "check": {"type": "judge"}}


def item(*requirements: dict[str, Any], answer: str | None = "17", solution: str | None = None) -> PromptItem:
    bare = PromptItem("i", ({"role": "user", "content": "What is 9+8?"},), answer, solution=solution)
    return with_constraints(bare, parse_checklist([*requirements], where="test")) if requirements else bare


def row(
    correct: bool | None, scores: list[float | None], texts: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    followed = None if not scores or None in scores else all(score == 1.0 for score in scores)
    texts = texts or ["Use no comma.", "Write in lowercase."]
    parts = [{"text": text, "score": score} for text, score in zip(texts, scores, strict=False)]
    found = {
        "correct": correct,
        "followed": followed,
        "requirements": parts,
        "response": "\\boxed{17}",
        "finished": True,
    }
    return found | more


@pytest.mark.parametrize(
    ("correct", "scores", "says", "says_not"),
    [
        (True, [0.0, 1.0], ["Use no comma."], ["lowercase", "wrong", "17"]),
        (False, [1.0, 0.0], ["lowercase", "was wrong"], ["comma", "17"]),
        (False, [1.0, 1.0], ["was wrong"], ["comma", "lowercase", "17"]),
        (None, [0.5, 0.0], ["comma", "lowercase"], ["wrong"]),
        (False, [], ["was wrong"], ["17", "requirement"]),
        (False, [None, 0.0], ["was wrong", "lowercase"], ["comma"]),
    ],
)
def test_feedback_says_what_was_wrong_and_not_the_answer(
    correct: bool | None, scores: list[float | None], says: list[str], says_not: list[str]
) -> None:
    text = feedback_note(item(COMMA, LOWER), row(correct, scores), [], "never").text
    assert text is not None
    assert all(word in text for word in says) and not any(word in text for word in says_not)


@pytest.mark.parametrize(("correct", "scores"), [(True, [1.0, 1.0]), (None, [1.0, 1.0]), (None, []), (None, [None])])
def test_nothing_is_said_of_a_success_or_of_what_was_not_decided(
    correct: bool | None, scores: list[float | None]
) -> None:
    good = row(True, [1.0, 1.0])
    assert feedback_note(item(COMMA, LOWER), row(correct, scores), [good], "always").text is None


@pytest.mark.parametrize(
    ("sibling", "answer", "correct", "shown"),
    [
        ("safe", "17", True, True),
        ("safe", "17", False, False),
        ("safe", "17", None, False),
        ("safe", None, None, True),
        ("always", "17", False, True),
        ("never", None, None, False),
        ("never", "17", True, False),
    ],
)
def test_a_sibling_is_shown_where_it_cannot_tell_the_answer(
    sibling: Any, answer: str | None, correct: bool | None, shown: bool
) -> None:
    failed = row(correct, [0.0, 1.0])
    group = [failed, row(correct, [0.0, 0.0]), row(None if answer is None else True, [1.0, 1.0], response="It is 17")]
    text = feedback_note(item(COMMA, LOWER, answer=answer), failed, group, sibling).text
    assert text is not None and ("It is 17" in text) is shown


def test_a_sibling_that_failed_is_no_example() -> None:
    failed = row(True, [0.0, 1.0])
    text = feedback_note(
        item(COMMA, LOWER), failed, [failed, row(True, [1.0, 0.0], response="Look at me")], "always"
    ).text
    assert text is not None and "Look at me" not in text


def test_a_requirement_that_would_tell_the_answer_is_withheld_and_counted() -> None:
    asked = PromptItem("i", ({"role": "user", "content": "What is 9+8?"},), "17", parse_checklist([TOLD], where="test"))
    note = feedback_note(asked, row(False, [0.0], [TOLD["text"]]), [], "safe")
    assert note.withheld == 1 and note.text is not None and "17" not in note.text
    said = feedback_note(item(TOLD), row(False, [0.0], [TOLD["text"]]), [], "safe")
    assert said.withheld == 0 and "17" in str(said.text), "the prompt says it to everybody"


@pytest.mark.parametrize(
    ("text", "answer", "tells"),
    [
        ("The answer is 17.", "17", True),
        ("It is \\boxed{17}", "17", True),
        ("Use 170 words.", "17", False),
        ("Use 1.17 of it.", "17", False),
        ("Write 17,5 in it", "17", False),
        ("x is \\frac{1}{2} here", "\\frac{1}{2}", True),
        ("the capital is paris", "Paris", True),
        ("comparison", "Paris", False),
        ("The answer is 17.", None, False),
        ("What is 9+8?", "9+8", False),
    ],
)
def test_what_tells_the_answer(text: str, answer: str | None, tells: bool) -> None:
    assert tells_answer(text, item(answer=answer)) is tells


def test_a_note_stands_at_the_end_of_the_last_turn() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
    shown = with_note(messages, "NOTE")  # type: ignore[arg-type]
    assert shown[0] == messages[0] and shown[1]["content"].startswith("What?\n\nNOTE\n\n") and len(shown) == 2


def test_solution_and_requirements_are_shown_where_there_are_some() -> None:
    assert "9 and 8 make 17" in str(solution_note(item(solution="9 and 8 make 17")).text)
    assert "\\boxed{17}" in str(solution_note(item()).text)
    assert solution_note(item(answer=None)).text is None
    assert str(requirements_note(item(COMMA, LOWER)).text).count("\n- ") == 2
    assert requirements_note(item()).text is None


def test_each_requirement_is_left_out_once() -> None:
    whole, rests = left_out(item(COMMA, LOWER))
    content = [one.messages[-1]["content"] for one in (whole, *rests)]
    assert content == [
        "What is 9+8? Use no comma. Write in lowercase.", "What is 9+8? Write in lowercase.",
        "What is 9+8? Use no comma.",
    ]  # fmt: skip
    _, (bare,) = left_out(item(COMMA))
    assert bare.messages[-1]["content"] == "What is 9+8?"


@pytest.mark.parametrize(
    ("correct", "scores", "more", "asks"),
    [
        (True, [1.0, 0.0], {}, "What is 9+8? Use no comma."),
        (None, [0.0, 1.0], {}, "What is 9+8? Write in lowercase."),
        (True, [0.99, 1.0], {}, "What is 9+8? Write in lowercase."),
        (False, [1.0, 0.0], {}, None),
        (True, [1.0, 1.0], {}, None),
        (True, [0.0, 0.0], {}, None),
        (True, [1.0, None], {}, None),
        (True, [1.0, 0.0], {"finished": False}, None),
    ],
)
def test_a_failure_is_relabelled_by_what_it_met(
    correct: bool | None, scores: list[float | None], more: dict[str, Any], asks: str | None
) -> None:
    found = relabelled(item(COMMA, LOWER), row(correct, scores, **more), 0.5)
    assert (None if found is None else found.messages[-1]["content"]) == asks
    assert relabelled(item(COMMA, LOWER), row(correct, scores, **more), 0.9) is None


def test_a_success_is_all_that_was_decided() -> None:
    assert succeeded(row(True, [1.0])) and succeeded(row(True, [])) and succeeded(row(None, [1.0]))
    assert not (succeeded(row(False, [1.0])) or succeeded(row(True, [0.0])) or succeeded(row(None, [])))
