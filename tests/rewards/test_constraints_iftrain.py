"""IFTrain's 29 constraints: what hardened passes and fails, the official quirks that compat keeps, and long texts."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adhere.rewards.constraints import Mode, check, conflicts, registry, sample, transform, validate
from adhere.rewards.constraints.text.segmentation import ifevalg_sentences, nltk_tokens
from adhere.rewards.errors import ConstraintError

REQUEST = "Name two  fruits. Be brief!"
PHRASE, COPY, SIMPLE = "copy:repeat_phrase", "copy:copy", "copy:copying_simple"
MULTIPLE, SPAN = "copy:copying_multiple", "new:copy_span_idx"
HYPHENS, BRACKETS, BIGRAMS = (
    "detectable_format:sentence_hyphens",
    "detectable_format:square_brackets",
    "detectable_format:bigram_wrapping",
)
ADJACENT, ONCE, DIFFERENT = (
    "keywords:no_adjacent_consecutive",
    "keywords:word_once",
    "keywords:word_count_different_numbers",
)
EXCLUDE, PALINDROME, POSITION, START_END = (
    "keywords:exclude_word_harder",
    "keywords:palindrome",
    "keywords:keyword_specific_position",
    "keywords:start_end",
)
TWO, TWO2 = "paragraphs:paragraphs", "paragraphs:paragraphs2"
FIRST_EACH, FIRST, LAST_EACH, LAST = (
    "first_word:first_word_sent",
    "first_word:first_word_answer",
    "last_word:last_word_sent",
    "last_word:last_word_answer",
)
DOT, EXCLAMATION = "punctuation:punctuation_dot", "punctuation:punctuation_exclamation"
LOWERCASE, COMPOSITION, UNIQUE, INCREMENT = (
    "count:lowercase_counting",
    "count:counting_composition",
    "count:count_unique",
    "count:count_increment_word",
)
LETTERS, LETTER = "letters:letter_counting", "letters:letter_counting2"

ARGUMENTS: dict[str, dict[str, Any]] = {
    PHRASE: {"phrase": "Time flies when having fun", "small_n": 2},
    COPY: {"prompt_to_repeat": REQUEST},
    SIMPLE: {"prompt_to_repeat": REQUEST},
    MULTIPLE: {"prompt_to_repeat": REQUEST, "N": 2},
    SPAN: {"prompt_to_repeat": "Name two fruits", "n_start": 5, "n_end": 8},
    HYPHENS: {},
    BRACKETS: {},
    BIGRAMS: {},
    ADJACENT: {},
    ONCE: {"keyword": "win"},
    DIFFERENT: {"keyword": "win", "frequency": 2, "relation": "at least"},
    EXCLUDE: {"keyword": "win"},
    PALINDROME: {},
    POSITION: {"keyword": "win", "n": 2, "m": 3},
    START_END: {},
    TWO: {},
    TWO2: {},
    FIRST_EACH: {"first_word": "so"},
    FIRST: {"first_word": "so"},
    LAST_EACH: {"last_word": "so"},
    LAST: {"last_word": "so"},
    DOT: {},
    EXCLAMATION: {},
    LOWERCASE: {"N": 2},
    COMPOSITION: {"n_sent": 1, "n_words": 4},
    UNIQUE: {},
    INCREMENT: {"keyword1": "win", "keyword2": "bar"},
    LETTERS: {"N": 5, "relation": "at least"},
    LETTER: {"letter": "q", "let_frequency": 2, "let_relation": "less than"},
}

HARDENED: list[tuple[str, str, bool]] = [
    (PHRASE, "Time drags when having fun. So: time flies while having fun!", True),
    (PHRASE, "Time flies when having fun. Time drags when having fun.", False),
    (PHRASE, "Time drags when having fun. Time drags when having fun.", False),
    (PHRASE, "Time drags while having fun. Time stops when having fun.", False),
    (PHRASE, "Time drags when having fun.", False),
    (PHRASE, "Repeat the phrase Time flies when having fun 2 times.", False),
    (COPY, "Name two fruits.\nBe brief!", True),
    (COPY, "name two fruits. be brief!", False),
    (COPY, REQUEST + " Apples.", False),
    (SIMPLE, REQUEST, True),
    (SIMPLE, "Sure! " + REQUEST, False),
    (MULTIPLE, f"{REQUEST}\n******\n{REQUEST}", True),
    (MULTIPLE, f"{REQUEST}\n******\n{REQUEST}\n******", False),
    (MULTIPLE, f"{REQUEST}\n***\n{REQUEST}", False),
    (MULTIPLE, f"{REQUEST}\n******\n{REQUEST.upper()}", False),
    (SPAN, "two", True),
    (SPAN, "two fruits", False),
    (SPAN, "TWO", False),
    (HYPHENS, "It is 5.-So we stop.-Good bye!", True),
    (HYPHENS, "We add 2-digit numbers.-So we stop.", True),
    (HYPHENS, "It is 5. So we stop.", False),
    (HYPHENS, "It is 5.\nSo we stop.", False),
    (HYPHENS, "It is 5.- So we stop.", False),
    (HYPHENS, "One sentence that never ends", False),
    (BRACKETS, "[It] [is] [5].", True),
    (BRACKETS, r"[It] [is] [\boxed{5}]", True),
    (BRACKETS, "[It is 5]", False),
    (BRACKETS, "[] []", False),
    (BRACKETS, "[-] [.]", False),
    (BRACKETS, "[it_is_five_or_so]", False),
    (BRACKETS, "[It] is [5]", False),
    (BIGRAMS, "<<It is>> <<five now>>", True),
    (BIGRAMS, "<<It is>> <<five>>", True),
    (BIGRAMS, "It", False),
    (BIGRAMS, "<<It is>> five", False),
    (BIGRAMS, "<<It is five>> <<or so>>", False),
    (BIGRAMS, "<<It>> <<is>>", False),
    (ADJACENT, "cats sing all day", True),
    (ADJACENT, "cats dig", False),
    (ADJACENT, 'cats "dig"', False),
    (ADJACENT, "cat-dog", False),
    (ADJACENT, "cats $x = 1$ dig", False),
    (ADJACENT, "ｃats dig", False),
    (ONCE, "We win.", True),
    (ONCE, "window win", True),
    (ONCE, "window", False),
    (ONCE, "win win", False),
    (ONCE, r"\win", False),
    (DIFFERENT, "Win, win!", True),
    (DIFFERENT, "winning window", False),
    (EXCLUDE, "the window", True),
    (EXCLUDE, "Win!", False),
    (EXCLUDE, "we win.", False),
    (EXCLUDE, "we w\u200bin it", False),
    (PALINDROME, "At noon.", True),
    (PALINDROME, "Never odd or even!", True),
    (PALINDROME, "I have a 5 and 121 = 121", False),
    (PALINDROME, "aaa xxx", False),
    (PALINDROME, "`noon` $level$ https://noon/noon", False),
    (POSITION, "It is. We do win here.", True),
    (POSITION, "It is. Well, we (win) here.", True),
    (POSITION, "It is. We win here.", False),
    (POSITION, "We do win here. It is.", False),
    (POSITION, "It is 3.5. We do win here.", True),
    (START_END, "So it is, so", True),
    (START_END, "So it is so.", False),
    (START_END, "! it !", False),
    (START_END, "so so", False),
    (START_END, "word", False),
    (START_END, "So it was", False),
    (TWO, "One.\n***\nTwo.", True),
    (TWO, "One.\n* * *\nTwo.", True),
    (TWO, "One *** two", False),
    (TWO, "One.\n***\n", False),
    (TWO, "One.\n***\n---", False),
    (TWO, "One.\n***\nTwo.\n***\nThree.", False),
    (TWO2, "One.\n\nTwo.", True),
    (TWO2, "One.\nTwo.", False),
    (TWO2, "One.\n\n---", False),
    (TWO2, "One.\n \nTwo.\n\nThree.", False),
    (FIRST_EACH, "So it is. So: we stop.", True),
    (FIRST_EACH, "So it is.\nWe stop.", False),
    (FIRST_EACH, "So. So. So.", False),
    (FIRST_EACH, "So Mr. Tom stops.", True),
    (FIRST, "So, it is 5.", True),
    (FIRST, "**So** it is", True),
    (FIRST, "so so so", False),
    (FIRST, "Sofa it is", False),
    (LAST_EACH, "It is so. We think so!", True),
    (LAST_EACH, "It is so. We stop.", False),
    (LAST_EACH, "So. So.", False),
    (LAST, "We think so.", True),
    (LAST, 'We think "so".', True),
    (LAST, "So", False),
    (LAST, "We think so. Bye.", False),
    (DOT, "It is 5, so stop", True),
    (DOT, "It is 5。", False),
    (DOT, "and so on…", False),
    (DOT, "3.5", False),
    (EXCLAMATION, "Stop.", True),
    (EXCLAMATION, r"$\int\!x$", True),
    (EXCLAMATION, "Stop！", False),
    (EXCLAMATION, "$5!$", False),
    (LOWERCASE, "We Stop here now", True),
    (LOWERCASE, r"THE $x + y + z = 1$ \boxed{\text{a}} here", True),
    (LOWERCASE, "we stop here now", False),
    (LOWERCASE, "été où ça", False),
    (COMPOSITION, "We do it now.\n* * *\nAnd it is done.\n***\nSo we stop well-meant.", True),
    (COMPOSITION, "We do it now.\n* * *\nAnd it is done.", False),
    (COMPOSITION, "We do it.\n* * *\nAnd it is done.\n* * *\nSo we stop here.", False),
    (COMPOSITION, "We do it now. Well.\n* * *\nAnd it is done.\n* * *\nSo we stop here.", False),
    (UNIQUE, "It is five, so stop.", True),
    (UNIQUE, "$x = x$ it is. We stop.", True),
    (UNIQUE, "It is it", False),
    (UNIQUE, "Stop or stop", False),
    (UNIQUE, "$x = x$", False),
    (INCREMENT, "We win a bar in a bar.", True),
    (INCREMENT, "window win bar bar barrel", True),
    (INCREMENT, "win bar", False),
    (INCREMENT, "win win bar bar", False),
    (LETTERS, "It is so", True),
    (LETTERS, r"\alpha \beta 1234567", False),
    (LETTERS, "a1b2c3d4", False),
    (LETTER, "Quite", True),
    (LETTER, "Quite quick", False),
    (LETTER, "quite ｑuick", False),
]


@pytest.mark.parametrize(("key", "text", "expected"), HARDENED)
def test_hardened(key: str, text: str, expected: bool) -> None:
    verdict = check(key, text, ARGUMENTS[key])
    assert verdict.passed is expected, verdict.detail


def test_every_constraint_has_passing_and_failing_cases() -> None:
    mine = {key for key, constraint in registry().items() if constraint.collection == "iftrain"}
    assert len(mine) == 29
    assert {(key, expected) for key, _, expected in HARDENED} == {(key, e) for key in mine for e in (True, False)}


QUIRKS: list[tuple[str, str, bool]] = [
    (PHRASE, "Time flies when having fun. Time drags when having fun.", True),
    (PHRASE, "time drags when having fun. time stops when having fun.", False),
    (COPY, "NAME two  fruits. be brief!", True),
    (COPY, "Name two fruits. Be brief!", False),
    (SPAN, "TWO", True),
    (HYPHENS, "One sentence that never ends", True),
    (HYPHENS, "We add 2-digit numbers.-So we stop.", False),
    (BRACKETS, "[] []", True),
    (BRACKETS, "[It] [is] [5].", False),
    (BIGRAMS, "It", True),
    (BIGRAMS, "<<It is>> five", True),
    (ADJACENT, 'cats "dig"', True),
    (ADJACENT, "1 2", False),
    (ADJACENT, "İ x", False),
    (ONCE, "window", True),
    (ONCE, "window win", False),
    (EXCLUDE, "we win.", True),
    (EXCLUDE, "we Win it", True),
    (EXCLUDE, "we win it", False),
    (PALINDROME, "I have it", True),
    (PALINDROME, "At noon.", False),
    (POSITION, "It is. We, win here.", True),
    (POSITION, "It is. We do Win here.", False),
    (POSITION, "It is U.S. made. We do win here.", True),
    (START_END, ". it .", True),
    (START_END, "so so", True),
    (START_END, '"so it is so"', False),
    (TWO, "One *** two", True),
    (TWO, "***One***two***", True),
    (TWO, "One.\n* * *\nTwo.", False),
    (TWO2, "One.\n \nTwo.\n\nThree.", True),
    (TWO2, "One.\n\n---", True),
    (FIRST_EACH, "So. So. So.", False),
    (FIRST_EACH, "So it is. So: we stop.", False),
    (FIRST_EACH, "So it is ab.cd so", False),
    (FIRST, "So, it is 5.", False),
    (FIRST, "So", True),
    (LAST_EACH, "So. So.", True),
    (LAST_EACH, "It is so... We think so!", True),
    (LAST, "So", True),
    (LAST, "It is s-o", True),
    (DOT, "It is 5。", True),
    (EXCLAMATION, r"$\int\!x$", False),
    (EXCLAMATION, "Stop！", True),
    (LOWERCASE, r"THE $x + y + z = 1$", False),
    (LOWERCASE, "été où ça", True),
    (COMPOSITION, "We do it.***And it is.***So we stop.", True),
    (COMPOSITION, "We do it.\n* * *\nAnd it is.\n* * *\nSo we stop.", False),
    (COMPOSITION, "We do it.***And it is.***So we stop.***", False),
    (UNIQUE, "Stop or stop", True),
    (UNIQUE, "It is. We stop.", False),
    (INCREMENT, "winbarbar", True),
    (LETTERS, r"\alpha", True),
    (LETTER, r"\quad q", False),
]


@pytest.mark.parametrize(("key", "text", "expected"), QUIRKS)
def test_compat_keeps_official_quirks(key: str, text: str, expected: bool) -> None:
    verdict = check(key, text, ARGUMENTS[key], "compat")
    assert verdict.passed is expected, verdict.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 3.5. See a.com!", ["It is 3.5.", "See a.com!"]),
        ("Mr. A. Smith of the U.S.A. left... He did", ["Mr. A. Smith of the U.S.A. left...", "He did"]),
        ('He said "go." She went.', ['He said "go".', "She went."]),
        ("One\nline", ["One line"]),
        ("f(x).g", ["f(x).", "g"]),
        ("Tom Smith Jr. Then he left.", ["Tom Smith Jr. Then he left."]),
    ],
)
def test_ifevalg_sentences(text: str, expected: list[str]) -> None:
    assert ifevalg_sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't say.", ["I", "ca", "n't", "say", "."]),
        ('He (Mr. Tom) said "no".', ["He", "(", "Mr.", "Tom", ")", "said", "``", "no", "''", "."]),
        ("It is. Stop", ["It", "is", ".", "Stop"]),
        ("3,000 well-known: e.g. 5%", ["3,000", "well-known", ":", "e.g.", "5", "%"]),
        ("We cannot--really... [x]", ["We", "can", "not", "--", "really", "...", "[", "x", "]"]),
        ("Tom's dogs' toys", ["Tom", "'s", "dogs", "'", "toys"]),
    ],
)
def test_nltk_tokens(text: str, expected: list[str]) -> None:
    assert nltk_tokens(text) == expected


@pytest.mark.parametrize(
    ("key", "kwargs", "word"),
    [
        (PHRASE, {"phrase": "two words", "small_n": 2}, "phrase"),
        (FIRST, {"first_word": "two words"}, "one word"),
        (LETTER, {"letter": "#", "let_frequency": 1, "let_relation": "at least"}, "letter"),
        (LETTERS, {"N": 0, "relation": "at least"}, "outside"),
        (POSITION, {"keyword": "win", "n": 1}, "lacks 'm'"),
    ],
)
def test_bad_arguments_are_named(key: str, kwargs: dict[str, Any], word: str) -> None:
    with pytest.raises(ConstraintError, match=word):
        validate(key, kwargs)


def test_a_word_may_come_as_a_list_of_one() -> None:
    assert validate(FIRST_EACH, {"first_word": [" so "], "last_word": None}) == {"first_word": "so"}


def test_a_copy_needs_a_question() -> None:
    with pytest.raises(ConstraintError, match="question"):
        sample(SPAN, random.Random(0))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), question=st.sampled_from([REQUEST, "Why?", "How many apples  are\nleft? Say it."]))
def test_a_sampled_copy_is_what_both_modes_ask_for(seed: int, question: str) -> None:
    for key in (COPY, SIMPLE, MULTIPLE, SPAN):
        kwargs = sample(key, random.Random(seed), question=question)
        done = transform(key, "Some text.", kwargs)
        assert done is not None
        assert done in question or key == MULTIPLE


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((COPY, ARGUMENTS[COPY]), ("punctuation:no_comma", {})),
        ((TWO, {}), (TWO2, {})),
        ((BRACKETS, {}), (BIGRAMS, {})),
        ((FIRST, {"first_word": "so"}), (FIRST, {"first_word": "yes"})),
        ((LAST, {"last_word": "so"}), ("startend:end_checker", {"end_phrase": "Bye."})),
        ((ONCE, {"keyword": "win"}), (DIFFERENT, ARGUMENTS[DIFFERENT])),
        ((ONCE, {"keyword": "win"}), (EXCLUDE, {"keyword": "win"})),
        ((DOT, {}), ("startend:end_checker", {"end_phrase": "Bye."})),
        ((LETTERS, {"N": 90, "relation": "at least"}), (LETTERS, {"N": 80, "relation": "less than"})),
    ],
)
def test_contradictions_are_seen_both_ways(a: Any, b: Any) -> None:
    assert conflicts(a, b)
    assert conflicts(b, a)


@pytest.mark.parametrize("mode", ["compat", "hardened"])
def test_a_blank_text_fails_everything(mode: Mode) -> None:
    assert [key for key in ARGUMENTS if check(key, " \n\t", ARGUMENTS[key], mode).score != 0.0] == []


HOSTILE = [
    "\n",
    "a",
    "a ",
    ".",
    "a. ",
    "***\n",
    "-",
    "[",
    "<<",
    "Time ",
    '"',
    "'",
    "win",
    "A.",
    "[a_",
    "x.-",
    "`",
    "aB",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_hostile_texts_are_decided(piece: str) -> None:
    """A linear check takes well under a second here; a quadratic one would take minutes."""
    text = "x" + piece * (100_000 // len(piece))
    begun = time.process_time()
    for key, kwargs in ARGUMENTS.items():
        for mode in ("compat", "hardened"):
            assert check(key, text, kwargs, mode).score is not None
    assert time.process_time() - begun < 60
