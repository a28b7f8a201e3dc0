"""Numbers that English writes in words: ``twenty-one``, ``one hundred and five``, ``three quarters``."""

from __future__ import annotations

import re

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_BELOW_100 = {word: n for n, word in enumerate(_ONES)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_LARGE = {"million": 10**6, "thousand": 10**3}
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
_PARTS |= {"ninth": 9, "tenth": 10}
_GOES_ON = {"hundred", "first", "second", "of", "to", "in", "out", "by", "point", "or", "and"}
"""Words behind a number with which it is another number, a place in a row, or a part of a phrase."""

HUNDRED_AND = re.compile(rf"(?i)\b(hundred|thousand|million)\s+and\s+(?=(?:{'|'.join(_BELOW_100)})\b)")
"""An "and" inside a number, where it joins no list."""

_START = re.compile(rf"(?i)(?:(?:minus|negative)\s+)?(?:{'|'.join(_BELOW_100)})\b")


def in_digits(text: str) -> str | None:
    """Return a text that opens with a number in words with that number in digits: ``twelve apples`` as ``12 apples``.

    ``None`` where it does not open with one, or where its words do not make one number, as in ``seven eight``.
    """
    if not _START.match(text):
        return None
    words = re.split(r"[\s-]+", text.strip())
    sign = "-" if words[0].lower() in ("minus", "negative") else ""
    rest = words[bool(sign) :]
    total, group, read = 0, 0, 0
    ceiling, room = 10**9, 1000  # what the next group, and the next word in it, have to stay below
    for place, word in enumerate(rest):
        lower = word.lower()
        value = _BELOW_100.get(lower)
        if value is not None and (value < room if value else place == 0):
            group += value
            room = 10 if value >= 20 else 0
        elif lower == "hundred" and 0 < group < 10 and room in (0, 10):
            group, room = group * 100, 100
        elif lower in _LARGE and group and _LARGE[lower] < ceiling:
            total, group, ceiling, room = total + group * _LARGE[lower], 0, _LARGE[lower], 1000
        else:
            break
        read = place + 1
    tail, number = rest[read:], total + group
    part = tail[0].lower() if tail else ""
    if (
        not read
        or part in _BELOW_100
        or part in _LARGE
        or part in _GOES_ON
        or (part.endswith("th") and part not in _PARTS)
    ):
        return None
    singular = "half" if part == "halves" else part.removesuffix("s")
    if singular in _PARTS:
        fits = (part == singular) == (number == 1) and len(tail) == 1
        return f"{sign}\\frac{{{number}}}{{{_PARTS[singular]}}}" if fits else None
    return " ".join([f"{sign}{number}", *tail])
