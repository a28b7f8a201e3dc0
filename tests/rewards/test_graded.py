"""Graded credit: how far off a text is, what a near miss earns, and that the verdict stays binary."""

import math

import pytest
from pydantic import ValidationError

from adhere.rewards.adherence import adherence
from adhere.rewards.checklist import AndCheck, ChainCheck, Requirement, RuleCheck, SelectCheck, score_batch
from adhere.rewards.components.checklist import ChecklistComponent
from adhere.rewards.constraints import check, prepare, registry
from adhere.rewards.verdict import Deviation, Verdict, failed

WORDS = "length_constraint_checkers:number_words"


@pytest.mark.parametrize(
    ("key", "kwargs", "text", "off"),
    [
        (WORDS, {"num_words": 5, "relation": "at least"}, "one two", Deviation(3, "word", 5)),
        (WORDS, {"num_words": 2, "relation": "less than"}, "one two", Deviation(1, "word", 2)),
        (WORDS, {"num_words": 2, "relation": "at least"}, "one two", None),
        ("keywords:frequency", {"keyword": "sum", "frequency": 3, "relation": "at least"}, "a sum",
         Deviation(2, "occurrence", 3)),
        ("keywords:letter_frequency", {"letter": "z", "let_frequency": 1, "let_relation": "less than"}, "zoo",
         Deviation(1, "letter", 1)),
        ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a b\n* c d\n* e f", Deviation(2, "bullet", 1)),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "only *one here*",
         Deviation(1, "highlight", 2)),
        ("length_constraints:number_sentences", {"num_sentences": 4, "relation": "at least"}, "It rains. We stay.",
         Deviation(2, "sentence", 4)),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "one\n***\ntwo", Deviation(1, "paragraph", 3)),
        ("keywords:keyword_specific_position", {"keyword": "rain", "n": 1, "m": 2}, "We like the rain here.",
         Deviation(2, "place", 2)),
        # not met in a way that no number tells
        ("keywords:keyword_specific_position", {"keyword": "snow", "n": 1, "m": 2}, "We like the rain here.", None),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "one\n***\n\n***\ntwo", None),
        ("length_constraints:nth_paragraph_first_word",
         {"num_paragraphs": 3, "nth_paragraph": 1, "first_word": "today"}, "one\n\ntwo", None),
        ("punctuation:no_comma", {}, "a, b", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["compat", "hardened"])
def test_how_far_off_a_text_is(key, kwargs, text, off, mode):
    verdict = check(key, text, kwargs, mode)
    assert verdict.deviation == off
    assert off is None or (verdict.score == 0.0 and verdict.detail.endswith(str(off)))


def test_a_deviation_is_told_in_words_and_travels():
    assert [str(Deviation(n, "word", 9)) for n in (1, 3, 2.5)] == [
        "off by 1 word",
        "off by 3 words",
        "off by 2.5 words",
    ]
    verdict = failed("2 words", Deviation(3, "word", 5))
    assert verdict.detail == "2 words: off by 3 words" and Verdict.decode(verdict.encode()) == verdict
    assert Verdict.decode(failed("x").encode()) == failed("x")


@pytest.mark.parametrize(("amount", "scale"), [(0, 1), (-1, 1), (math.inf, 1), (math.nan, 1), (1, 0), (1, math.nan)])
def test_a_deviation_that_measures_nothing_is_refused(amount, scale):
    with pytest.raises(ValueError, match="above 0 and finite"):
        Deviation(amount, "word", scale)
    with pytest.raises(ValueError, match="only what is not met"):
        Verdict(1.0, deviation=Deviation(1, "word", 1))


def scores(text, requirements, steepness, scoring="mean"):
    return score_batch([text], [requirements], [""], scoring, steepness=steepness)[0]


def wish(key, kwargs, weight=100.0):
    return Requirement(key, "", RuleCheck.of(prepare(key, kwargs)), weight=weight)


