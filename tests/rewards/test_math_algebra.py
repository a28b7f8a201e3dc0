"""What is decided without sympy: only what is provable, and always what sympy would say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adhere.rewards.math.algebra import decide
from adhere.rewards.math.error_bounds import UnboundedError, evaluate_ball
from adhere.rewards.math.expression import Term, read_term

EQUAL = [
    ("p-q", "-q+p"),
    ("(a+5)(b+2)", "ab+2a+5b+10"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    (r"\sqrt2\sqrt6", r"2\sqrt{3}"),
    (r"\frac{x^2-1}{x-1}", "x+1"),
    (r"\frac{3\pi}{2}", r"1.5\pi"),
    (r"2^{-3}x", r"\frac{x}{8}"),
    (r"4^{\frac{1}{2}}y", "2y"),
    (r"\sin(x)+1", r"1+\sin(x)"),
    (r"\frac{1}{2}\cot x", r"\frac{\cot x}{2}"),
    ("y = -2x", "2x+y=0"),
    ("5x - 7y + 11z + 4 = 0", "-5x+7y-11z-4=0"),
    ("2k+2", "2K+2"),
    ("1-12i", "1-12I"),
    ("x_1+x_2", "x_{2}+x_{1}"),
    ("3!x", "6x"),
    ("(1+i)^2", "2i"),
    (r"e^{\frac{i\pi}{3}}", r"\frac{1+i\sqrt{3}}{2}"),
    (r"\cos(\frac{7\pi}{12})", r"\frac{\sqrt{2}-\sqrt{6}}{4}"),
    (r"\tan(\frac{2\pi}{3})", r"-\sqrt{3}"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    (r"(n+2)!", r"(n+1)(n+2)n!"),
]
DIFFERENT = [
    ("p-q", "q-p"),
    (r"11\sqrt{2}", r"11\sqrt{11}"),
    ("27", "27x"),
    (r"\cot x", r"\cot x + 6"),
    ("y=2x+3", "y=2x+4"),
    ("x^2", "2x"),
    ("3R^2", "3R^3"),
    ("6-5i", "9-5i"),
    (r"\frac{6}{5}x", r"\frac{7x}{0}"),
    (r"\frac{\pi}{10^9}", "0"),
    ("x_1", "x_2"),
]
UNDECIDED = [
    (r"\sqrt{51}", "7.1414284"),
    (r"\pi", r"\frac{355}{113}"),
    (r"\sin^2 x + \cos^2 x", "1"),
    (r"\sqrt{x^2}", "x"),
    (r"\ln(e)", "1"),
    ("x", "1/2x"),
    ("x", r"\sin 2x"),
    ("x", r"1\frac{1}{2}"),
    ("x", "f(x)"),
    ("x", "5 cm"),
    ("x", "abc"),
    ("x", r"\text{x}"),
    ("x^2=1", "(x-1)(x+1)(x+1)=0"),
    ("x", "x < 3"),
    ("x", "9^{9^{9^9}}"),
    ("x", "1" * 500),
]


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_forms_prove_equality(gold: str, answer: str) -> None:
    assert decide(gold, answer) is True


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_values_apart_prove_difference(gold: str, answer: str) -> None:
    assert decide(gold, answer) is False


@pytest.mark.parametrize(("gold", "answer"), UNDECIDED)
def test_what_is_not_provable_is_left_to_sympy(gold: str, answer: str) -> None:
    assert decide(gold, answer) is None


numbers = st.fractions(min_value=-50, max_value=50, max_denominator=20)
leaves = st.one_of(
    numbers.map(lambda value: ("number", (), value)),
    st.sampled_from("xyi").map(lambda name: ("symbol", (), name)),
    st.just(("symbol", (), "pi")),
)


def grown(children: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda pair: ("+", pair, None)),
        pairs.map(lambda pair: ("*", pair, None)),
        pairs.map(lambda pair: ("/", pair, None)),
        children.map(lambda child: ("neg", (child,), None)),
        children.map(lambda child: ("root", (child,), Fraction(2))),
        st.tuples(children, st.integers(0, 5)).map(
            lambda pair: ("^", (pair[0], ("number", (), Fraction(pair[1]))), None)
        ),
        st.tuples(children, st.sampled_from(["sin", "cos", "tan", "ln", "arctan"])).map(
            lambda pair: ("call", (pair[0],), pair[1])
        ),
    )


terms = st.recursive(leaves, grown, max_leaves=12)
POINT = {"x": 1.37, "y": 2.61}


def exact(term: Term) -> mpmath.mpc:
    kind, children, payload = term
    if kind == "number":
        assert isinstance(payload, Fraction)
        return mpmath.mpc(payload.numerator) / payload.denominator
    if kind == "symbol":
        return {"i": mpmath.mpc(1j), "pi": mpmath.mpc(mpmath.pi)}.get(str(payload)) or mpmath.mpc(POINT[str(payload)])
    values = [exact(child) for child in children]
    operations: dict[str, Callable[[], mpmath.mpc]] = {
        "+": lambda: values[0] + values[1],
        "*": lambda: values[0] * values[1],
        "/": lambda: values[0] / values[1],
        "neg": lambda: -values[0],
        "root": lambda: mpmath.sqrt(values[0]),
        "^": lambda: values[0] ** values[1],
        "call": lambda: {"arctan": mpmath.atan}.get(str(payload), getattr(mpmath, str(payload), None))(values[0]),
    }
    return operations[kind]()


@settings(max_examples=150, deadline=None)
@given(terms)
def test_error_bounds_hold_against_fifty_digits(term: Term) -> None:
    try:
        value, error = evaluate_ball(term, POINT.__getitem__)
    except UnboundedError:
        return
    with mpmath.workdps(50):
        assert abs(exact(term) - mpmath.mpc(value)) <= error


def latex(term: Term) -> str:
    kind, children, payload = term
    if kind == "number":
        assert isinstance(payload, Fraction)
        return f"({payload.numerator}/{payload.denominator})" if payload.denominator > 1 else f"({payload.numerator})"
    if kind == "symbol":
        return r"\pi " if payload == "pi" else str(payload)
    inner = [latex(child) for child in children]
    if kind == "call":
        return rf"\{payload}({inner[0]})"
    return {
        "+": lambda: f"({inner[0]}+{inner[-1]})",
        "*": lambda: rf"({inner[0]}\cdot {inner[-1]})",
        "/": lambda: rf"\frac{{{inner[0]}}}{{{inner[-1]}}}",
        "neg": lambda: f"(-{inner[0]})",
        "root": lambda: rf"\sqrt{{{inner[0]}}}",
        "^": lambda: f"({inner[0]})^{{{inner[-1]}}}",
    }[kind]()


@settings(max_examples=100, deadline=None)
@given(terms, terms)
def test_equality_is_decided_only_where_it_is_true(left: Term, right: Term) -> None:
    texts = latex(left), latex(right)
    assert decide(texts[0], texts[0]) is not False or read_term(texts[0]) is None
    verdict = decide(*texts)
    if verdict is None:
        return
    try:
        with mpmath.workdps(400):  # roots of roots of zero lose most of them
            values = exact(left), exact(right)
    except (ZeroDivisionError, ValueError):
        return
    if not all(mpmath.isfinite(value) for value in values):  # ln 0 is -inf to mpmath: no value to compare, as 1/0
        return
    if verdict:
        assert abs(values[0] - values[1]) <= 1e-30 * (1 + abs(values[0]))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123456789xyzi+-*/^_(){}[]\\ fracsqtpln!.=,", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert decide(text, "x+1") in (True, False, None)
    assert decide("x+1", text) in (True, False, None)
