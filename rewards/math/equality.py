"""Decide whether two answers are equal: exactly where both can be read, otherwise by algebra at the leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from adhere.rewards.math.error_bounds import UnboundedError, evaluate_ball
from adhere.rewards.math.expression import rational, read_term, substitute
from adhere.rewards.math.normal_form import ONE, NoFormError, UndefinedError, difference, normal_form
from adhere.rewards.math.parsed_answer import (
    Based,
    Expression,
    Group,
    Measured,
    Number,
    Option,
    Value,
    Words,
    algebraic_parts,
    read,
    read_number,
    split_name,
    split_top,
)
from adhere.rewards.math.units import PERCENT

Leaf = Callable[[str, str], bool | None]
"""Compare two LaTeX expressions, gold first; ``None`` where it cannot say."""

MIN_DIGITS = 6
"""Significant digits that a decimal needs in order to stand for an exact value."""
MAX_PLACES = 200

_PLAIN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
"""The commonest answers, which need none of the other readings."""

_ORDER = re.compile(r"[<>]|\\(?:le|ge)(?![a-z])")
_ORDER_SIGN = re.compile(r"([<>]|\\(?:le|ge|ne)(?![a-z]))")
_ABSOLUTE = re.compile(r"\|([^|]+)\|")
_TURNED = {">": "<", r"\ge": r"\le"}
_TAKEN_AWAY = re.compile(r"\\(?:[hv]?phantom|[bx]?cancel|cancelto|sout|st|xout|not|hspace|vspace)(?![a-z])")
_OF_INTEGERS = re.compile(r"\\pi|\\circ|Z|integer")
_GOES_ON = re.compile(r"\\[lc]?dots(?![a-z])|\.\.")
_DECIMAL_DOTS = re.compile(r"(-?\d*\.(\d+))\s*(?:\\[lc]?dots|\.{3})")
_INTEGER = re.compile(
    r"(?:[,;(\s]|\\text\s*\{[\s,;(]*(?:where|for|with|and|mit|für)?(?:\s*(?:any|all|some|every|each))?(?:\s*integers?)?\s*\})*\$?"
    r"(?:(?P<a>[a-zA-Z])\s*\\in\s*(?:\\(?:mathbb|mathbf|text)\s*\{?\s*Z\s*\}?|Z)\$?"
    r"|(?<=[\s},(])(?P<b>[a-zA-Z])\s*\\text\s*\{\s*(?:is|being|an|any)?\s*(?:an|any)?\s*integers?[\s.)]*\})"
    r"[\s)}.]*$"
)
_INEQUALITY = re.compile(r"[<>,]|\\(?:le|ge|ne|in|approx)(?![a-z])")
_RELATION = re.compile(r"(?<!_\{[a-z])[<>=]|\\(?:le|ge|ne|in|approx)(?![a-z])")


def undecided(gold: str, answer: str) -> None:
    """The leaf of the exact path: nothing is decided by algebra."""


def equal(gold: str, answer: str, leaf: Leaf = undecided) -> bool | None:
    """Return whether ``answer`` equals ``gold`` (both canonical), or ``None`` where only algebra could tell.

    Rationals compare exactly: 0.333 is not 1/3, nothing is rounded to 0, and no factor of 100 is tolerated.
    Lists and sets compare without order, tuples and intervals with it. A list never equals one of its
    members.
    """
    if gold == answer:
        return True
    if _PLAIN.fullmatch(gold) and _PLAIN.fullmatch(answer):
        return _equal(read(gold), read(answer), leaf)
    if _TAKEN_AWAY.search(answer):
        return False
    if _GOES_ON.search(answer) and not _GOES_ON.search(gold):
        return _cut_off(gold, answer)
    if r"\approx" in gold or r"\approx" in answer:
        return _approximate(gold, answer, leaf)
    family = _same_index(gold, answer) if _OF_INTEGERS.search(gold + answer) else None
    if family is not None:
        gold, answer, leaf = family[0], family[1], _shifted(family[2], leaf)
        if gold == answer:
            return True
    sets = [read_inequality(text) for text in (gold, answer)]
    if any(sets):
        for place, text in enumerate((gold, answer)):
            name, value = split_name(text)
            if sets[place] is None and not _RELATION.search(value):
                sets[place] = name, read(value)
                if isinstance(other := read(value), Group) and other.kind in ("list", "set"):
                    return False  # the ends of an interval are not the interval
        if sets[0] and sets[1]:
            names = {found[0] for found in sets if found} - {""}
            return _equal(sets[0][1], sets[1][1], leaf) if len(names) < 2 else False
    named = [_named(text) for text in (gold, answer)]
    if named[0] and named[1]:
        if named[0].keys() != named[1].keys():
            return False
        return _all([_equal(value, named[1][name], leaf) for name, value in named[0].items()])
    if named[0] or named[1]:
        # Values by name against a tuple: the gold one's own order, or else the order of the alphabet.
        other = read(answer if named[0] else gold)
        if isinstance(other, Group) and other.kind == "bracket" and other.brackets == "()":
            ordered = tuple((named[0] or named[1] or {}).values())
            if named[1] and all(name.isalpha() for name in named[1]):
                ordered = tuple(named[1][name] for name in sorted(named[1]))
            group = Group("bracket", ordered, gold if named[0] else answer, "()")
            return _equal(group, other, leaf) if named[0] else _equal(other, group, leaf)
    (gold_name, gold_value), (name, value) = split_name(gold), split_name(answer)
    differ = name and gold_name.casefold() != name.casefold()
    if gold_name and (differ or _RELATION.search(value)):
        return leaf(gold, answer)
    gold_value, value = _drop_names(gold_value, only_one=True), _drop_names(value)
    if not _RELATION.search(gold_value) and not _RELATION.search(value):
        return _equal(read(gold_value), read(value), leaf)
    # The sides of `x = 2 + 3 = 5` that claim to be the answer: all of them, less a leading name.
    sides = [answer] if _INEQUALITY.search(answer) else split_top(answer, "=")
    if len(sides) > 2 and split_name(f"{sides[0]}=0")[0]:
        sides = sides[1:]
    if len(sides) > 1 and not _RELATION.search(gold_value):
        return _all([equal(gold_value, side, leaf) for side in sides])
    return leaf(gold, answer)


def _drop_names(text: str, only_one: bool = False) -> str:
    """Return ``x = 1, x = 2`` as ``1, 2``; with ``only_one`` not where names differ."""
    named = [split_name(part) for part in split_top(text, ",")]
    if not all(name for name, _ in named) or (only_one and len({name for name, _ in named}) > 1):
        return text
    return ", ".join(value for _, value in named)


def _equal(gold: Value, answer: Value, leaf: Leaf) -> bool | None:
    if gold == answer:
        return True
    if isinstance(gold, Measured) or isinstance(answer, Measured):
        units = [value.unit if isinstance(value, Measured | Number) else "" for value in (gold, answer)]
        if all(units) and units[0] != units[1]:
            return False
        return _equal(_without_unit(gold), _without_unit(answer), leaf)
    if isinstance(gold, Option) or isinstance(answer, Option):
        return _equal_options(gold, answer, leaf)
    if isinstance(gold, Number) and isinstance(answer, Number):
        if PERCENT not in (gold.unit, answer.unit):
            same = gold.value == answer.value or rounds(gold, answer)
            return same and (not gold.unit or not answer.unit or gold.unit == answer.unit)
        # 25 % equals 0.25, and a bare 25 (the question named the percent); 0.25 % does not equal 0.25.
        if gold.unit == answer.unit:
            return gold.value == answer.value
        if gold.unit and answer.unit:
            return False
        if gold.value == answer.value:
            return abs(gold.value) >= 1 or gold.value == 0
        shares = [number.value / 100 if number.unit == PERCENT else number.value for number in (gold, answer)]
        return shares[0] == shares[1]
    if isinstance(gold, Group) and isinstance(answer, Group):
        return _equal_groups(gold, answer, leaf)
    if isinstance(answer, Group) and answer.kind == "list" and not isinstance(gold, Group | Expression):
        return _all([_equal(gold, item, leaf) for item in answer.items])
    # Letters in \\text and letters without are the same word, though the latter may be a product of symbols.
    texts = [value.latex for value in (gold, answer) if isinstance(value, Words | Expression)]
    if len(texts) == 2 and isinstance(gold, Words) != isinstance(answer, Words) and texts[0].isalpha():
        if texts[0].casefold() == texts[1].casefold():
            return True
        if min(map(len, texts)) > 1:
            return False
    if isinstance(gold, Words) and not (isinstance(answer, Expression) and len(gold.text) == 1):
        return False
    if isinstance(gold, Based) or isinstance(answer, Based):
        return False
    if isinstance(gold, Expression) or isinstance(answer, Expression):
        return leaf(gold.latex, answer.latex)
    return False


def rounds(gold: Number, answer: Number) -> bool:
    """Whether one of two numbers is a decimal that stands for the other, which is exact.

    It does where it has at least six significant digits and is the exact one rounded, or cut off, at its last place.
    """
    exact, decimal = (gold, answer) if gold.places is None else (answer, gold)
    if exact.places is not None or decimal.places is None:
        return False
    return at_last_place(exact.value, decimal, MIN_DIGITS)


def at_last_place(exact: Fraction, decimal: Number, digits: int = 1) -> bool:
    """Whether ``decimal`` is ``exact`` rounded or cut off at its last place, and has that many significant digits."""
    if not decimal.places or decimal.places > MAX_PLACES:
        return False
    scaled, found = abs(exact) * 10**decimal.places, abs(decimal.value) * 10**decimal.places
    same_sign = (exact < 0) == (decimal.value < 0)
    return same_sign and found >= 10 ** (digits - 1) and found in (int(scaled), int(scaled + Fraction(1, 2)))


def _cut_off(gold: str, answer: str) -> bool:
    """Whether ``answer`` is a decimal with dots, such as ``3.14159\\ldots``, and the gold one is cut off like that."""
    written = _DECIMAL_DOTS.fullmatch(split_name(answer)[1])
    aim = read(split_name(gold)[1])
    if not written or (isinstance(aim, Number) and aim.places is not None):
        return False
    exact = aim.value if isinstance(aim, Number) else _value(aim.latex) if isinstance(aim, Expression | Words) else None
    decimal = read_number(written[1])
    if exact is None or decimal is None or (exact < 0) != (decimal.value < 0):
        return False
    places = 10 ** len(written[2])
    digits = abs(decimal.value) * places
    return digits >= 10 ** (MIN_DIGITS - 1) and digits == int(abs(exact) * places) != abs(exact) * places


def _equal_options(gold: Value, answer: Value, leaf: Leaf) -> bool | None:
    """Compare where at least one side is a choice with its text."""
    if isinstance(gold, Option) and isinstance(answer, Option):
        return _equal(gold.value, answer.value, leaf) if gold.label == answer.label else False
    option, other = (gold, answer) if isinstance(gold, Option) else (answer, gold)
    assert isinstance(option, Option)
    if isinstance(other, Words) and len(other.text) == 1:
        return other == option.label
    return _equal(option.value, other, leaf) if option is gold else _equal(other, option.value, leaf)


def _approximate(gold: str, answer: str, leaf: Leaf) -> bool | None:
    """Compare where a side says ``\\approx``: what it says has to be true, and one of its sides the gold answer.

    A bare ``\\approx 3.16`` stands for a decimal gold answer, or for one that the rule for decimals allows.
    """
    if any(text.count(r"\approx") >= len(split_top(text, r"\approx")) for text in (gold, answer)):
        return False  # inside brackets it says nothing about the whole
    if r"\approx" in gold:
        golds = [side for side in split_top(gold, r"\approx") if side]
        results = [equal(side, answer, leaf) for side in golds]
        return True if True in results else None if None in results else False
    *exact, last = (split_name(side)[1] for side in split_top(answer, r"\approx"))
    exact = [side for side in exact if side and not split_name(f"{side}=0")[0]]
    decimal = read(last)
    if not isinstance(decimal, Number) or decimal.places is None:
        return False
    for side in exact:
        value = read(side)
        number = value.value if isinstance(value, Number) else _value(side)
        if number is None or not at_last_place(number, decimal):
            return False
    aim = read(split_name(gold)[1])
    if isinstance(aim, Number) and aim.places is not None:
        return _equal(aim, decimal, leaf)
    return _all([equal(gold, side, leaf) for side in exact or [last]])


def _value(latex: str) -> Fraction | None:
    """Return the value of a real expression without symbols, to some 15 digits, or ``None``."""
    term = read_term(latex)
    if term is None:
        return None

    def no_symbols(name: str) -> float:
        raise UnboundedError(name)

    try:
        value, error = evaluate_ball(term, no_symbols)
    except UnboundedError:
        return None
    return Fraction(value.real) if not value.imag and error < 1e-9 * abs(value) else None


def read_inequality(text: str) -> tuple[str, Value] | None:
    """Return name and set of ``1 < x \\le 3`` or ``x < 1 \\lor x > 3``, or ``None`` where it is not in one symbol."""
    if not _ORDER.search(text) and r"\ne" not in text:
        return None
    joined = r"\lor" if r"\lor" in text else r"\land" if r"\land" in text else ","
    spans = [_span(part) for part in split_top(text.replace(r"\cup", joined), joined)]
    if None in spans or len({found[0] for found in spans if found}) != 1 or len(spans) > 2:
        return None
    found = [one for one in spans if one]
    name, ranges = found[0][0], [one[1] for one in found]
    if len(ranges) == 1:
        return (name, ranges[0][0]) if len(ranges[0]) == 1 else (name, Group("union", ranges[0], text))
    if any(len(one) != 1 for one in ranges):
        return None
    # Two ranges: which of them is the lower one, and do they meet?
    first, second = sorted((one[0] for one in ranges), key=lambda one: one.items[0] != Words(r"-\infty"))
    end, start = first.items[1], second.items[0]
    if not (isinstance(end, Number) and isinstance(start, Number)):
        return None
    apart = end.value < start.value or (end.value == start.value and first.brackets[1] + second.brackets[0] == ")(")
    if apart:
        return None if joined == r"\land" else (name, Group("union", (first, second), text))
    open_ended = first.items[0] == Words(r"-\infty") and second.items[1] == Words(r"\infty")
    if joined == r"\lor" or not open_ended or end.value == start.value:
        return None
    return name, Group("bracket", (start, end), text, second.brackets[0] + first.brackets[1])


def _span(text: str) -> tuple[str, tuple[Group, ...]] | None:
    """Read one chain of inequalities around one symbol as its interval; ``x \\ne 2`` as two intervals."""
    parts = [part.strip() for part in _ORDER_SIGN.split(text)]
    sides, signs = parts[::2], parts[1::2]
    if any(">" in sign or "ge" in sign for sign in signs):
        sides, signs = sides[::-1], [_TURNED.get(sign, "?") for sign in reversed(signs)]
    if "|" in text:
        return _distance(sides, signs, text)
    places = [i for i, side in enumerate(sides) if side and r"\infty" not in side and split_name(f"{side}=0")[0]]
    if len(places) != 1 or len(sides) not in (2, 3) or (len(sides) == 3 and places != [1]):
        return None
    name = sides[places[0]]
    if any(re.search(rf"(?<![\\a-zA-Z]){re.escape(name)}(?![a-zA-Z])", side) for side in sides if side != name):
        return None
    low, high = Words(r"-\infty"), Words(r"\infty")
    if signs == [r"\ne"]:
        hole = read(sides[1 - places[0]])
        return name, (Group("bracket", (low, hole), text, "()"), Group("bracket", (hole, high), text, "()"))
    if not set(signs) <= {"<", r"\le"}:
        return None
    ends: list[Value] = [low, high]
    brackets = ["(", ")"]
    for place, sign in enumerate(signs):
        end = 0 if place < places[0] else 1
        ends[end] = read(sides[place if end == 0 else place + 1])
        brackets[end] = ("[]" if sign == r"\le" else "()")[end]
    return name, (Group("bracket", tuple(ends), text, "".join(brackets)),)


def _distance(sides: list[str], signs: list[str], text: str) -> tuple[str, tuple[Group, ...]] | None:
    """Read ``|2x + 1| < 3`` as the interval of its symbol, and ``3 \\le |x|`` as two."""
    if len(sides) != 2 or signs[0] not in ("<", r"\le"):
        return None
    inside = [match[1] if (match := _ABSOLUTE.fullmatch(side)) else None for side in sides]
    place = 0 if inside[0] is not None else 1
    bound, term = read(sides[1 - place]), read_term(inside[place] or "")
    if "|" in sides[1 - place] or term is None or not isinstance(bound, Number | Expression):
        return None
    try:
        top, bottom = normal_form(term)
    except (NoFormError, UndefinedError):
        return None
    names = {monomial[0][0] for monomial, _ in top if monomial}
    size = bound.value if isinstance(bound, Number) else _value(bound.latex)
    if len(names) != 1 or bottom != ONE or size is None or size <= 0 or (isinstance(bound, Number) and bound.unit):
        return None
    (name,) = names
    linear = (((name, 1),), 1)
    if not top.keys() <= {((), 1), linear} or "(" in name:
        return None
    slope, constant = top[linear], top.get(((), 1), Fraction(0))
    ends: list[Value] = []
    for sign in (-1, 1) if slope > 0 else (1, -1):
        if isinstance(bound, Number):
            ends.append(Number((sign * bound.value - constant) / slope))
        else:
            centre, factor = Number(-constant / slope).latex, Number(sign / slope).latex
            ends.append(read(f"{centre} + ({factor})({bound.latex})"))
    low, high, closed = Words(r"-\infty"), Words(r"\infty"), signs[0] == r"\le"
    if place == 0:
        return name, (Group("bracket", tuple(ends), text, "[]" if closed else "()"),)
    below = Group("bracket", (low, ends[0]), text, "(]" if closed else "()")
    return name, (below, Group("bracket", (ends[1], high), text, "[)" if closed else "()"))


def algebraic_gold(gold: str) -> list[str]:
    """Return the LaTeX of each part of a gold answer (canonical) that can be compared only by algebra."""
    found = read_inequality(gold)
    return algebraic_parts(found[1] if found else read(split_name(_split_integer(gold)[0])[1]))


def _named(text: str) -> dict[str, Value] | None:
    """Return the values of ``p = 5, q = 2`` or ``(p, q) = (5, 2)`` by their names, if there are several names."""
    left, equals, right = text.partition("=")
    if not equals:
        return None
    names, values = read(left.strip()), read(right.strip()) if "=" not in right else None
    pairs = [split_name(part) for part in split_top(text, ",")]
    if isinstance(names, Group) and isinstance(values, Group) and names.kind == values.kind == "bracket":
        if len(names.items) != len(values.items) or not all(split_name(f"{n.latex}=0")[0] for n in names.items):
            return None
        found = {name.latex: value for name, value in zip(names.items, values.items, strict=True)}
        return found if len(found) == len(values.items) > 1 else None
    found = {name: read(value) for name, value in pairs}
    return found if len(found) == len(pairs) > 1 and all(found) else None


def _same_index(gold: str, answer: str) -> tuple[str, str, str] | None:
    """Return two families of solutions with one name for their integer, and that name; ``None`` where they are none."""
    bodies, declared = zip(*(_split_integer(text) for text in (gold, answer)), strict=True)
    indices = []
    for body, name in zip(bodies, declared, strict=True):
        letters = set(re.findall(r"(?<![\\a-zA-Z{])[a-zA-Z](?![a-zA-Z(])|(?<=\d)[klmnjt](?![a-zA-Z])", body)) & set(
            "klmnjt"
        )
        index = name or (letters.pop() if len(letters) == 1 else "")
        if not index or not (any(declared) or re.search(r"\\pi|\\circ", body)):
            return None
        indices.append(index)
    renamed = re.sub(rf"(?<![\\a-zA-Z]){indices[1]}(?![a-zA-Z])", indices[0], bodies[1])
    # The same letter twice needs no new name, but a start may still be moved by steps.
    clash = indices[0] != indices[1] and re.search(rf"(?<![\\a-zA-Z]){indices[0]}(?![a-zA-Z])", bodies[1])
    return None if clash else (bodies[0], renamed, indices[0])


def _split_integer(text: str) -> tuple[str, str]:
    """Cut ``2k\\pi, k \\in \\mathbb{Z}`` into the family and the name of its integer, empty where none is declared."""
    match = _INTEGER.search(text)
    return (text[: match.start()].rstrip(" ,;"), match["a"] or match["b"]) if match else (text, "")


def _shifted(index: str, leaf: Leaf) -> Leaf:
    """Return a leaf for families a + b k over all integers k: the step may turn round, the start move by steps."""

    def compare(gold: str, answer: str) -> bool | None:
        terms = [term for term in (read_term(gold), read_term(answer)) if term is not None]
        if len(terms) < 2:
            return leaf(gold, answer)
        starts, steps = [], []
        try:
            for term in terms:
                at = [normal_form(substitute(term, index, rational(k))) for k in range(3)]
                if any(bottom != ONE for _, bottom in at):
                    return leaf(gold, answer)
                step = difference(at[1][0], at[0][0])
                if step != difference(at[2][0], at[1][0]) or not step:
                    return leaf(gold, answer)
                starts.append(at[0][0])
                steps.append(step)
        except (NoFormError, UndefinedError):
            return leaf(gold, answer)
        turned = {key: -value for key, value in steps[1].items()}
        if steps[0] not in (steps[1], turned):
            return False
        apart = difference(starts[0], starts[1])
        key = next(iter(steps[0]))
        ratio = apart.get(key, Fraction(0)) / steps[0][key]
        moved = {one: ratio * value for one, value in steps[0].items()} if ratio else {}
        return ratio.denominator == 1 and moved == apart

    return compare


def _without_unit(value: Value) -> Value:
    if isinstance(value, Measured):
        return value.value
    return Number(value.value, "", value.places) if isinstance(value, Number) and value.unit != PERCENT else value


def _equal_groups(gold: Group, answer: Group, leaf: Leaf) -> bool | None:
    if len(gold.items) != len(answer.items):
        return False
    kinds = (gold.kind, answer.kind)
    if gold.kind == answer.kind and gold.kind in ("row", "matrix"):
        return _ordered(gold.items, answer.items, leaf)
    if kinds == ("bracket", "bracket"):
        return _ordered(gold.items, answer.items, leaf) if gold.brackets == answer.brackets else False
    if kinds == ("bracket", "list"):
        return _ordered(gold.items, answer.items, leaf) if gold.brackets == "()" else False
    if kinds == ("list", "bracket"):
        return _unordered(gold.items, answer.items, leaf) if answer.brackets == "()" else False
    if set(kinds) <= {"list", "set"} or kinds == ("union", "union"):
        return _unordered(gold.items, answer.items, leaf)
    return leaf(gold.latex, answer.latex) if "matrix" in kinds or "union" in kinds else False


def _all(results: Iterable[bool | None]) -> bool | None:
    unsure = False
    for result in results:
        if result is False:
            return False
        unsure = unsure or result is None
    return None if unsure else True


def _ordered(gold: Sequence[Value], answer: Sequence[Value], leaf: Leaf) -> bool | None:
    return _all([_equal(g, a, leaf) for g, a in zip(gold, answer, strict=True)])


def _unordered(gold: Sequence[Value], answer: Sequence[Value], leaf: Leaf) -> bool | None:
    """Match each gold item with one answer item; equality is transitive, so the first match may be taken."""
    left, unsure = list(answer), False
    for item in gold:
        results = [_equal(item, other, leaf) for other in left]
        if True in results:
            left.pop(results.index(True))
        elif None in results:
            unsure = True
        else:
            return False
    return None if unsure else True
