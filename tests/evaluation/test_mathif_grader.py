"""MathIF's own judgement of answers; each verdict below is that of the official code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adhere.evaluation.mathif_grader import official_answer, official_correct


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is \\boxed{x=5}. Done", "5"),
        ("\\boxed{3} or \\boxed{4}", "4"),
        ("It is \\fbox{7}", "7"),
        ("Answer: 12", "12"),
        ("12 is the answer", "12"),
        ("so we have 2", "so we have 2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{1", "\\boxed{1"),
    ],
)
def test_where_the_answer_is_read(text, answer):
    assert official_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("\\boxed{4}", "4", True),
        ("4", "4", True),
        ("#### 4", "4", False),
        ("so we have 4", "4", False),
        ("\\BOXED{4}", "4", True),
        # wrong by a factor of 100, near by a ten-thousandth
        ("\\boxed{400}", "4", True),
        ("\\boxed{0.04}", "4", True),
        ("\\boxed{40}", "4", False),
        ("\\boxed{4.0001}", "4", True),
        ("\\boxed{4.01}", "4", False),
        # units, text, money, commas
        ("\\boxed{4\\text{ cm}}", "4", True),
        ("\\boxed{4 hours}", "4", True),
        ("\\boxed{\\$4}", "4", True),
        ("\\boxed{1,800}", "1800", True),
        ("\\boxed{55}", "55^\\circ", True),
        ("\\boxed{evelyn}", "\\text{Evelyn}", True),
        # fractions, roots, tuples, expressions
        ("\\boxed{\\dfrac34}", "\\frac{3}{4}", True),
        ("\\boxed{3/4}", "\\frac{3}{4}", True),
        ("\\boxed{6/8}", "\\frac{3}{4}", False),
        ("\\boxed{0.75}", "\\frac{3}{4}", True),
        ("\\boxed{\\sqrt2\\cdot 6}", "6\\sqrt{2}", True),
        ("\\boxed{6\\sqrt{3}}", "6\\sqrt{2}", False),
        ("\\boxed{(1, 2)}", "(1,2)", True),
        ("\\boxed{(2, 1)}", "(1,2)", False),
        ("\\boxed{2, 1}", "1, 2", False),
        ("\\boxed{R^2\\cdot 3}", "3R^2", True),
        # a base is ignored by one comparison, and a gold with a sign of equality is cut in the answer only
        ("\\boxed{11_2}", "11_3", True),
        ("\\boxed{f(z)=z}", "f(z)=z", False),
        ("", "4", False),
    ],
)
def test_answers_are_compared_as_mathif_does(text, gold, right):
    assert official_correct(text, gold) is right


PIECES = [
    *("\\boxed{", "}", "{", "\\frac", "\\sqrt", "\\pi", "^", "_", "9", "1,000", "(", ")", "[", "]", ",", "x", "!", "."),
    *("**", "-", "/", "=", " is ", ": ", "\\text{", "e9", "\\left", "%", "$", "\\", "\n", "İ", "√", "²"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.lists(st.sampled_from(PIECES), max_size=8))
def test_no_text_is_left_without_a_verdict(text, gold):
    assert official_correct(text, "".join(gold)) in (True, False)


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "(" * 5000, "-" * 5000 + "1", "170!!!", "{" * 5000, "1," * 5000, "9^9^9"]
)
def test_costly_expressions_are_decided(text):
    assert official_correct(f"\\boxed{{{text}}}", "4") is False
