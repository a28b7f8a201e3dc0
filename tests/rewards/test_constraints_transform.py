"""Transforms: what they return complies in both modes, keeps the boxed answer, and is left alone the second time."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adhere.rewards.constraints import check, comply, conflicts, registry, sample, transform
from adhere.rewards.constraints.text.views import boxed_spans

QUESTION = "Tom has 3 apples and eats 1. How many are left?"
REWRITABLE = [key for key, constraint in registry().items() if constraint.rewritable]
ON_ANSWERS = [key for key in REWRITABLE if registry()[key].scope == "answer"]
SOLUTIONS = [
    "Natalia sold 48/2 = 24 clips in May. She sold 48+24 = 72 clips in all. The answer is $\\boxed{72}$.",
    "We have $x = 3$ and $y = 4$, so $x + y = 7$.\n\nHence the total is \\boxed{7}.",
    "We compute \\[\\frac{1}{2} + \\frac{1}{3} = \\frac{5}{6},\\] and so the result is $\\boxed{\\frac{5}{6}}$.",
    "The price is $1,200 and the tax is $300, so we pay 1,500 dollars: \\boxed{1,500}",
    "* first we take 2*3 = 6\n* then 6*4 = 24\n\\boxed{24}",
    "\\boxed{5}",
    "3 + 4 = 7 \\boxed{7}",
]
RELAXED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def box(text: str) -> str:
    spans = boxed_spans(text)
    return text[slice(*spans[-1])].casefold().replace(",", "").replace("\\\\", "\\") if spans else ""


@pytest.mark.parametrize("key", REWRITABLE)
@RELAXED
@given(seed=st.integers(0, 10**6), text=st.sampled_from(SOLUTIONS))
def test_a_transformed_solution_complies(key: str, seed: int, text: str) -> None:
    kwargs = sample(key, random.Random(seed), question=QUESTION)
    done = transform(key, text, kwargs)
    assert done is not None
    for mode in ("compat", "hardened"):
        assert check(key, done, kwargs, mode).passed
    assert box(done) == box(text)
    assert transform(key, done, kwargs) == done


@pytest.mark.parametrize("key", list(registry()))
@RELAXED
@given(seed=st.integers(0, 10**6), text=st.text(max_size=200))
def test_any_text_is_decided_and_transformed_or_given_up(key: str, seed: int, text: str) -> None:
    kwargs = sample(key, random.Random(seed), question=QUESTION)
    done = transform(key, text, kwargs)
    for mode in ("compat", "hardened"):
        assert check(key, text, kwargs, mode).score in (0.0, 1.0)
        assert done is None or check(key, done, kwargs, mode).passed


@RELAXED
@given(seed=st.integers(0, 10**6), text=st.sampled_from(SOLUTIONS), count=st.integers(1, 3))
def test_comply_meets_everything_or_nothing(seed: int, text: str, count: int) -> None:
    rng = random.Random(seed)
    wishes = [(key, sample(key, rng, question=QUESTION)) for key in rng.sample(ON_ANSWERS, count)]
    done = comply(text, wishes)
    if done is not None:
        assert all(check(key, done, kwargs, mode).passed for key, kwargs in wishes for mode in ("compat", "hardened"))
        assert box(done) == box(text)


def test_comply_reaches_nearly_all_that_does_not_conflict() -> None:
    rng = random.Random(7)
    tried = missed = contradictory = 0
    for _ in range(300):
        wishes = [(key, sample(key, rng, question=QUESTION)) for key in rng.sample(ON_ANSWERS, 3)]
        text = rng.choice(SOLUTIONS)
        if any(conflicts(a, b) for a, b in itertools.combinations(wishes, 2)):
            contradictory += comply(text, wishes) is not None
            continue
        tried += 1
        missed += comply(text, wishes) is None
    assert contradictory == 0
    assert missed <= 0.04 * tried


def test_a_language_has_no_transform() -> None:
    assert transform("language:response_language", "The answer is 5.", {"language": "de"}) is None


def test_nothing_is_made_of_a_blank_text() -> None:
    assert [key for key in REWRITABLE if transform(key, " \n", sample(key, random.Random(0), question=QUESTION))] == []


def test_a_comma_in_the_answer_cannot_be_dropped() -> None:
    assert transform("punctuation:no_comma", "So we get \\boxed{(1, 2)}", {}) is None
    assert transform("punctuation:no_comma", "So, we get \\boxed{1,000}", {}) == "So we get \\boxed{1000}"


def test_multiplication_signs_survive_highlighting() -> None:
    done = transform("detectable_format:number_highlighted_sections", "We take 2*3*4 = 24 here.", {"num_highlights": 2})
    assert done is not None
    assert "2*3*4 = 24" in done
