"""IFEval's ids that MathIF lacks: what ``hardened`` passes and fails, and the quirks that ``compat`` keeps."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adhere.rewards.constraints import Mode, check, conflicts, registry, sample, transform, validate
from adhere.rewards.errors import ConstraintError

LETTER, SENTENCES, WORDS = (
    "keywords:letter_frequency",
    "length_constraints:number_sentences",
    "length_constraints:number_words",
)
PARAGRAPHS, NTH, TWO = (
    "length_constraints:number_paragraphs",
    "length_constraints:nth_paragraph_first_word",
    "combination:two_responses",
)
PLACEHOLDERS, POSTSCRIPT, TITLE = (
    "detectable_content:number_placeholders",
    "detectable_content:postscript",
    "detectable_format:title",
)
JSON, OPTION = "detectable_format:json_format", "detectable_format:constrained_response"

IFEVAL = [key for key, constraint in registry().items() if constraint.collection == "ifeval"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    LETTER: {"letter": "e", "let_frequency": 4, "let_relation": "at least"},
    SENTENCES: {"num_sentences": 3, "relation": "at least"},
    WORDS: {"num_words": 5, "relation": "at least"},
    PARAGRAPHS: {"num_paragraphs": 2},
    NTH: {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Sun"},
    TWO: {},
    PLACEHOLDERS: {"num_placeholders": 2},
    POSTSCRIPT: {"postscript_marker": "P.S."},
    TITLE: {},
    JSON: {},
    OPTION: {},
}

CASES: list[tuple[str, str, bool]] = [
    (LETTER, "We see three trees.", True),
    (LETTER, "WE SEE THREE TREES.", True),
    (LETTER, "eeeeeeee", False),
    (LETTER, "e e e e e e e", False),
    (LETTER, "the the the the the the", False),
    (LETTER, "beeeeeeen", False),
    (LETTER, r"\theta \beta \epsilon \eta \zeta", False),
    (LETTER, "\u0435\u0435 cyr\u0435 l\u0435tt\u0435rs", False),
    (SENTENCES, "We add them. That is all. It is five.", True),
    (SENTENCES, "1. We add them.\n2. We stop here.\n3. It is five!", True),
    (SENTENCES, "我们把它们加起来。这就是全部了。答案是五个。", True),
    (SENTENCES, "1. 2. 3. 4.", False),
    (SENTENCES, "A. B. C. D.", False),
    (SENTENCES, "We add. We add. We add. We add.", False),
    (SENTENCES, "Dr. A. Smith, e.g. the one in the U.S. office, adds vs. takes.", False),
    (SENTENCES, "... ?! !!! ... ?", False),
    (SENTENCES, "We get $a. b. c. d.$ in all.", False),
    (SENTENCES, "First line of words\nSecond line of words\nThird line of words", False),
    (WORDS, "one two three four five", True),
    (WORDS, r"\frac{1}{2} \cdot \alpha \beta \gamma", False),
    (PARAGRAPHS, "One.\n***\nTwo.", True),
    (PARAGRAPHS, "One. ***\n\nTwo.", True),
    (PARAGRAPHS, '"One.\n***\nTwo."', True),
    (PARAGRAPHS, "One.\n\nTwo.", False),
    (PARAGRAPHS, "One. *** Two.", False),
    (PARAGRAPHS, "One.\n***\n", False),
    (PARAGRAPHS, "One.\n***\n---", False),
    (PARAGRAPHS, "One.\n***\nTwo.\n***\nThree.", False),
    (PARAGRAPHS, "One.\n******\nTwo.", False),
    (NTH, "One.\n\nSun and rain.", True),
    (NTH, "One.\n\n\n**SUN** and rain.", True),
    (NTH, "One.\n\nSunday came.", False),
    (NTH, "One.\n\nSun-dried food.", False),
    (NTH, "One.\n\nSun.", False),
    (NTH, "Sun is first.\n\nRain.", False),
    (NTH, "One.\nSun and rain.", False),
    (NTH, "One.\n\nSun and rain.\n\nMore.", False),
    (TWO, "It is 5.\n******\nThe sum comes to five.", True),
    (TWO, "It is 5.\n******\nIt is 5.", False),
    (TWO, "It is 5.\n******\nit is  5!", False),
    (TWO, "It is 5. ****** The sum comes to five.", False),
    (TWO, "It is 5.\n*******\nThe sum comes to five.", False),
    (TWO, "It is 5.\n******\n...", False),
    (TWO, "It is 5.\n******\nOr five.\n******\nOr V.", False),
    (TWO, "It is 5.\n\nThe sum comes to five.", False),
    (PLACEHOLDERS, "Dear [name], meet me at [place].", True),
    (PLACEHOLDERS, "[First Name] and [your city]", True),
    (PLACEHOLDERS, "[] [] []", False),
    (PLACEHOLDERS, "[name] and [Name]", False),
    (PLACEHOLDERS, "[1] [2] [3]", False),
    (PLACEHOLDERS, "[[name] [place", False),
    (PLACEHOLDERS, "[here](http://a.b) and [there](http://c.d)", False),
    (PLACEHOLDERS, r"\[ab\] \[cd\] $x[name] y[place]$", False),
    (PLACEHOLDERS, "`[name]` `[place]`", False),
    (POSTSCRIPT, "It is 5.\n\nP.S. Look again.", True),
    (POSTSCRIPT, "It is 5.\n**P.S.** Look again.", True),
    (POSTSCRIPT, "it is 5.\np. s. look again.", True),
    (POSTSCRIPT, "It is 5. P.S.", False),
    (POSTSCRIPT, "It is 5.\n\nP.S.", False),
    (POSTSCRIPT, "It is 5 by P.S. Laplace.", False),
    (POSTSCRIPT, "P.S. It is 5.", False),
    (POSTSCRIPT, "It is 5.\n\nP.S. Look.\n\nNow the long answer.", False),
    (POSTSCRIPT, "It is 5.\n\nP.P.S. Look again.", False),
    (TITLE, "<<Five Apples>>\nIt is 5.", True),
    (TITLE, "# **<<Five Apples>>**\n\nIt is 5.", True),
    (TITLE, "<<title>>\nIt is 5.", False),
    (TITLE, "<< >>\nIt is 5.", False),
    (TITLE, "<<...>>\nIt is 5.", False),
    (TITLE, "<<Five Apples>>", False),
    (TITLE, "cout << x >> y;", False),
    (TITLE, "We write <<this>> and it is 5.", False),
    (TITLE, "Five Apples\nIt is 5.", False),
    (JSON, '{"answer": 5}', True),
    (JSON, '```json\n{"answer": [1, 2]}\n```', True),
    (JSON, "5", False),
    (JSON, '"It is 5."', False),
    (JSON, "{}", False),
    (JSON, "[[]]", False),
    (JSON, '{"answer": 5} I hope this helps.', False),
    (JSON, 'Sure: {"answer": 5}', False),
    (JSON, '{"answer": 5}{"answer": 6}', False),
    (JSON, '{"answer": 5, "answer": 6}', False),
    (JSON, '{"answer": NaN}', False),
    (JSON, "{'answer': 5}", False),
    (JSON, '{"answer": 5', False),
    (JSON, "[" * 100_000 + "]" * 100_000, False),
    (OPTION, "My answer is yes.", True),
    (OPTION, '"My answer is no."', True),
    (OPTION, "My answer is maybe. We do not know.", True),
    (OPTION, "We looked at it. My answer is no.", True),
    (OPTION, "My answer is yes. My answer is no. My answer is maybe.", False),
    (OPTION, "My answer is yes. My answer is yes.", False),
    (OPTION, "Nobody says My answer is yes.", False),
    (OPTION, "My answer is yes", False),
    (OPTION, "Yes.", False),
]


@pytest.mark.parametrize(("key", "text", "expected"), CASES)
def test_hardened(key: str, text: str, expected: bool) -> None:
    verdict = check(key, text, ARGUMENTS[key])
    assert verdict.passed is expected, verdict.detail


def test_every_constraint_has_passing_and_failing_cases() -> None:
    assert {(key, expected) for key, _, expected in CASES} == {(k, e) for k in IFEVAL for e in (True, False)}


@pytest.mark.parametrize(
    ("key", "kwargs", "text", "expected"),
    [
        (LETTER, {"letter": "q", "let_frequency": 1, "let_relation": "less than"}, "no such letter", True),
        (LETTER, {"letter": "q", "let_frequency": 1, "let_relation": "less than"}, "$q = 5$", False),
        (LETTER, {"letter": "q", "let_frequency": 1, "let_relation": "less than"}, "ｑ", False),
        (LETTER, {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "#one and #two", True),
        (SENTENCES, {"num_sentences": 2, "relation": "less than"}, "The price is 3.50 dollars, e.g. for tea.", True),
        (SENTENCES, {"num_sentences": 2, "relation": "less than"}, "Dr. J. Smith adds the two numbers.", True),
        (SENTENCES, {"num_sentences": 2, "relation": "less than"}, "One is here. Two is there.", False),
        (
            SENTENCES,
            {"num_sentences": 2, "relation": "less than"},
            "we first write down the sum\nthen we add the two numbers up\nand so it is five in all",
            False,
        ),
        (POSTSCRIPT, {"postscript_marker": "P.P.S"}, "It is 5.\n\nP.P.S. Look again.", True),
        (POSTSCRIPT, {"postscript_marker": "P.P.S"}, "It is 5.\n\nP.S. Look again.", False),
        (NTH, {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "it"}, "It's 5.", False),
    ],
)
def test_hardened_with_arguments(key: str, kwargs: dict[str, Any], text: str, expected: bool) -> None:
    assert check(key, text, kwargs).passed is expected


@pytest.mark.parametrize(
    ("key", "kwargs", "text", "expected"),
    [
        (LETTER, {"letter": "E", "let_frequency": 3, "let_relation": "at least"}, r"\epsilon ee", True),
        (SENTENCES, {"num_sentences": 3, "relation": "at least"}, "1. One.\n2. Two.", True),
        (SENTENCES, {"num_sentences": 2, "relation": "less than"}, "Dr. Smith has 3.5 apples.", True),
        (SENTENCES, {"num_sentences": 2, "relation": "less than"}, 'He said "Go!" twice', False),
        (PARAGRAPHS, {"num_paragraphs": 2}, "a *** b", True),
        (PARAGRAPHS, {"num_paragraphs": 2}, "***\na\n***\nb\n***", True),
        (PARAGRAPHS, {"num_paragraphs": 2}, "a\n***\n\n***\nb", False),
        (PARAGRAPHS, {"num_paragraphs": 1}, "a\n\nb", True),
        (NTH, {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "SUN"}, "a\n\n'\"sun's", True),
        (NTH, {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "sun"}, "a\n\n\n\nsun", False),
        (TWO, {}, "It is 5.******It is 5!", True),
        (TWO, {}, "******a******b******", True),
        (PLACEHOLDERS, {"num_placeholders": 2}, "[] \\[x\\]", True),
        (PLACEHOLDERS, {"num_placeholders": 1}, "[a\nb]", False),
        (POSTSCRIPT, {"postscript_marker": "P.S."}, "the corp.s. are", True),
        (TITLE, {}, "a <<b>> c", True),
        (TITLE, {}, "<< >> <<<>>>", True),
        (TITLE, {}, "<<\n>>", False),
        (JSON, {}, "```json 5```", True),
        (JSON, {}, "NaN", True),
        (OPTION, {}, "I never say My answer is yes. or My answer is no.", True),
        (OPTION, {}, "my answer is yes.", False),
    ],
)
def test_compat_keeps_the_official_quirks(key: str, kwargs: dict[str, Any], text: str, expected: bool) -> None:
    assert check(key, text, kwargs, "compat").passed is expected


@pytest.mark.parametrize("mode", ["compat", "hardened"])
@pytest.mark.parametrize("text", ["", "  \n\t ", "\u2003\u00a0"])
def test_a_blank_text_fails_everything(text: str, mode: Mode) -> None:
    assert [key for key in IFEVAL if check(key, text, ARGUMENTS[key], mode).score != 0.0] == []


@pytest.mark.parametrize(
    ("key", "kwargs", "words"),
    [
        (NTH, {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "sun"}, "nth_paragraph 3 is above"),
        (NTH, {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "two words"}, "first_word"),
        (LETTER, {"letter": "ab", "let_frequency": 3, "let_relation": "at least"}, "letter"),
        (LETTER, {"letter": "a", "let_frequency": 3, "let_relation": "at most"}, "let_relation"),
    ],
)
def test_arguments_that_cannot_be_are_refused(key: str, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(ConstraintError, match=words):
        validate(key, kwargs, where="rows.jsonl:3")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((JSON, {}), ("startend:quotation", {})),
        ((JSON, {}), (PARAGRAPHS, {"num_paragraphs": 2})),
        ((OPTION, {}), ("change_case:english_capital", {})),
        ((TWO, {}), (PARAGRAPHS, {"num_paragraphs": 2})),
        ((PARAGRAPHS, {"num_paragraphs": 2}), (NTH, ARGUMENTS[NTH])),
        (
            (SENTENCES, {"num_sentences": 9, "relation": "at least"}),
            (WORDS, {"num_words": 20, "relation": "less than"}),
        ),
        (
            (LETTER, {"letter": "a", "let_frequency": 5, "let_relation": "at least"}),
            (LETTER, {"letter": "A", "let_frequency": 5, "let_relation": "less than"}),
        ),
        (
            (WORDS, {"num_words": 50, "relation": "at least"}),
            ("length_constraint_checkers:number_words", {"num_words": 40, "relation": "less than"}),
        ),
    ],
)
def test_contradictions_are_seen_both_ways(a: Any, b: Any) -> None:
    assert conflicts(a, b)
    assert conflicts(b, a)


@settings(max_examples=80, deadline=None)
@given(text=st.text("aB. ,\n*[]<>{}\"'e1!?#-P.S", max_size=80))
def test_hardened_is_never_milder_where_it_only_closes_holes(text: str) -> None:
    """Of these, whatever passes hardened passes the official check too."""
    for key in (PARAGRAPHS, TWO, PLACEHOLDERS, TITLE, JSON, OPTION):
        if check(key, text, ARGUMENTS[key]).passed:
            assert check(key, text, ARGUMENTS[key], "compat").passed, key


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), text=st.text('abc de.\n\\{}"$', min_size=1, max_size=60))
def test_json_holds_the_text_it_was_made_of(seed: int, text: str) -> None:
    done = transform(JSON, text, {})
    if text.strip() and done is not None and done != text:
        assert list(json.loads(done).values()) in ([text], [" ".join(text.split())])


def test_sampled_first_words_and_letters_are_in_range() -> None:
    rng = random.Random(0)
    for _ in range(50):
        kwargs = sample(NTH, rng)
        assert kwargs["nth_paragraph"] <= kwargs["num_paragraphs"]
        assert len(sample(LETTER, rng)["letter"]) == 1


HOSTILE = [
    "\n",
    "[",
    "]",
    "<<",
    "<<a>",
    ">>",
    "{",
    '{"a":',
    "***",
    "******\n",
    "P.S.",
    "p. ",
    "e",
    "e.",
    "! ",
    "?)",
    "\n\n",
    "A. ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_hostile_texts_are_decided(piece: str) -> None:
    """Linear-time checks take well under a second each here; a quadratic one would take minutes."""
    text = "x" + piece * (100_000 // len(piece))
    begun = time.process_time()
    for key in IFEVAL:
        for mode in ("compat", "hardened"):
            assert check(key, text, ARGUMENTS[key], mode).score is not None
    assert time.process_time() - begun < 60
