"""The kinds of keyword arguments that a constraint takes, and how each is checked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adhere.rewards.errors import nearest


@dataclass(frozen=True, slots=True)
class Param(ABC):
    """One named argument; ``doc`` completes the sentence "<name>: ..." in the reference table."""

    name: str
    doc: str

    @abstractmethod
    def parse(self, value: Any) -> Any:
        """Return the clean value, or raise ``ValueError`` with a message that completes "<id>.<name>: ..."."""


@dataclass(frozen=True, slots=True)
class Count(Param):
    """An integer in [``low``, ``high``]; integral floats are accepted, since parquet turns integers into floats."""

    low: int = 1
    high: int = 1_000_000

    def parse(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise ValueError(f"needs a whole number, got {value!r}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value:g} lies outside [{self.low}, {self.high}]")
        return int(value)


@dataclass(frozen=True, slots=True)
class Choice(Param):
    """One of ``options``."""

    options: tuple[str, ...]

    def parse(self, value: Any) -> str:
        if value not in self.options:
            hint = nearest(str(value), self.options)
            shown = ", ".join(self.options[:8]) + (", ..." if len(self.options) > 8 else "")
            raise ValueError(f"{value!r} is not one of {shown}{hint}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Text(Param):
    """A string that is not blank, and that ``pattern`` matches in full where one is given."""

    pattern: str = ""

    def parse(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"needs a string that is not blank, got {value!r}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError(f"{value!r} does not match {self.pattern}")
        return value


@dataclass(frozen=True, slots=True)
class WordList(Param):
    """A list of one or more strings that are not blank."""

    def parse(self, value: Any) -> list[str]:
        if isinstance(value, str) or not isinstance(value, Sequence) or not value:
            raise ValueError(f"needs a list of one or more words, got {value!r}")
        bad = [word for word in value if not isinstance(word, str) or not word.strip()]
        if bad:
            raise ValueError(f"needs words that are not blank, got {bad[0]!r}")
        return list(value)


@dataclass(frozen=True, slots=True)
class Word(Param):
    """One word without white space inside; a list of one word is taken as that word, as IFTrain's rows have it."""

    def parse(self, value: Any) -> str:
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str) or len(value.split()) != 1:
            raise ValueError(f"needs one word, got {value!r}")
        return value.strip()


RELATIONS = ("at least", "less than")


def relation(name: str = "relation") -> Choice:
    """The argument that says whether a count is a lower bound or a strict upper bound."""
    return Choice(name, "whether the number is a lower bound or a strict upper bound", RELATIONS)


def holds(count: int, bound: int, relation: str) -> bool:
    """Whether ``count`` stands in ``relation`` to ``bound``."""
    return count >= bound if relation == "at least" else count < bound


def exclude(one: Mapping[str, Any], other: Mapping[str, Any], bound: str, relation: str) -> bool:
    """Whether no count meets both of two bounds.

    Args:
        one: arguments of a constraint.
        other: arguments of another one of the same kind.
        bound: name of the argument that holds the number.
        relation: name of the argument that holds ``at least`` or ``less than``.
    """
    if one[relation] == other[relation]:
        return False
    low, high = (one, other) if one[relation] == "at least" else (other, one)
    return bool(high[bound] <= low[bound])


def times(bound: int, relation: str) -> str:
    """Say a bound on occurrences in words: ``at least twice``, ``fewer than 3 times``, ``not even once``."""
    if relation == "less than" and bound == 1:
        return "not even once"
    count = {1: "once", 2: "twice"}.get(bound, f"{bound} times")
    return f"at least {count}" if relation == "at least" else f"fewer than {bound} times"


def plural(count: int, noun: str) -> str:
    """Return ``1 bullet`` or ``3 bullets``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
