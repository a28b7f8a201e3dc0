"""What ``hardened`` passes and fails for MathIF's ids, with the ways models found to please a checker."""

from __future__ import annotations

import time
from typing import Any

import pytest

from adhere.rewards.constraints import Mode, check, registry

EXISTENCE, FREQUENCY, FORBIDDEN = "keywords:existence", "keywords:frequency", "keywords:forbidden_words"
LANGUAGE, WORDS = "language:response_language", "length_constraint_checkers:number_words"
BULLETS = "detectable_format:number_bullet_lists"
HIGHLIGHTS = "detectable_format:number_highlighted_sections"
SECTIONS = "detectable_format:multiple_sections"
REPEAT, END, QUOTATION = "combination:repeat_prompt", "startend:end_checker", "startend:quotation"
CAPITALS, UPPER, LOWER = (
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
)
NO_COMMA = "punctuation:no_comma"

MATHIF = [key for key, constraint in registry().items() if constraint.collection == "mathif"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    EXISTENCE: {"keywords": ["win", "bar"]},
    FREQUENCY: {"keyword": "win", "frequency": 2, "relation": "at least"},
    FORBIDDEN: {"forbidden_words": ["win", "equal"]},
    LANGUAGE: {"language": "ru"},
    WORDS: {"num_words": 5, "relation": "at least"},
    BULLETS: {"num_bullets": 2},
    HIGHLIGHTS: {"num_highlights": 2},
    SECTIONS: {"section_spliter": "SECTION", "num_sections": 2},
    REPEAT: {"prompt_to_repeat": "How many apples  are left?"},
    END: {"end_phrase": "Any other questions?"},
    QUOTATION: {},
    CAPITALS: {"capital_frequency": 2, "capital_relation": "at least"},
    UPPER: {},
    LOWER: {},
    NO_COMMA: {},
}
RUSSIAN = "Ответ на эту задачу очень простой, потому что сумма двух чисел равна пяти."

CASES: list[tuple[str, str, bool]] = [
    (EXISTENCE, "A win at the Bar.", True),
    (EXISTENCE, "_win_ and *bar*", True),
    (EXISTENCE, "following the barrel", False),
    (EXISTENCE, r"win $\bar{x}$", False),
    (EXISTENCE, r"win \begin{bar}x\end{bar}", False),
    (FREQUENCY, "win win", True),
    (FREQUENCY, "win winning window", False),
    (FORBIDDEN, "the winner equals", True),
    (FORBIDDEN, "They WIN.", False),
    (FORBIDDEN, "they w\u200bin", False),
    (FORBIDDEN, "they ｗｉｎ", False),
    (FORBIDDEN, r"$\text{win}$", False),
    (LANGUAGE, RUSSIAN, True),
    (LANGUAGE, RUSSIAN + r" $\text{total} = \boxed{5}$", True),
    (LANGUAGE, "42", False),
    (LANGUAGE, "$42$ да", False),
    (LANGUAGE, "The answer to this task is simple because the sum is five.", False),
    (LANGUAGE, "Відповідь на цю задачу дуже проста, тому що її сума дорівнює п'яти.", False),
    (LANGUAGE, RUSSIAN + " The answer to this task is simple because the sum of the two is five.", False),
    (WORDS, "one two three four five", True),
    (WORDS, r"\frac{1}{2} \cdot \alpha \beta \gamma", False),
    (WORDS, "don't can't won't", False),
    (WORDS, "___ __ _ ____ ___", False),
    (BULLETS, "* one\n- two", True),
    (BULLETS, "Intro\n  * one\n\n---\n* two\n***", True),
    (BULLETS, "* $-1$\n$$\n- x\n- y\n$$\n* two", True),
    (BULLETS, "* one\n* two\n+ three", False),
    (BULLETS, "* one\n* two\n• three", False),
    (BULLETS, "*italic* one\n*italic* two", False),
    (BULLETS, "-1 + x\n-2 + x", False),
    (BULLETS, "---\n---", False),
    (BULLETS, "* \n* ", False),
    (HIGHLIGHTS, "*one* and **two parts**", True),
    (HIGHLIGHTS, "* *one*\n* *two*", True),
    (HIGHLIGHTS, "2*3*4*5", False),
    (HIGHLIGHTS, "***one***", False),
    (HIGHLIGHTS, "$a*b*c*d*e$ `*x* *y*`", False),
    (HIGHLIGHTS, "* one\n* two *", False),
    (HIGHLIGHTS, "*-* *.*", False),
    (SECTIONS, "SECTION 1\na\nSECTION 2\nb", True),
    (SECTIONS, "**SECTION 1**\na\n## SECTION 2: more\nb", True),
    (SECTIONS, "SECTION 1\na\nSECTION 2\nb\nSECTION 3\nc", False),
    (SECTIONS, "SECTION 1 SECTION 2", False),
    (SECTIONS, "SECTION 1\n\nSECTION 2\n", False),
    (SECTIONS, "SECTION 1\na\nSECTION 1\nb", False),
    (SECTIONS, "SECTION 2\na\nSECTION 1\nb", False),
    (SECTIONS, "Section 1\na\nSection 2\nb", False),
    (REPEAT, "How many apples are left?\nFive.", True),
    (REPEAT, "How many apples are left?", False),
    (REPEAT, "How many apples are left? How many apples are left?", False),
    (REPEAT, "HOW MANY APPLES ARE LEFT? Five.", False),
    (REPEAT, "Sure! How many apples are left? Five.", False),
    (END, "It is 5. Any other questions?", True),
    (END, '"It is 5. **any other questions?**"', True),
    (END, "Any other questions?", False),
    (END, "Any other questions? 5. Any other questions?", False),
    (END, "It is 5. Any other questions? Bye.", False),
    (QUOTATION, '"It is 5."', True),
    (QUOTATION, '"He said "five" to us."', True),
    (QUOTATION, '"He said \\"five\\"."', True),
    (QUOTATION, '"It" is "5"', False),
    (QUOTATION, '""', False),
    (QUOTATION, '"', False),
    (QUOTATION, '"..."', False),
    (QUOTATION, "“It is 5.”", False),
    (CAPITALS, "NASA and ESA", True),
    (CAPITALS, "I have A and B in $ABC = DEF$", False),
    (CAPITALS, r"\BOXED{AB} $\FRAC{CD}{EF}$", False),
    (UPPER, r"THE ANSWER IS $x = \frac{1}{2}$, SO \boxed{\frac{1}{2}}", True),
    (UPPER, r"THE ANSWER IS \BOXED{5}", True),
    (UPPER, r"\boxed{5}", False),
    (UPPER, "THE ANSWER is 5", False),
    (UPPER, r"THE ANSWER $\text{is hidden here in lower case}$", False),
    (UPPER, "DIE LÖSUNG DIESER AUFGABE LAUTET EINDEUTIG FÜNF", False),
    (LOWER, r"the answer is $ABC = 5$, so \boxed{B}", True),
    (LOWER, "the sum of 3 and 4 is 7", True),
    (LOWER, "The answer is 5", False),
    (LOWER, "5", False),
    (LOWER, "la respuesta correcta es cinco y nada mas que decir", False),
    (NO_COMMA, r"$\int x \, dx = 1$", True),
    (NO_COMMA, "1,000", False),
    (NO_COMMA, "three， four", False),
    (NO_COMMA, r"a \\, b", False),
]


