"""Numbers and bounds as English writes them: ``no more than three times``, ``150 or more``."""

from __future__ import annotations

import re

_SPOKEN = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_OTHERS = {"a": 1, "an": 1, "single": 1, "once": 1, "twice": 2, "thrice": 3, "no": 0}

NUMBERS: dict[str, int] = (
    {word: n for n, word in enumerate(_SPOKEN)} | {word: n for n, word in enumerate(_ORDINALS, start=1)} | _OTHERS
)
"""Numbers in words, as ``describe`` or a model may write them."""

NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+|\d{{1,6}}|{'|'.join(_SPOKEN[1:])})"
"""A pattern for a cardinal number in digits or in a word."""

_OPENERS: tuple[tuple[str, str, int], ...] = (
    ("at least|no fewer than|no less than|not fewer than|not less than|a minimum of", "at least", 0),
    ("more than|over", "at least", 1),
    ("fewer than|less than|under|below", "less than", 0),
    ("at most|no more than|not more than|up to|a maximum of", "less than", 1),
)
_CLOSERS: tuple[tuple[str, str, int], ...] = (("or more", "at least", 0), ("or fewer|or less", "less than", 1))


def _written(count: str) -> str:
    openers = "|".join(words for words, _, _ in _OPENERS)
    closers = "|".join(words for words, _, _ in _CLOSERS)
    return rf"(?:(?:{openers}) {count}|{count} (?:{closers}))"


BOUND = _written(NUMBER)
"""A pattern for a lower or an upper bound; ``exactly``, ``about`` and ranges are none."""

TIMES = rf"(?:{BOUND} times?|{_written('(?:once|twice)')})"
"""A pattern for a bound on occurrences."""


def number(text: str) -> int:
    """Return the number that ``text`` writes in digits or in a word."""
    return NUMBERS[text.lower()] if text.lower() in NUMBERS else int(text.replace(",", ""))


def bound(text: str) -> tuple[str, int]:
    """Return the relation and the number of a bound: ``no more than 5`` is ``("less than", 6)``.

    Raises:
        ValueError: the text matches neither ``BOUND`` nor ``TIMES``.
    """
    said = re.sub(r" times?$", "", text.lower())
    for words, relation, shift in _OPENERS:
        match = re.fullmatch(rf"(?:{words}) (\S+)", said)
        if match is not None:
            return relation, number(match[1]) + shift
    for words, relation, shift in _CLOSERS:
        match = re.fullmatch(rf"(\S+) (?:{words})", said)
        if match is not None:
            return relation, number(match[1]) + shift
    raise ValueError(f"{text!r} is not a bound")
