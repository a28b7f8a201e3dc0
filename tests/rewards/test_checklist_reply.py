"""Reading a model's checklist: what is accepted, what is named as a fault, and that nothing passes silently."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adhere.rewards.checklist.generation.reply import Draft, Unreadable, read_reply
from adhere.rewards.checklist.generation.words import content, flags, is_question, opposite, same

GOOD = {"question": "Does the response name Paris?", "weight": 90}


def reply(*rows: Any, **more: Any) -> str:
    return json.dumps({"analysis": "x", "requirements": list(rows), **more})


def test_a_plain_object_is_read() -> None:
    read = read_reply(reply(GOOD), categories=False)
    assert read.drafts == [Draft("Does the response name Paris?", 90.0)]
    assert read.refused == [] and read.notes == []


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (f"```json\n{reply(GOOD)}\n```", False),
        (f"<think>{{maybe}}</think>\n{reply(GOOD)}", False),
        (f"Here is the checklist:\n```json\n{reply(GOOD)}\n```\nHope it helps!", True),
        (f"{reply(GOOD)}\n\nLet me know if you need more.", True),
    ],
    ids=["fence", "after thinking", "fence amid prose", "trailing prose"],
)
def test_an_object_in_a_dress_is_read_and_prose_around_it_noted(text: str, noted: bool) -> None:
    read = read_reply(text, categories=False)
    assert [draft.weight for draft in read.drafts] == [90.0]
    assert bool(read.notes) is noted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON object"),
        ("1) Does it name Paris? (90)", "no JSON object"),
        (reply(GOOD)[:-4], "no JSON object"),
        (json.dumps([GOOD]), "1 JSON objects|requirements is missing|a list at the top|unknown key"),
        (reply(GOOD) + reply(GOOD), "2 JSON objects"),
        (json.dumps({"requirements": "none"}), "requirements is missing, or is not a list"),
        (reply(GOOD, checklist=[]), "unknown key 'checklist'"),
        ("{" * 50_000, "no JSON object"),
        ("[" * 50_000, "no JSON object"),
        ('{"requirements": [' + "9" * 5000 + "]}", "a number has more than 4300 digits"),
        (reply(GOOD, **{"\ud800": 1}), "unknown key '\ufffd'"),
    ],
)
def test_what_is_no_such_object_is_a_fault_with_a_name(text: str, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        read_reply(text, categories=False)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**GOOD, "weight": 101}, "not a number from 0 to 100"),
        ({**GOOD, "weight": -1}, "not a number from 0 to 100"),
        ({**GOOD, "weight": "85"}, "not a number from 0 to 100"),
        ({**GOOD, "weight": True}, "not a number from 0 to 100"),
        ({**GOOD, "weight": float("nan")}, "not a number from 0 to 100"),
        ({"question": GOOD["question"]}, "two keys question and weight"),
        ({**GOOD, "reason": "x"}, "two keys question and weight"),
        ("Does it name Paris?", "two keys question and weight"),
        ({**GOOD, "question": " "}, "question is not text"),
        ({**GOOD, "question": "Name Paris."}, "not a question that yes or no answers"),
        ({**GOOD, "question": "What does the response name?"}, "not a question that yes or no answers"),
        ({**GOOD, "question": "Does it name Paris? Does it name Rome?"}, "not a question that yes or no answers"),
        ({**GOOD, "question": f"Does it say {'very ' * 200}much?"}, "characters long"),
        ({**GOOD, "question": "Does it end in \ud83d?"}, "half a character"),
        ({"question": GOOD["question"], "category": "\ud83d"}, "two keys question and weight"),
    ],
)
def test_an_item_of_the_wrong_form_is_refused_with_its_reason(row: Any, reason: str) -> None:
    read = read_reply(reply(row, GOOD), categories=False)
    assert len(read.drafts) == 1
    assert len(read.refused) == 1 and reason in read.refused[0][1]
    assert "".join(read.refused[0]).encode()


def test_categories_take_the_place_of_weights() -> None:
    rows = [
        {"question": GOOD["question"], "category": name} for name in ("Essential", "important", "optional", "pitfall")
    ]
    read = read_reply(reply(*rows, GOOD, {**rows[0], "category": "vital"}), categories=True)
    assert [draft.weight for draft in read.drafts] == [100.0, 70.0, 30.0, 90.0]
    assert [draft.category for draft in read.drafts] == ["essential", "important", "optional", "pitfall"]
    assert len(read.refused) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Does the response name the capital of France?", ()),
        ("Does the response name the capital of France and its longest river?", ("non-atomic",)),
        ("Does the response list three causes, describe two effects, and end politely?", ("non-atomic",)),
        ("Is the response in French as well as free of idioms?", ("non-atomic",)),
        ('Does the response avoid the pun "rock and roll"?', ()),
        ('Does the response quote "alpha", "beta" and "gamma" from the poem?', ()),
        ("Is the year between 1789 and 1799 given?", ()),
        ("Is the response helpful?", ("generic",)),
        ("Is the response clear and well written?", ("non-atomic", "generic")),
        ("Does the response follow the instructions?", ("generic",)),
        ("Does the response give 7 reasons?", ()),
    ],
)
def test_doubtful_requirements_are_flagged(text: str, expected: tuple[str, ...]) -> None:
    assert flags(text) == expected
    assert flags(text, mapped=True) == ()


@pytest.mark.parametrize(
    ("one", "two", "is_same", "is_opposite"),
    [
        ("Does the response name Paris?", "Does the answer name Paris?", True, False),
        ("Does it name three rivers?", "Does the response name the three rivers?", True, False),
        ("Does it name 3 rivers?", "Does it name 4 rivers?", False, False),
        ('Does it quote "a"?', 'Does it quote "b"?', False, False),
        ("Does the response use humour?", "Does the response avoid humour?", False, True),
        ("Does the response mention dogs?", "Does the response not mention dogs?", False, True),
        ("Does the response mention dogs?", "Does the response not mention cats?", False, False),
        ("Is it in lowercase letters?", "Is it in capital letters?", False, False),
    ],
)
def test_the_same_and_the_opposite_are_told_apart(one: str, two: str, is_same: bool, is_opposite: bool) -> None:
    assert (same(one, two), opposite(one, two)) == (is_same, is_opposite)
    assert (same(two, one), opposite(two, one)) == (is_same, is_opposite)


def test_a_question_may_quote_a_question_mark() -> None:
    assert is_question('Does the response end with "Are you sure?"?')
    assert content("Does the response use humour?") == {"humour"}
