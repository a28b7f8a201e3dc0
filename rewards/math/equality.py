"""Decide whether two answers are equal: exactly where both can be read, otherwise by algebra at the leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from adhere.rewards.math.parsed_answer import (
    Based,
    Expression,
    Group,
    Measured,
    Number,
    Value,
    Words,
    read,
    split_name,
    split_top,
)
from adhere.rewards.math.units import PERCENT

Leaf = Callable[[str, str], bool | None]
"""Compare two LaTeX expressions, gold first; ``None`` where it cannot say."""

_INEQUALITY = re.compile(r"[<>,]|\\(?:le|ge|ne|in|approx)(?![a-z])")
_RELATION = re.compile(r"[<>=]|\\(?:le|ge|ne|in|approx)(?![a-z])")


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
    if isinstance(gold, Number) and isinstance(answer, Number):
        if PERCENT not in (gold.unit, answer.unit):
            return gold.value == answer.value and (not gold.unit or not answer.unit or gold.unit == answer.unit)
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
    if isinstance(gold, Words) and not (isinstance(answer, Expression) and len(gold.text) == 1):
        return False
    if isinstance(gold, Based) or isinstance(answer, Based):
        return False
    if isinstance(gold, Expression) or isinstance(answer, Expression):
        return leaf(gold.latex, answer.latex)
    return False


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
