"""The numbers in the texts of MulDimIF's constraints, and the bounds that they set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from adhere.rewards.errors import ConfigError

ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SMALL = {word: number for number, word in enumerate(ONES, start=1)}
TEENS = {
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19,
}  # fmt: skip
TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "hundred": 100,
}  # fmt: skip
NUMBERS = {"zero": 0, **SMALL, **TEENS, **TENS}
CHINESE = dict(zip("一二三四五六七八九十", range(1, 11), strict=True)) | {"两": 2}
IN_SENTENCES = (
    SMALL
    | {"eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50}
    | {"hundred": 100, "thousand": 1000}
    | CHINESE
)


class MissingPackage(ConfigError):
    """A rule needs a package that is not installed."""


Bounds = tuple[int | None, int | None]


def spelled(text: str, words: Mapping[str, int] = NUMBERS) -> int | None:
    """Return the number that ``text`` writes in digits or in words such as ``twenty-five``, or ``None``."""
    text = text.strip().replace(",", "")
    if text.isdigit():
        return int(text)
    total = current = 0
    for part in re.split(r"[\s-]+", text.lower()):
        if part not in words:
            return None
        if words[part] >= 100:
            total, current = total + max(current, 1) * words[part], 0
        else:
            current += words[part]
    return total + current


def within(count: int, bounds: Bounds) -> bool:
    """Return whether ``count`` lies in inclusive ``bounds``; ``None`` leaves a side open."""
    low, high = bounds
    return (low is None or count >= low) and (high is None or count <= high)


def bounds_of(text: str, patterns: Iterable[tuple[str, str]], words: Mapping[str, int]) -> Bounds | None:
    """Return the bounds that the first matching pattern reads, ``None`` where none matches.

    Args:
        text: the constraint, in lower case.
        patterns: pairs of a kind (``exact``, ``min``, ``max``, ``range``, ``one``) and a regular expression.
        words: numbers by their names; a word that is not among them is 0.
    """
    for kind, pattern in patterns:
        if (match := re.search(pattern, text)) is None:
            continue
        if kind == "one":
            return 1, 1
        found = [int(g) if g.isdigit() else words.get(g, 0) for g in match.groups()]
        low = found[0] if kind != "max" else None
        high = found[-1] if kind != "min" else None
        return low, high
    return None


UP_TO_TEN = r"(\d+|" + "|".join(ONES) + ")"
"""One to ten, in digits or in words."""


def read_json(text: str) -> Any:
    """Return what ``text`` holds as JSON, or ``None`` where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
