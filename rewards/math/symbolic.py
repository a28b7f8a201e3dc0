"""Compare by algebra with math-verify. Runs in the engine's workers, which are killed where it hangs."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TypeAlias

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, E, Expr, Float, I, MatrixBase, N, Symbol
from sympy.polys.polyerrors import BasePolynomialError

from adhere.rewards.math.equality import MIN_DIGITS, algebraic_gold, at_last_place, equal
from adhere.rewards.math.parsed_answer import read_number
from adhere.rewards.math.units import read_unit
from adhere.rewards.verdict import Status, Verdict, failed, passed, unscored

# LaTeX only: math-verify's plain-text route hands text to sympy's parse_expr, which evaluates it as Python.
_CONFIG = [
    LatexExtractionConfig(
        boxed_match_priority=-1,
        normalization_config=NormalizationConfig(
            basic_latex=True, units=True, malformed_operators=True, nits=True, boxed="none", equations=False
        ),
    )
]
_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_TEXT = re.compile(r"\\text\s*\{\s*([^{}]*?)[\s.]*\}")
_EQUALS = re.compile(r"(?<!_\{[a-z])=")
_INDEXED_NUMBER = re.compile(r"[\d)\]]\s*_")
_LOWER_CASE = re.compile(r"(?<![\\a-zA-Z])[a-z]")
_NOT_PROSE = {
    "sin", "cos", "tan", "cot", "sec", "csc", "log", "sqrt", "arcsin", "arccos", "arctan", "mod",
    "matrix", "pmatrix", "bmatrix",
}  # fmt: skip
# What sympy and the parser raise on terms that they can read but not work with, such as 1 mod 3.
_ALGEBRA_FAILS = (
    TypeError, ValueError, ArithmeticError, AttributeError, LookupError, AssertionError, NotImplementedError,
    RecursionError, BasePolynomialError,
)  # fmt: skip
_APPROXIMATE, _EXACT = 1e-6, 1e-12

Parsed: TypeAlias = Basic | MatrixBase

# The parser's tables load with the module, so that no item's deadline pays for them.
parse("$x$", _CONFIG, fallback_mode="no_fallback", parsing_timeout=None)


def compare_symbolically(gold: str, answer: str) -> Verdict:
    """Return whether ``answer`` equals ``gold``, both canonical: the engine's task for what is left open.

    ``unparsed`` where the gold answer cannot be read; an answer that cannot be read is wrong.
    """
    try:
        readable = bool(_parse(gold)) or all(_parse(part) for part in algebraic_gold(gold))
    except _ALGEBRA_FAILS:
        readable = False
    if not readable:
        return unscored(Status.UNPARSED, f"the gold answer cannot be read: {gold[:80]!r}")
    try:
        return passed("equal by algebra") if equal(gold, answer, leaf) else failed("not equal by algebra")
    except _ALGEBRA_FAILS as error:
        # Whose text does sympy fail on? An answer that it cannot work with is wrong, unless the gold one is no better.
        gold_reads = reads(gold)
        return failed(f"algebra fails on the answer: {type(error).__name__}") if gold_reads.passed else gold_reads


def reads(gold: str) -> Verdict:
    """Return 1.0 where ``gold`` (canonical) can be read and equals itself, else ``unparsed``."""
    parts = algebraic_gold(gold)
    try:
        if leaf(gold, gold) or all(leaf(part, part) for part in parts):
            return passed("by algebra")
    except _ALGEBRA_FAILS as error:
        return unscored(Status.UNPARSED, f"algebra fails on the gold answer ({type(error).__name__}): {gold[:80]!r}")
    return unscored(Status.UNPARSED, f"the gold answer cannot be read: {gold[:80]!r}")


def leaf(gold: str, answer: str) -> bool:
    """Whether two LaTeX expressions are equal, the gold one first: math-verify's order matters.

    math-verify rounds to six decimals, so a tiny gold answer would equal 0. Numbers therefore also have to
    agree relative to the gold answer: to 1e-6 where the answer is a decimal, to 1e-12 where both are exact.
    """
    if _EQUALS.search(answer) and not _EQUALS.search(gold):
        return False  # math-verify takes the last side of 26 = 27 for the answer
    labels, gold_labels = _TEXT.findall(answer), _TEXT.findall(gold)
    if (
        labels
        and labels != gold_labels
        and (gold_labels or not all(read_unit(f"\\text{{{label}}}") for label in labels))
    ):
        return False  # math-verify drops them as units: a.m. would equal p.m.
    if answer.count("'") != gold.count("'"):
        return False  # math-verify drops primes: 7' would equal 7
    if _INDEXED_NUMBER.search(answer) or _INDEXED_NUMBER.search(gold):
        return False  # math-verify drops a subscript that is not a base
    if any(word.lower() not in _NOT_PROSE for word in _PROSE.findall(answer)):
        return False
    if not _LOWER_CASE.search(answer):
        answer = answer.lower()  # an all-capitals response writes the imaginary unit as I
    parsed_gold, parsed = _parse(gold), _parse(answer)
    if not parsed_gold or not parsed:
        return False
    # A decimal stands for an exact number by the one rule for decimals, and two exact numbers are equal to 50 digits.
    values = [_constant(one[0]) for one in (parsed_gold, parsed)]
    numbers = [read_number(text) for text in (gold, answer)]
    for decimal, exact in ((numbers[0], values[1]), (numbers[1], values[0])):
        if decimal is not None and decimal.places is not None and exact is not None:
            digits = Fraction(str(N(exact, 60))) if exact.is_real else None
            return digits is not None and at_last_place(digits, decimal, MIN_DIGITS)
    if values[0] is not None and values[1] is not None and not (values[0].has(Float) or values[1].has(Float)):
        size, apart = abs(N(values[0], 60)), abs(N(values[0] - values[1], 60))
        if size.is_Float and apart.is_number and size > 0 and apart <= size * 10**-50:
            return True
    return verify(parsed_gold, parsed, timeout_seconds=None) and _near(parsed_gold[0], parsed[0])


def _parse(latex: str) -> list[Parsed]:
    parsed: list[Parsed] = parse(f"${latex}$", _CONFIG, fallback_mode="no_fallback", parsing_timeout=None)
    return parsed


def _constant(parsed: Parsed) -> Expr | None:
    """Return a number without symbols, with ``i`` and ``e`` as the constants that they stand for."""
    if not isinstance(parsed, Expr):
        return None
    value = parsed.subs({Symbol("i"): I, Symbol("e"): E})
    return value if not value.free_symbols and value.is_finite and value.is_number else None


def _near(gold: Parsed, answer: Parsed) -> bool:
    if not (isinstance(gold, Expr) and isinstance(answer, Expr)) or gold.free_symbols or answer.free_symbols:
        return True
    scale, difference = abs(N(gold, 30)), abs(N(gold - answer, 30))
    if not (scale.is_number and difference.is_number and scale.is_finite and difference.is_finite):
        return True
    tolerance = _APPROXIMATE if answer.has(Float) or gold.has(Float) else _EXACT
    return bool(difference <= tolerance * scale)
