"""Reading a judge's reply. A reply that cannot be read for certain gives no score, never a low one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN

OUT_OF = re.compile(r"(?<=\d)(?:\.0+)?\s*(?:/\s*|\(?out\s+of\s+)100\b\)?", re.IGNORECASE)
OTHER_SCALE = re.compile(r"\d\s*(?:/|out\s+of|of)\s*\d", re.IGNORECASE)
NUMBER = re.compile(r"(?<![\w.,-])[-−]?[0-9]+(?:\.[0-9]+)?(?![\w-]|[.,][0-9])")
LABELLED = re.compile(
    r"\b(?:score|rating|grade)\b[\s*_:=]{0,8}(?:is\b)?[\s*_:=]{0,8}([-−]?[0-9]+(?:\.[0-9]+)?)(?![\w-]|[.,][0-9])",
    re.IGNORECASE,
)
OPENS = re.compile(r"[\s*_#\[(]*(?:(?:score|rating|grade)\b[\s*_:=]*(?:is\b\s*)?)?[0-9]+(?:\.[0-9]+)?\b(?!\Z)", re.I)
LINE = re.compile(r"^\W{0,4}([0-9]{1,2})\s*[:.)=-]+\s*(.+?)\s*$")
WORD = re.compile(r"[a-z]+", re.IGNORECASE)
MINIMUM_MASS = 0.5
"""Share of the first token's probability that has to lie on yes and no."""


def parse_score(reply: str, *, cut: bool = False) -> float | None:
    """Return the score in [0, 1] that ``reply`` gives on the scale 0–100, or ``None``.

    Read are a lone number (``85``, ``85.``, ``85/100``, ``85 out of 100``), and a labelled one at the end (``Score:
    85``). Several numbers that differ, negative ones, those above 100, other scales (``7/7``) and fractions below 1,
    which may be on the scale 0–1, give ``None``. A reply that was ``cut`` at the token limit has to open with its
    score: "8" may be the beginning of 85, and a number in an unfinished thought is not a score.
    """
    text = OUT_OF.sub(" ", _spoken(reply))
    if OTHER_SCALE.search(text) or (cut and not OPENS.match(text)):
        return None
    labelled = {_value(found) for found in LABELLED.findall(text)}
    numbers = {_value(found) for found in NUMBER.findall(text)}
    if len(labelled) > 1:
        return None
    if not labelled and len(numbers) != 1:
        return None
    if labelled and numbers != labelled and not _ends_with_label(text):
        return None
    value = next(iter(labelled or numbers))
    return value / 100.0 if value == 0.0 or 1.0 <= value <= 100.0 else None


def parse_yes_no(reply: str) -> float | None:
    """Return 1.0 for yes, 0.0 for no, ``None`` where the reply has neither, or both."""
    said = {word.lower() for word in WORD.findall(_spoken(reply))} & {"yes", "no"}
    return float(said == {"yes"}) if len(said) == 1 else None


def parse_list(reply: str, count: int, *, yes_no: bool, cut: bool = False) -> list[float | None]:
    """Return ``count`` scores from lines like ``2: 85``; ``None`` where a number has no line, or lines that differ.

    Args:
        reply: what the judge wrote.
        count: how many numbers there are, from 1.
        yes_no: read yes and no, not whole numbers from 0 to 100.
        cut: the reply ended at the token limit, so its last line is not read.
    """
    found: dict[int, set[float | None]] = {}
    lines = _spoken(reply).splitlines()
    for line in lines[:-1] if cut else lines:
        if (match := LINE.match(line)) is not None:
            read = parse_yes_no(match[2]) if yes_no else parse_score(match[2])
            found.setdefault(int(match[1]), set()).add(read)
    return [next(iter(scores)) if len(scores := found.get(i, set())) == 1 else None for i in range(1, count + 1)]


def expected_yes(candidates: Mapping[str, float]) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) from the first token's log-probabilities by token text.

    ``None`` where less than half of the probability lies on the two: then the judge was about to say something else.
    """
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in candidates.items():
        word = token.strip(" \t\n\"'*_.:▁Ġ").lower()
        if word in mass:
            mass[word] += math.exp(logprob)
    total = mass["yes"] + mass["no"]
    return min(1.0, mass["yes"] / total) if total >= MINIMUM_MASS else None


def _spoken(reply: str) -> str:
    """Return what stands after the reasoning; an unfinished reasoning block says nothing."""
    _, closed, after = reply.rpartition(THINK_CLOSE)
    return after if closed else reply.partition(THINK_OPEN)[0]


def _value(digits: str) -> float:
    return float(digits.replace("−", "-"))


def _ends_with_label(text: str) -> bool:
    last = list(LABELLED.finditer(text))[-1]
    return not re.search(r"[\w]", text[last.end() :])
