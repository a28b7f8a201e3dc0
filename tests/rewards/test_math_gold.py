"""Gold answers as data sets write them."""

from __future__ import annotations

import pytest

from adhere.rewards.math import check_gold, normalise_gold
from adhere.rewards.verdict import Status

READABLE = [
    "72", "1,080", "-3", "\\$32,\\!348", "11,\\! 111,\\! 111,\\! 100", ".0000672", "\\frac 59", "\\frac9{19}",
    "\\frac{270}7\\text{ degrees}", "1\\frac{4}{5}", "864 \\mbox{ inches}^2", "\\text{(C)}", "\\text{east}",
    "x=5", "x \\in [-2,7]", "(0,9) \\cup (9,36)", "1 \\pm \\sqrt{19}", "\\{1\\pm\\sqrt{5},-2\\}", "4210_{5}",
    "\\begin{pmatrix} -1 & 0 \\\\ 0 & -1 \\end{pmatrix}", "5x - 7y + 11z + 4 = 0", "\\cot x", "25\\%",
    "0.\\overline{3}", "x \\ge 3", "\\emptyset", "July 4", "no solution",
]  # fmt: skip

UNREADABLE = [
    "",
    "  ",
    "???",
    "$",
    "\\frac{1}{",
    "\\text{}",
    "\\foo{bar}",
    "1+",
    "(" * 60,
    "1" * 3000,
    "{" * 2000 + "}" * 2000,
]


@pytest.mark.parametrize(
    ("raw", "gold"),
    [
        ("9 * 8 = 72\n#### 72", "72"),
        ("#### 1,080", "1080"),
        ("2,125.50", "2125.50"),
        ("-1,000", "-1000"),
        ("$x^2$", "x^2"),
        ("(1,234)", "(1,234)"),
        ("1,-2", "1,-2"),
        (r"\$36", r"\$36"),
    ],
)
def test_gold_answers_lose_their_wrapping_only(raw: str, gold: str) -> None:
    assert normalise_gold(raw) == gold


@pytest.mark.parametrize("gold", READABLE)
def test_a_readable_gold_verifies_against_itself(gold: str) -> None:
    assert check_gold(gold).passed


@pytest.mark.parametrize("gold", UNREADABLE)
def test_an_unreadable_gold_is_unparsed_and_says_why(gold: str) -> None:
    verdict = check_gold(gold)
    assert (verdict.status, verdict.score) == (Status.UNPARSED, None)
    assert "gold answer" in verdict.detail