def test_near_misses_earn_more_the_nearer_they_are_and_never_as_much_as_meeting():
    rule = [wish(WORDS, {"num_words": 10, "relation": "at least"})]
    found = [scores("word " * n, rule, 5.0) for n in range(1, 12)]
    credits = [verdict.score for verdict in found]
    assert credits == sorted(credits) and credits[8] < 1.0 and credits[9] == credits[10] == 1.0
    assert credits[6] == pytest.approx(math.exp(-5.0 * 3 / 10))
    # the binary verdicts, and the figures made of them, stay
    assert [verdict.parts[0].score for verdict in found] == [0.0] * 9 + [1.0] * 2
    assert [adherence(None, verdict).followed for verdict in found] == [False] * 9 + [True] * 2
    assert adherence(None, found[8]).sacc == 0.0
    assert [scores("word " * n, rule, None).score for n in range(1, 12)] == [0.0] * 9 + [1.0] * 2


def test_the_smallest_deviation_against_the_largest_scale_is_not_met():
    rule = [wish(WORDS, {"num_words": 20_000, "relation": "at least"})]
    assert scores("word " * 19_999, rule, 0.1).score == 0.99


def test_a_blank_text_and_a_refusal_without_a_number_earn_nothing():
    rules = [wish(WORDS, {"num_words": 3, "relation": "less than"}), wish("punctuation:no_comma", {})]
    assert scores("  ", rules, 5.0).score == 0.0
    assert scores("a, b", rules, 5.0).score == 0.5


AT_LEAST_10 = {"num_words": 10, "relation": "at least"}
FAR = RuleCheck.of(prepare(WORDS, {"num_words": 20, "relation": "at least"}))
NEAR = RuleCheck.of(prepare(WORDS, AT_LEAST_10))
COMMA = RuleCheck.of(prepare("punctuation:no_comma", {}))
TITLE = RuleCheck.of(prepare("detectable_format:title", {}))


@pytest.mark.parametrize(
    ("check", "text", "off"),
    [
        (AndCheck((NEAR, COMMA)), "word " * 8, Deviation(2, "word", 10)),
        (AndCheck((COMMA, NEAR)), "word " * 8, Deviation(2, "word", 10)),
        (AndCheck((NEAR, FAR)), "word " * 8, Deviation(12, "word", 20)),
        (AndCheck((FAR, NEAR)), "word " * 8, Deviation(12, "word", 20)),
        (AndCheck((NEAR, AndCheck((COMMA, FAR)))), "word " * 8, Deviation(12, "word", 20)),
        (SelectCheck(COMMA, NEAR, FAR), "word " * 8, Deviation(2, "word", 10)),
        (SelectCheck(COMMA, NEAR, FAR), "word, " * 8, Deviation(12, "word", 20)),
        (SelectCheck(COMMA, AndCheck((NEAR, COMMA)), FAR), "word " * 8, Deviation(2, "word", 10)),
        # a part that is refused without a number is as far off as can be
        (AndCheck((NEAR, COMMA)), "word, " * 8, None),
        (AndCheck((TITLE, NEAR)), "word " * 8, None),
        (SelectCheck(COMMA, TITLE, NEAR), "word " * 8, None),
        # a chain counts its steps
        (ChainCheck((NEAR, COMMA)), "word " * 8, None),
        (AndCheck((NEAR, COMMA)), "word " * 12, None),
    ],
)
def test_what_is_composed_is_as_far_off_as_its_parts(check, text, off):
    wish_for = [Requirement("r", "", check)]
    (part,) = scores(text, wish_for, None).parts
    assert part.deviation == off
    assert off is None or (part.score == 0.0 and str(off) in part.detail)
    credit = 0.0 if off is None else math.exp(-2.0 * off.amount / off.scale)
    assert scores(text, wish_for, 2.0).score == pytest.approx(part.score or credit)
    assert Verdict.decode(part.encode()) == part


def test_the_component_grades_means_only():
    assert ChecklistComponent().grading == "binary"
    assert ChecklistComponent(grading="graded", steepness=2.0).steepness == 2.0
    for scoring in ("all", "implicit"):
        with pytest.raises(ValidationError, match="grading: graded needs scoring"):
            ChecklistComponent(grading="graded", scoring=scoring)
    with pytest.raises(ValidationError):
        ChecklistComponent(steepness=0.0)


def test_every_constraint_with_a_bound_says_how_far_off_a_text_is():
    bounded = {key for key, constraint in registry().items() if any(p.name == "relation" for p in constraint.params)}
    assert len(bounded) >= 5
    for key in bounded:
        given = {"relation": "at least", "keyword": "rain"}
        kwargs = {param.name: given.get(param.name, 900) for param in registry()[key].params}
        assert check(key, "Just a few words.", kwargs).deviation is not None, key
