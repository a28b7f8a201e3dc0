"""Decide in this process, exactly and within fixed bounds, what would otherwise need sympy in a worker.

Equality is proven by normal forms, difference by values whose error bounds do not meet; where neither is possible the
answer is ``None`` and a worker decides. Two expressions that differ at one point are different functions, so one
point with bounds is a proof, not a sample: points are fixed by the symbols' names, never drawn.
"""

from __future__ import annotations

import re
import zlib

from adhere.rewards.math.error_bounds import CONSTANTS, UnboundedError, evaluate_ball
from adhere.rewards.math.expression import INDEX, Term, rational, read_term, substitute
from adhere.rewards.math.normal_form import (
    MAX_STEPS,
    ONE,
    NoFormError,
    Sum,
    UndefinedError,
    equal_forms,
    normal_form,
    proportional,
)

TOLERANCE = 1e-5
"""Relative difference below which two values are left to sympy: an answer may be a decimal for an irrational gold."""

_LOWER_CASE = re.compile(r"(?<![\\a-zA-Z])[a-z]")
_RELATION = re.compile(r"(?<!_\{[a-z])[=<>,]|\\(?:le|ge|ne|in|approx|pm|mp)(?![a-z])")


def decide(gold: str, answer: str) -> bool | None:
    """Return whether two canonical expressions or equations are equal, or ``None`` where that is not provable here.

    An answer without any lower-case letter comes from an all-capitals response: its letters' case does not count.
    """
    same = _decide(gold, answer)
    if same or _LOWER_CASE.search(answer) or (gold.lower(), answer.lower()) == (gold, answer):
        return same
    return _decide(gold.lower(), answer.lower())


def _decide(gold: str, answer: str) -> bool | None:
    if _RELATION.search(gold) or _RELATION.search(answer):
        return _decide_equations(gold, answer)
    left, right = read_term(gold), read_term(answer)
    if left is None or right is None:
        return None
    try:
        if equal_forms(normal_form(left), normal_form(right)):
            return True
    except NoFormError:
        pass
    except UndefinedError:
        try:
            normal_form(left)
        except UndefinedError:
            return None
        except NoFormError:
            pass
        return False
    if _by_induction(left, right):
        return True

    # Two values that differ by more than their error bounds prove a difference.
    for attempt in range(2):

        def point(name: str, attempt: int = attempt) -> float:
            return 1.125 + zlib.crc32(f"{attempt} {name}".encode()) / 2**31

        try:
            (a, a_error), (b, b_error) = evaluate_ball(left, point), evaluate_ball(right, point)
        except UnboundedError:
            continue
        if abs(a - b) > a_error + b_error + TOLERANCE * max(abs(a), abs(b)):
            return False
    return None


def _by_induction(left: Term, right: Term) -> bool:
    """Whether two terms with sums or products to some n are proven equal for all whole n from the first that fits.

    They are equal at that n, and go from n to n + 1 by the same difference, or by the same factor.
    """
    series = [*_series(left), *_series(right)]
    names = {name for _, (_, end, _), _ in series for name in _symbols(end) if not name.startswith(INDEX)}
    if not series or len(names) != 1:
        return False
    (name,) = names
    here: Term = ("symbol", (), name)
    following: Term = ("+", (here, rational(1)), None)

    def at(term: Term, place: Term) -> Term:
        return substitute(term, name, place)

    def minus(one: Term, other: Term) -> Term:
        return ("+", (one, ("neg", (other,), None)), None)

    try:
        lengths = [minus(end, start) for _, (start, end, _), _ in series]
        for length in lengths:
            growth = normal_form(minus(at(length, following), length))
            steps = growth[0].get(((), 1), 0) if growth[1] == ONE and growth[0].keys() <= {((), 1)} else 0
            if not 1 <= steps <= MAX_STEPS:
                return False
        first = next(
            n
            for n in range(MAX_STEPS)
            if all(normal_form(at(length, rational(n)))[0].get(((), 1), 0) >= 0 for length in lengths)
        )
        if not equal_forms(*(normal_form(at(side, rational(first))) for side in (left, right))):
            return False
        before, after = (left, right), (at(left, following), at(right, following))
        if equal_forms(*(normal_form(minus(b, a)) for a, b in zip(before, after, strict=True))):
            return True
        return equal_forms(
            normal_form(("*", (after[0], before[1]), None)), normal_form(("*", (before[0], after[1]), None))
        )
    except (NoFormError, UndefinedError, StopIteration):
        return False


def _series(term: Term) -> list[Term]:
    """Return the sums and products in ``term`` that stand in no other one."""
    return [term] if term[0] in ("sum", "prod") else [found for child in term[1] for found in _series(child)]


def _symbols(term: Term) -> set[str]:
    return {str(term[2])} if term[0] == "symbol" else {name for child in term[1] for name in _symbols(child)}


def _decide_equations(gold: str, answer: str) -> bool | None:
    """Compare equations: proportional polynomials are equal, others differ where one of them is irreducible."""
    sides = [text.split("=") for text in (gold, answer)]
    if any(len(parts) != 2 or any(_RELATION.search(part) for part in parts) for parts in sides):
        return None
    sums = [_difference(*parts) for parts in sides]
    if sums[0] is None or sums[1] is None:
        return None
    if proportional(sums[0], sums[1]):
        return True
    return False if any(_irreducible(one) for one in sums if one is not None) else None


def _difference(left: str, right: str) -> Sum | None:
    """Return ``left - right`` as a polynomial, or ``None`` where it is not one, or constant."""
    terms = read_term(left), read_term(right)
    if terms[0] is None or terms[1] is None:
        return None
    try:
        top, bottom = normal_form(("+", (terms[0], ("neg", (terms[1],), None)), None))
    except (NoFormError, UndefinedError):
        return None
    names = {name for monomial, _ in top for name, _ in monomial}
    powers = (exponent for monomial, _ in top for _, exponent in monomial)
    if bottom != ONE or not names - CONSTANTS.keys() or any("(" in name for name in names) or min(powers) < 0:
        return None
    return top


def _irreducible(polynomial: Sum) -> bool:
    """Whether some symbol occurs once, by itself and to the first power: then the polynomial has no factors."""
    counts: dict[str, int] = {}
    for monomial, _ in polynomial:
        for name, _ in monomial:
            counts[name] = counts.get(name, 0) + 1
    return any(
        len(monomial) == 1 and monomial[0][1] == 1 and counts[monomial[0][0]] == 1 and monomial[0][0] not in CONSTANTS
        for monomial, _ in polynomial
    )