@pytest.mark.parametrize(("key", "text", "expected"), CASES)
def test_hardened(key: str, text: str, expected: bool) -> None:
    verdict = check(key, text, ARGUMENTS[key])
    assert verdict.passed is expected, verdict.detail


@pytest.mark.parametrize(
    ("key", "kwargs", "text", "expected"),
    [
        (FREQUENCY, {"keyword": "now", "frequency": 1, "relation": "less than"}, "we know snow", True),
        (FREQUENCY, {"keyword": "now", "frequency": 1, "relation": "less than"}, "right now", False),
        (FREQUENCY, {"keyword": "c++", "frequency": 1, "relation": "at least"}, "use c++ here", True),
        (WORDS, {"num_words": 4, "relation": "less than"}, r"so $x = \frac{1}{2}$", False),
        (WORDS, {"num_words": 4, "relation": "less than"}, r"it isn't \dots five", True),
        (CAPITALS, {"capital_frequency": 1, "capital_relation": "less than"}, "I call it $A$", True),
        (CAPITALS, {"capital_frequency": 1, "capital_relation": "less than"}, "OK then", False),
        (LANGUAGE, {"language": "es"}, "La respuesta es cinco porque la suma de los dos es cinco.", True),
        (LANGUAGE, {"language": "pt"}, "La respuesta es cinco porque la suma de los dos es cinco.", False),
        (LANGUAGE, {"language": "ja"}, "答えは五です。なぜなら、二と三の和は五だからです。", True),
        (LANGUAGE, {"language": "he"}, "התשובה היא חמש כי הסכום של שני המספרים הוא חמש", True),
    ],
)
def test_hardened_with_arguments(key: str, kwargs: dict[str, Any], text: str, expected: bool) -> None:
    assert check(key, text, kwargs).passed is expected


def test_every_constraint_has_passing_and_failing_cases() -> None:
    assert {(key, expected) for key, _, expected in CASES} == {(k, e) for k in MATHIF for e in (True, False)}


@pytest.mark.parametrize("mode", ["compat", "hardened"])
@pytest.mark.parametrize("text", ["", "  \n\t ", "\u2003\u00a0"])
def test_a_blank_text_fails_everything(text: str, mode: Mode) -> None:
    assert [key for key in MATHIF if check(key, text, ARGUMENTS[key], mode).score != 0.0] == []


def test_masked_formulas_do_not_swallow_prose() -> None:
    assert check(UPPER, "IT COSTS $5 and $6 IN TOTAL", {}).detail == '"and" is not upper case'
    assert check(LOWER, r"the answer \[ is Not closed", {}).detail == '"Not" is not lower case'


HOSTILE = ["\n", "* ", "*a", "$", "\\[", "\\begin{a", "\\boxed{", "{", '"a "', "_", "A.", "- - ", "a@", "SECTION 1\n"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_hostile_texts_are_decided(piece: str) -> None:
    """Linear-time checks take well under a second each here; a quadratic one would take minutes."""
    text = "x" + piece * (200_000 // len(piece))
    begun = time.process_time()
    for key in MATHIF:
        for mode in ("compat", "hardened"):
            assert check(key, text, ARGUMENTS[key], mode).score is not None
    assert time.process_time() - begun < 60
