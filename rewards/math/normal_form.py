r"""A normal form for rational functions with square roots: equal normal forms prove equality, without sympy.

A sum is a dictionary from (monomial, radicand) to a rational coefficient. Products of square roots of whole numbers
are merged (:math:`\sqrt 2\sqrt 6 = 2\sqrt 3`); radicands are squarefree, so over the rationals their roots are linearly
independent and the form of a number is unique. What has no form of its own (``\sin(x)``) is a generator named by its
argument's form: then equal forms still prove equality, and unequal ones prove nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeAlias

from adhere.rewards.math.expression import MAX_SERIES, Term, binomial_term, rational, substitute

Monomial: TypeAlias = tuple[tuple[str, int], ...]
Sum: TypeAlias = dict[tuple[Monomial, int], Fraction]
Form: TypeAlias = tuple[Sum, Sum]
"""Numerator and denominator; a denominator of one term is always 1."""

MAX_TERMS = 200
MAX_WORK = 20_000
MAX_EXPONENT = 64
MAX_FACTORIAL = 30
MAX_BINOMIAL = 1_000
MAX_STEPS = 12
_MAX_RADICAND = 10**8
_MAX_BITS = 2_000

_HALF = Fraction(1, 2)
_FINEST = 12
"""Powers of ``2^n`` are counted in twelfths, so that ``2^{n/2}`` and ``2^{n/3}`` are powers of the same generator."""

ONE: Sum = {((), 1): Fraction(1)}
_IMAGINARY: Form = ({((("i", 1),), 1): Fraction(1)}, ONE)


class NoFormError(ArithmeticError):
    """The term is outside what the normal form covers, or too large for it."""


class UndefinedError(ArithmeticError):
    """The term divides by zero."""


def normal_form(term: Term) -> Form:
    """Return the form of ``term``.

    Raises:
        NoFormError: over 200 terms, an exponent over 64, or a power that is not rational.
        UndefinedError: a division by zero.
    """
    kind, children, payload = term
    if kind == "number":
        assert isinstance(payload, Fraction)
        return ({((), 1): payload} if payload else {}), ONE
    if kind == "symbol":
        return {(((str(payload), 1),), 1): Fraction(1)}, ONE
    if kind == "infinity":
        raise NoFormError
    if kind == "sum" and children[1][0] == "infinity":
        start = _rational(normal_form(children[0]))
        if start is None or start.denominator != 1:
            raise NoFormError
        return _infinite_sum(children[2], str(payload), int(start))
    if kind in ("sum", "prod"):
        return _series(kind, children, str(payload))
    forms = [normal_form(child) for child in children]
    if kind == "+":
        total = forms[0]
        for form in forms[1:]:
            total = _add(total, form)
        return total
    if kind == "neg":
        return _negative(forms[0])
    if kind == "*":
        product = forms[0]
        for form in forms[1:]:
            product = _times(product, form)
        return product
    if kind == "/":
        return _times(forms[0], _inverse(forms[1]))
    if kind == "^":
        return _power(forms[0], forms[1])
    if kind == "root":
        assert isinstance(payload, Fraction)
        return _root(forms[0], int(payload))
    if payload == "!":
        return _factorial(forms[0])
    if payload == "binom":
        above, below = (_rational(form) for form in forms)
        if above is None or below is None or above.denominator != 1 or below.denominator != 1 or above > MAX_BINOMIAL:
            raise NoFormError
        value = math.comb(int(above), int(below)) if 0 <= below <= above else 0
        return _bounded({((), 1): Fraction(value)} if value else {}), ONE
    if payload == "abs":
        return _absolute(forms[0])
    turn = _turn(forms[0]) if payload in ("sin", "cos", "tan") else None
    if turn is not None and payload in ("sin", "cos"):
        known = _cosine(turn if payload == "cos" else Fraction(1, 2) - turn)
    elif turn is not None:
        sine, cosine = _cosine(Fraction(1, 2) - turn), _cosine(turn)
        known = _times(sine, _inverse(cosine)) if sine is not None and cosine is not None else None
    else:
        known = None
    return known if known is not None else _generator(str(payload), *forms)


def equal_forms(a: Form, b: Form) -> bool:
    """Whether two forms are equal: as rational functions, cross-multiplied."""
    if a[1] == b[1]:
        return a[0] == b[0]
    return _product(a[0], b[1]) == _product(b[0], a[1])


def proportional(a: Sum, b: Sum) -> bool:
    """Whether one sum is a rational multiple of the other; both must have terms."""
    if a.keys() != b.keys():
        return False
    key = next(iter(a))
    ratio = a[key] / b[key]
    return all(value == ratio * b[other] for other, value in a.items())


def _add(a: Form, b: Form) -> Form:
    if a[1] == b[1]:
        return _form(_sum(a[0], b[0]), b[1])
    return _form(_sum(_product(a[0], b[1]), _product(b[0], a[1])), _product(a[1], b[1]))


def _negative(a: Form) -> Form:
    return {key: -value for key, value in a[0].items()}, a[1]


def _times(a: Form, b: Form) -> Form:
    return _form(_product(a[0], b[0]), _product(a[1], b[1]))


def _form(top: Sum, bottom: Sum) -> Form:
    if not bottom:
        raise UndefinedError
    if len(bottom) > 1 or bottom == ONE:
        return top, bottom
    (((monomial, radicand), value),) = bottom.items()
    inverse = tuple((name, -exponent) for name, exponent in monomial)
    return _product(top, {(inverse, radicand): 1 / (value * radicand)}), ONE


def _inverse(a: Form) -> Form:
    return _form(a[1], a[0])


def _sum(a: Sum, b: Sum) -> Sum:
    total = dict(a)
    for key, value in b.items():
        value += total.get(key, Fraction(0))
        if value:
            total[key] = value
        else:
            del total[key]
    return _bounded(total)


def _product(a: Sum, b: Sum) -> Sum:
    if len(a) * len(b) > MAX_WORK:
        raise NoFormError
    total: Sum = {}
    for (left, root), x in a.items():
        for (right, other), y in b.items():
            shared = math.gcd(root, other)
            monomial = left or right
            if left and right:
                exponents = dict(left)
                for name, exponent in right:
                    exponents[name] = exponents.get(name, 0) + exponent
                monomial = tuple(sorted(one for one in exponents.items() if one[1]))
            sign = 1
            power = next((exponent for name, exponent in monomial if name == "i"), 1)
            if power != 1:
                # The powers of the imaginary unit: i² = -1.
                others = [one for one in monomial if one[0] != "i"]
                monomial = tuple(sorted([*others, ("i", 1)] if power % 2 else others))
                sign = 1 if power % 4 < 2 else -1
            key = (monomial, root * other // shared**2)
            total[key] = total.get(key, Fraction(0)) + x * y * shared * sign
    return _bounded({key: value for key, value in total.items() if value})


def _bounded(a: Sum) -> Sum:
    if len(a) > MAX_TERMS:
        raise NoFormError
    for (_, radicand), value in a.items():
        if radicand > _MAX_RADICAND or value.numerator.bit_length() + value.denominator.bit_length() > _MAX_BITS:
            raise NoFormError
    return a


def _power(base: Form, exponent: Form) -> Form:
    turn = _turn(exponent, (("i", 1), ("pi", 1))) if base == ({((("e", 1),), 1): Fraction(1)}, ONE) else None
    if turn:
        # Euler: e^{iπq} = cos πq + i sin πq
        real, imaginary = _cosine(turn), _cosine(Fraction(1, 2) - turn)
        if real is not None and imaginary is not None:
            return _sum(real[0], _product(imaginary[0], _IMAGINARY[0])), ONE
    power = _rational(exponent)
    if power is None:
        return _exponential(base, exponent)
    if base == _IMAGINARY and power.denominator == 1:
        power %= 4
    if abs(power) > MAX_EXPONENT:
        raise NoFormError
    if power.denominator == 2:
        return _power(_root(base, 2), ({((), 1): Fraction(power.numerator)}, ONE))
    if power.denominator != 1:
        raise NoFormError
    if power < 0:
        base, power = _inverse(base), -power
    if power == 0 and not base[0]:
        raise UndefinedError
    terms = max(len(base[0]), len(base[1]))
    if terms > 1 and math.comb(int(power) + terms - 1, terms - 1) > MAX_TERMS:
        raise NoFormError
    result: Form = (ONE, ONE)
    for _ in range(int(power)):
        result = _times(result, base)
    return result


def _exponential(base: Form, exponent: Form) -> Form:
    """Return the form of a power whose exponent has symbols, which stand for whole numbers where the base is split.

    ``2^{n+3}`` is 8 times the generator ``2^n``; ``6^n`` is split into primes, and ``x^{2n}`` is the square of ``x^n``.
    """
    if exponent[1] != ONE or base[1] != ONE or len(base[0]) != 1:
        return _generator("^", base, exponent)
    (((monomial, radicand), value),) = base[0].items()
    factors: list[tuple[str | int, Fraction]] = [(name, Fraction(power)) for name, power in monomial]
    for whole, power in ((abs(value.numerator), Fraction(1)), (value.denominator, Fraction(-1)), (radicand, _HALF)):
        factors += [(prime, power * times) for prime, times in _prime_factors(whole).items()]
    if value < 0:
        factors.append((-1, Fraction(1)))
    result: Form = (ONE, ONE)
    for name, times in factors:
        alone: Form = ({((), 1): Fraction(name)} if isinstance(name, int) else {(((name, 1),), 1): Fraction(1)}, ONE)
        for (symbols, root), amount in exponent[0].items():
            power = amount * times
            if name == -1:
                if power.denominator != 1:
                    raise NoFormError
                power %= 2
            if (symbols, root) == ((), 1):
                result = _times(result, _power(alone, ({((), 1): power}, ONE)))
            elif power:
                steps = power * _FINEST
                if steps.denominator != 1:
                    raise NoFormError
                result = _times(result, ({(((f"({name})^{symbols, root}", int(steps)),), 1): Fraction(1)}, ONE))
    return result


def _prime_factors(whole: int) -> dict[int, int]:
    """Return the prime factors of a number up to 10^8 with their powers: at most 10^4 divisions."""
    if whole > _MAX_RADICAND:
        raise NoFormError
    found: dict[int, int] = {}
    factor = 2
    while whole > 1:
        if factor * factor > whole:
            factor = whole
        while whole % factor == 0:
            whole //= factor
            found[factor] = found.get(factor, 0) + 1
        factor += 1
    return found


def _turn(form: Form, unit: Monomial = (("pi", 1),)) -> Fraction | None:
    """Return q where ``form`` is q times π, or times what ``unit`` names, else ``None``."""
    if form[1] != ONE or not set(form[0]) <= {(unit, 1)}:
        return None
    return form[0].get((unit, 1), Fraction(0))


def _cosine(turn: Fraction) -> Form | None:
    """Return the cosine of ``turn`` times π where it is a sum of square roots (multiples of π/12), else ``None``."""
    turn = abs((turn + 1) % 2 - 1)
    sign = -1 if turn > Fraction(1, 2) else 1
    turn = 1 - turn if sign < 0 else turn
    if 12 % turn.denominator:
        return None
    quarter = Fraction(sign, 4)
    tops: dict[int, Sum] = {
        0: {((), 1): Fraction(sign)},
        1: {((), 6): quarter, ((), 2): quarter},
        2: {((), 3): 2 * quarter},
        3: {((), 2): 2 * quarter},
        4: {((), 1): 2 * quarter},
        5: {((), 6): quarter, ((), 2): -quarter},
        6: {},
    }
    return tops[int(turn * 12)], ONE


def _rational(form: Form) -> Fraction | None:
    """Return the rational number that ``form`` is, or ``None``."""
    if form[1] != ONE or not set(form[0]) <= {((), 1)}:
        return None
    return form[0].get(((), 1), Fraction(0))


def _root(form: Form, degree: int) -> Form:
    value = _rational(form)
    if value is not None and value < 0 and degree == 2:
        return _times(_IMAGINARY, _root(({((), 1): -value}, ONE), 2))
    if value is None or value < 0 or degree != 2:
        return _generator(f"root {degree}", form)
    if value == 0:
        return {}, ONE
    radicand = value.numerator * value.denominator
    if radicand > _MAX_RADICAND:
        raise NoFormError
    # radicand = outside² · inside with a squarefree inside; at most 10^4 divisions
    outside, inside, factor = 1, radicand, 2
    while factor * factor <= inside:
        while inside % (factor * factor) == 0:
            inside //= factor * factor
            outside *= factor
        factor += 1
    return {((), inside): Fraction(outside, value.denominator)}, ONE


def _absolute(form: Form) -> Form:
    """Return the form of an absolute value: its value where both parts are numbers, else a generator."""
    real: Sum = {key: value for key, value in form[0].items() if key[0] == ()}
    imaginary: Sum = {((), key[1]): value for key, value in form[0].items() if key[0] == (("i", 1),)}
    if form[1] != ONE or len(real) + len(imaginary) != len(form[0]):
        return _generator("abs", form)
    return _root((_sum(_product(real, real), _product(imaginary, imaginary)), ONE), 2)


def difference(a: Sum, b: Sum) -> Sum:
    """Return ``a - b``."""
    return _sum(a, {key: -value for key, value in b.items()})


def _factorial(form: Form) -> Form:
    """Return the form of a factorial: of a number its value, and (p + 2)! as (p + 1)(p + 2) p!."""
    whole = _rational(form)
    if whole is not None:
        if whole.denominator == 1 and 0 <= whole <= MAX_FACTORIAL:
            return {((), 1): Fraction(math.factorial(int(whole)))}, ONE
        return _generator("!", form)
    offset = form[0].get(((), 1), Fraction(0)) if form[1] == ONE else Fraction(0)
    if not offset or offset.denominator != 1 or abs(offset) > MAX_STEPS:
        return _generator("!", form)
    bare = {key: value for key, value in form[0].items() if key != ((), 1)}
    result = _generator("!", (bare, ONE))
    for step in range(1, int(offset) + 1):
        result = _times(result, (_sum(bare, {((), 1): Fraction(step)}), ONE))
    for step in range(int(offset) + 1, 1):
        result = _times(result, _inverse((_sum(bare, {((), 1): Fraction(step)} if step else {}), ONE)))
    return result


def _series(name: str, children: tuple[Term, ...], index: str) -> Form:
    """Return the form of a sum or product over ``index``.

    A sum of a polynomial has a closed form, and so has the product of the index. Any other one is a generator, that to
    n + 2 being the one to n with two terms more.
    """
    start, end = (normal_form(child) for child in children[:2])
    body = normal_form(children[2])
    first, last = _rational(start), _rational(end)

    def term(place: Term) -> Form:
        return normal_form(substitute(children[2], index, place))

    places = None
    if first is not None and last is not None and first.denominator == last.denominator == 1:
        if last < first - 1:
            raise NoFormError
        places = range(int(first), int(last) + 1)
    closed = _closed_sum(index, first, end, body) if name == "sum" else None
    if closed is not None:
        return closed
    join = _add if name == "sum" else _times
    result: Form = ({}, ONE) if name == "sum" else (ONE, ONE)
    if places is not None and len(places) <= MAX_SERIES and not _has_series(children[2]):
        for k in places:
            result = join(result, term(rational(k)))
        return result
    if name == "prod" and first == 1 and body == ({(((index, 1),), 1): Fraction(1)}, ONE):
        return _factorial(end)
    if name == "sum" and first == 0 and places is None:
        # The binomial theorem: one factor is binom(end, k), and the others are c q^k.
        place: Term = ("symbol", (), index)
        binomial = binomial_term(children[1], place)
        factors = children[2][1] if children[2][0] == "*" else (children[2],)
        if binomial in factors:
            others = [factor for factor in factors if factor != binomial]
            power: Term = ("*", (*others, rational(1)), None)
            following = normal_form(substitute(power, index, ("+", (place, rational(1)), None)))
            ratio = _times(following, _inverse(normal_form(power)))
            base = _add((ONE, ONE), ratio)
            names = {named for part in ratio for monomial, _ in part for named, _ in monomial}
            if base[0] and factors.count(binomial) == 1 and not any(index in named for named in names):
                return _times(normal_form(substitute(power, index, rational(0))), _power(base, end))
    offset = end[0].get(((), 1), Fraction(0)) if end[1] == ONE else Fraction(0)
    if offset.denominator != 1 or abs(offset) > MAX_STEPS:
        return _generator(name, start, end, body)
    bare: Form = ({key: value for key, value in end[0].items() if key != ((), 1)}, end[1])
    result = _generator(name, start, bare, body)
    for step in range(min(0, int(offset)) + 1, max(0, int(offset)) + 1):
        one = term(("+", (children[1], rational(step - offset)), None))
        if offset < 0:
            one = _negative(one) if name == "sum" else _inverse(one)
        result = join(result, one)
    return result


def _infinite_sum(body: Term, index: str, start: int, depth: int = 0) -> Form:
    """Return the value of a sum from ``start`` without end of a polynomial times q^index, with a rational |q| < 1.

    With g(k) = f(k + 1) - q f(k), the sum S of f and that of g obey S - f(start) = q S + the sum of g; the polynomial
    in g is of a lower degree, and at last g is 0.
    """

    def at(place: Term) -> Term:
        return substitute(body, index, place)

    following = at(("+", (("symbol", (), index), rational(1)), None))
    (here, below), (after, under) = normal_form(body), normal_form(following)
    if not here:
        return {}, ONE
    if below != ONE or under != ONE or depth > MAX_STEPS:
        raise NoFormError
    degree = max(dict(monomial).get(index, 0) for monomial, _ in here)
    leading = [key for key in here if dict(key[0]).get(index, 0) == degree]
    ratio = after.get(leading[0], Fraction(0)) / here[leading[0]]
    if degree < 0 or not 0 < abs(ratio) < 1:
        raise NoFormError
    rest: Term = ("+", (following, ("neg", (("*", (rational(ratio), body), None),), None)), None)
    total = _add(normal_form(at(rational(start))), _infinite_sum(rest, index, start, depth + 1))
    return _times(total, ({((), 1): 1 / (1 - ratio)}, ONE))


def _has_series(term: Term) -> bool:
    return term[0] in ("sum", "prod") or any(map(_has_series, term[1]))


def _closed_sum(index: str, first: Fraction | None, end: Form, body: Form) -> Form | None:
    """Return the closed form of a sum of a polynomial in its index, else ``None``."""
    if first is None or first.denominator != 1 or body[1] != ONE or end[1] != ONE:
        return None
    total: Sum = {}
    for (monomial, radicand), value in body[0].items():
        power = dict(monomial).get(index, 0)
        rest = tuple(one for one in monomial if one[0] != index)
        if not 0 <= power <= MAX_STEPS or any(index in other for other, _ in rest):
            return None
        # sum of k^p for k from a to n: the Bernoulli polynomials of p + 1 at n + 1 and at a, over p + 1
        upper = _sum(end[0], {((), 1): Fraction(1)})
        below: Sum = {((), 1): first} if first else {}
        part = difference(_bernoulli(power + 1, upper), _bernoulli(power + 1, below))
        factor: Sum = {(rest, radicand): value / (power + 1)}
        total = _sum(total, _product(part, factor))
    return total, ONE


def _bernoulli(degree: int, at: Sum) -> Sum:
    """Return the Bernoulli polynomial of ``degree`` at a polynomial."""
    numbers = [Fraction(1)]
    for n in range(1, degree + 1):
        numbers.append(-sum((math.comb(n + 1, k) * numbers[k] for k in range(n)), Fraction(0)) / (n + 1))
    result: Sum = {}
    for number in [math.comb(degree, k) * numbers[k] for k in range(degree + 1)]:
        result = _sum(_product(result, at), {((), 1): number}) if number else _product(result, at)
    return result


def _generator(name: str, *forms: Form) -> Form:
    parts = [[sorted((str(key), str(value)) for key, value in part.items()) for part in form] for form in forms]
    label = f"{name}({parts})"
    if len(label) > 2_000:
        raise NoFormError
    return {(((label, 1),), 1): Fraction(1)}, ONE
