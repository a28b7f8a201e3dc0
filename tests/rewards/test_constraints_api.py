"""The registry and its calls: validation, descriptions, sampling, conflicts, the reference page."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.constraints import (
    DEFAULT_RANGES,
    MATHIF_KEYWORDS,
    TRAINING_KEYWORDS,
    check,
    conflicts,
    describe,
    official_cut,
    paraphrases,
    registry,
    sample,
    transform_order,
    validate,
)
from adhere.rewards.constraints.core.document import reference
from adhere.rewards.constraints.families import SHIPPED
from adhere.rewards.constraints.text.fillers import FILLERS
from adhere.rewards.errors import ConstraintError
from adhere.rewards.verdict import Status

QUESTION = "Tom has 3 apples and eats 1. How many are left?"
BULLETS, WORDS = "detectable_format:number_bullet_lists", "length_constraint_checkers:number_words"
FREQUENCY, EXISTENCE, FORBIDDEN = "keywords:frequency", "keywords:existence", "keywords:forbidden_words"
REPEAT, LANGUAGE = "combination:repeat_prompt", "language:response_language"
UPPER, LOWER, CAPITALS = (
    "change_case:english_capital",
    "change_case:english_lowercase",
    "change_case:capital_word_frequency",
)


def test_every_checker_is_registered_and_ordered() -> None:
    counts = Counter(constraint.collection for constraint in registry().values())
    assert counts == {"mathif": 15, "ifeval": 11, "iftrain": 29, "reasonif": 6}
    assert sorted(transform_order()) == sorted(registry())


@pytest.mark.parametrize(
    ("key", "kwargs", "words"),
    [
        ("punctuation:no_coma", {}, ["punctuation:no_coma", "did you mean 'punctuation:no_comma'"]),
        (BULLETS, {"num_bulets": 3}, [BULLETS, "num_bulets", "did you mean 'num_bullets'"]),
        (BULLETS, None, [BULLETS, "lacks 'num_bullets'"]),
        (BULLETS, {"num_bullets": None}, ["lacks 'num_bullets'"]),
        (BULLETS, {"num_bullets": 0}, ["num_bullets", "outside"]),
        (BULLETS, {"num_bullets": 2.5}, ["whole number"]),
        (BULLETS, {"num_bullets": float("nan")}, ["whole number"]),
        (BULLETS, {"num_bullets": float("inf")}, ["num_bullets"]),
        (BULLETS, {"num_bullets": "3"}, ["whole number"]),
        (BULLETS, {"num_bullets": True}, ["whole number"]),
        (BULLETS, [3], ["mapping"]),
        (WORDS, {"num_words": 50, "relation": "at lest"}, ["relation", "did you mean 'at least'"]),
        (EXISTENCE, {"keywords": "win"}, ["list"]),
        (EXISTENCE, {"keywords": []}, ["list"]),
        (EXISTENCE, {"keywords": ["win", " "]}, ["not blank"]),
        (LANGUAGE, {"language": "xx"}, ["language", "'xx'"]),
        ("punctuation:no_comma", {"num": 1}, ["takes no arguments"]),
        ("detectable_format:multiple_sections", {"section_spliter": "(a+)+", "num_sections": 2}, ["section_spliter"]),
    ],
)
def test_bad_arguments_are_named(key: str, kwargs: Any, words: list[str]) -> None:
    with pytest.raises(ConstraintError) as caught:
        validate(key, kwargs, where="items.jsonl:7")
    assert str(caught.value).startswith("items.jsonl:7: ")
    assert [word for word in words if word not in str(caught.value)] == []


def test_padding_is_dropped_and_whole_floats_become_integers() -> None:
    padded = {"num_bullets": 3.0, "keywords": None, "relation": None}
    assert validate(BULLETS, padded) == {"num_bullets": 3}
    assert isinstance(validate(BULLETS, padded)["num_bullets"], int)
    assert check(BULLETS, "* a\n* b\n* c", padded).passed


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ConstraintError, match="strict"):
        check("punctuation:no_comma", "x", {}, "strict")  # type: ignore[arg-type]


def test_a_keyword_that_is_no_regular_expression() -> None:
    kwargs = {"keywords": ["c++("]}
    assert check(EXISTENCE, "we use c++( here", kwargs).passed
    verdict = check(EXISTENCE, "we use c++( here", kwargs, "compat")
    assert (verdict.score, verdict.status) == (None, Status.ERROR)
    assert "regular expression" in verdict.detail


@pytest.mark.parametrize("key", list(registry()))
def test_paraphrases_differ_and_carry_the_arguments(key: str) -> None:
    kwargs = sample(key, random.Random(3), question=QUESTION)
    count = paraphrases(key)
    texts = {describe(key, kwargs, variant) for variant in range(count)}
    assert len(texts) == count >= 3
    assert describe(key, kwargs, count) == describe(key, kwargs)
    numbers = [str(v) for v in kwargs.values() if isinstance(v, int)]
    if key != FREQUENCY:
        assert all(number in text for number in numbers for text in texts)


def test_a_frequency_reads_naturally() -> None:
    never = describe(FREQUENCY, {"keyword": "win", "frequency": 1, "relation": "less than"})
    assert never.endswith('the word "win" should appear not even once.')


@pytest.mark.parametrize("key", list(registry()))
def test_sampling_is_seeded_and_valid(key: str) -> None:
    one, two = (sample(key, random.Random(5), question=QUESTION) for _ in range(2))
    assert one == two == validate(key, one)


def test_sampling_obeys_pools_and_ranges() -> None:
    rng = random.Random(0)
    drawn = [sample(BULLETS, rng, ranges={"num_bullets": (7, 8)})["num_bullets"] for _ in range(40)]
    assert set(drawn) == {7, 8}
    kwargs = sample(EXISTENCE, rng, keywords=["zebra", "apple"], ranges={"num_keywords": (2, 2)})
    assert sorted(kwargs["keywords"]) == ["apple", "zebra"]


def test_sampling_says_what_it_lacks() -> None:
    rng = random.Random(0)
    with pytest.raises(ConstraintError, match="num_bullets"):
        sample(BULLETS, rng, ranges={"num_bulets": (1, 2)})
    with pytest.raises(ConstraintError, match="question"):
        sample(REPEAT, rng)
    with pytest.raises(ConstraintError, match="keywords"):
        sample(FREQUENCY, rng, keywords=[])
    with pytest.raises(ConstraintError, match="keywords"):
        sample(EXISTENCE, rng, keywords=["one"], ranges={"num_keywords": (2, 2)})


def test_training_words_are_apart_from_mathifs_from_each_other_and_from_the_fillers() -> None:
    for word in TRAINING_KEYWORDS:
        assert not [held for held in MATHIF_KEYWORDS if word in held or held in word]
        assert not [other for other in TRAINING_KEYWORDS if word != other and word in other]
        assert not [sentence for sentence in FILLERS if word in sentence.lower()]
    assert len(TRAINING_KEYWORDS) >= 80


CONFLICTING: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    ((UPPER, {}), (LOWER, {})),
    ((UPPER, {}), (LANGUAGE, {"language": "de"})),
    ((UPPER, {}), (CAPITALS, {"capital_frequency": 3, "capital_relation": "less than"})),
    ((LOWER, {}), (CAPITALS, {"capital_frequency": 3, "capital_relation": "at least"})),
    ((LOWER, {}), ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2})),
    ((REPEAT, {"prompt_to_repeat": "If a, then?"}), ("punctuation:no_comma", {})),
    ((REPEAT, {"prompt_to_repeat": QUESTION}), ("startend:quotation", {})),
    ((REPEAT, {"prompt_to_repeat": QUESTION}), (LOWER, {})),
    ((REPEAT, {"prompt_to_repeat": QUESTION}), (FORBIDDEN, {"forbidden_words": ["apples"]})),
    ((REPEAT, {"prompt_to_repeat": QUESTION}), (WORDS, {"num_words": 9, "relation": "less than"})),
    ((EXISTENCE, {"keywords": ["win"]}), (FORBIDDEN, {"forbidden_words": ["win"]})),
    (
        (EXISTENCE, {"keywords": ["equation"]}),
        (FREQUENCY, {"keyword": "equation", "frequency": 1, "relation": "less than"}),
    ),
    (
        (FREQUENCY, {"keyword": "win", "frequency": 3, "relation": "at least"}),
        (FREQUENCY, {"keyword": "win", "frequency": 2, "relation": "less than"}),
    ),
    ((WORDS, {"num_words": 90, "relation": "at least"}), (WORDS, {"num_words": 50, "relation": "less than"})),
    ((BULLETS, {"num_bullets": 2}), (BULLETS, {"num_bullets": 3})),
    ((LANGUAGE, {"language": "de"}), (LANGUAGE, {"language": "fr"})),
    ((LANGUAGE, {"language": "de"}), ("startend:end_checker", {"end_phrase": "That is all."})),
]


@pytest.mark.parametrize(("a", "b"), CONFLICTING)
def test_contradictions_are_seen_both_ways(a: Any, b: Any) -> None:
    assert conflicts(a, b)
    assert conflicts(b, a)


def test_conflicts_are_symmetric_and_no_constraint_excludes_itself() -> None:
    rng = random.Random(1)
    wishes = [(key, sample(key, rng, question=QUESTION)) for key in list(registry()) * 3]
    for a, b in itertools.combinations(wishes, 2):
        assert conflicts(a, b) is conflicts(b, a)
    assert [wish for wish in wishes if conflicts(wish, wish)] == []


@pytest.mark.parametrize(
    ("response", "cut"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        ("a</think>b</think>c", "b"),
        ("<think>unfinished", "unfinished"),
        ("<think>a</think>x<answer>b</answer>c", "b"),
        ("<think>a</think>", ""),
    ],
)
def test_official_cut(response: str, cut: str) -> None:
    assert official_cut(response) == cut


@pytest.mark.parametrize("key", list(registry()))
def test_an_ids_prefix_names_the_module_of_its_class(key: str) -> None:
    module = type(registry()[key]).__module__
    assert module == f"adhere.rewards.constraints.families.{key.partition(':')[0]}"


def test_the_order_of_draws_names_every_constraint_that_ships() -> None:
    assert list(registry()) == list(SHIPPED)
    assert len(set(SHIPPED)) == len(SHIPPED)


def test_the_reference_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs/constraints.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "run: python -m adhere.rewards.constraints.core.document > docs/constraints.md"
    )
    assert [name for name in DEFAULT_RANGES if name not in reference()] == []


def test_importing_loads_neither_langdetect_nor_torch() -> None:
    heavy = "('langdetect', 'torch', 'transformers')"
    code = f"import sys, adhere.rewards.constraints; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
