"""Evaluate a term in floating point with a proven error bound: two values whose balls do not meet are different.

Every step keeps ``(value, error)`` such that the true value lies within ``error`` of ``value`` (running error analysis
as in Higham, Accuracy and Stability of Numerical Algorithms, section 3.3, with a doubled unit roundoff for complex
products and library functions). A step without a bound (a pole, a branch cut within the error, an overflow) gives up.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from fractions import Fraction

from adhere.rewards.math.expression import Term

Ball = tuple[complex, float]

_UNIT = 8 * 2.0**-53
_HUGE = 1e100
CONSTANTS = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}


class UnboundedError(ArithmeticError):
    """No error bound can be given here."""


def evaluate_ball(term: Term, point: Callable[[str], float]) -> Ball:
    """Return value and error of ``term`` where each symbol has the value ``point(name)``.

    ``i``, ``e`` and ``pi`` have their usual values: expressions that are equal for every value of these letters are
    equal for that one too, so a difference found here is one whatever the letters stand for.

    Raises:
        UnboundedError: a pole, a branch cut, a number over 1e100 or an unsupported function.
    """
    kind, children, payload = term
    if kind == "number":
        assert isinstance(payload, Fraction)
        if payload.numerator.bit_length() > 300 or payload.denominator.bit_length() > 300:
            raise UnboundedError
        found = _rounded(complex(float(payload)), 0.0)
    elif kind == "symbol":
        name = str(payload)
        found = _rounded(CONSTANTS[name] if name in CONSTANTS else complex(point(name)), 0.0)
    elif kind in ("sum", "prod", "infinity"):
        raise UnboundedError
    else:
        values = [evaluate_ball(child, point) for child in children]
        if kind == "+":
            largest = max(abs(v) for v, _ in values)
            found = _rounded(sum(v for v, _ in values), sum(e for _, e in values), len(values) * largest)
        elif kind == "*":
            found = values[0]
            for factor in values[1:]:
                found = _multiply(found, factor)
        elif kind == "/":
            found = _multiply(values[0], _inverse(values[1]))
        elif kind == "neg":
            found = -values[0][0], values[0][1]
        elif kind == "^":
            found = _power(values[0], values[1], children[1])
        elif kind == "root":
            assert isinstance(payload, Fraction)
            found = _root(values[0], int(payload))
        elif payload == "binom":
            top, below = (child[2] for child in children)
            if not (isinstance(top, Fraction) and isinstance(below, Fraction)) or top > 300 or top % 1 or below % 1:
                raise UnboundedError
            found = _rounded(complex(math.comb(int(top), int(below))), 0.0)
        elif payload == "abs":
            found = _rounded(complex(abs(values[0][0])), values[0][1])
        else:
            found = _call(str(payload), values[0])
    if not (abs(found[0]) < _HUGE and found[1] < _HUGE):
        raise UnboundedError
    return found


def _rounded(value: complex, error: float, size: float | None = None) -> Ball:
    return value, error + _UNIT * (abs(value) if size is None else size)


def _multiply(a: Ball, b: Ball) -> Ball:
    return _rounded(a[0] * b[0], abs(a[0]) * b[1] + abs(b[0]) * a[1] + a[1] * b[1])


def _inverse(a: Ball) -> Ball:
    size = abs(a[0])
    if size < 1e-100 or size <= 2 * a[1]:
        raise UnboundedError
    return _rounded(1 / a[0], 2 * a[1] / size**2)


def _power(base: Ball, exponent: Ball, term: Term) -> Ball:
    if term[0] == "neg":
        return _inverse(_power(base, (-exponent[0], exponent[1]), term[1][0]))
    payload = term[2]
    if term[0] == "number" and isinstance(payload, Fraction) and payload.denominator == 1 and payload <= 64:
        result: Ball = (1 + 0j, 0.0)
        for _ in range(int(payload)):
            result = _multiply(result, base)
            if not abs(result[0]) < _HUGE:
                raise UnboundedError
        return result
    product, error = _multiply(_call("ln", base), exponent)
    if product.real > 200 or abs(product.imag) > 1e6 or error > 0.1:
        raise UnboundedError
    value = cmath.exp(product)
    return _rounded(value, abs(value) * 2 * error)


def _root(a: Ball, degree: int) -> Ball:
    size = abs(a[0])
    if size < 1e-100 or size <= 4 * a[1] or (a[0].real < 0 and (degree != 2 or abs(a[0].imag) > 0)):
        raise UnboundedError
    value = cmath.sqrt(complex(a[0].real)) if a[0].real < 0 else a[0] ** (1 / degree)
    return _rounded(value, abs(value) * a[1] / size, 2 * abs(value))


def _call(name: str, a: Ball) -> Ball:
    """Apply a real function; its error is the argument's times a bound of the derivative around it."""
    if a[0].imag != 0.0 or a[1] > 1e-3 or abs(a[0].real) > 1e6:
        raise UnboundedError
    x = a[0].real
    if name == "ln":
        if x <= 4 * a[1] or x < 1e-100:
            raise UnboundedError
        return _rounded(complex(math.log(x)), 2 * a[1] / x, 1 + abs(math.log(x)))
    if name in ("sin", "cos"):
        return _rounded(complex(math.sin(x) if name == "sin" else math.cos(x)), a[1], 1.0)
    sine, cosine = _call("sin", a), _call("cos", a)
    if name in ("tan", "cot", "sec", "csc"):
        top = {"tan": sine, "cot": cosine}.get(name, (1 + 0j, 0.0))
        return _multiply(top, _inverse(cosine if name in ("tan", "sec") else sine))
    if name == "arctan":
        return _rounded(complex(math.atan(x)), a[1], 2.0)
    if name == "!" and a[0].real == int(x) and 0 <= x <= 60:
        return _rounded(complex(math.factorial(int(x))), 0.0)
    raise UnboundedError
