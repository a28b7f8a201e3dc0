"""Reading a judge's reply: one verdict in one fixed form, and nothing else that the reply may say or quote.

A reply is read where it is, after the reasoning, a JSON object of the asked form, or ends in one line of that form.
Whatever is not read for certain gives no score, never a low one: prose around a number, a reply that was cut at the
token limit, two verdicts that differ, a second end of the reasoning.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN

_NUMBER = r"(?P<number>[0-9]{1,3}(?:\.[0-9]{1,6})?)(?:\s*/\s*100|\s+out\s+of\s+100|\s?%)?"
_MARKUP = r"[\s*_`]*"
VERDICT = re.compile(
    rf"{_MARKUP}(?P<label>(?:score|rating|grade|verdict){_MARKUP}[:=]{_MARKUP})?(?:{_NUMBER}|(?P<word>yes|no))"
    rf"{_MARKUP}\.?{_MARKUP}",
    re.IGNORECASE | re.ASCII,
)
"""A line that is a verdict, and nothing else: ``Score: 85``, ``Verdict: yes``, or the value alone."""

ITEM = re.compile(rf"{_MARKUP}(?P<place>[0-9]{{1,2}}){_MARKUP}[:.)=]{_MARKUP}(?P<value>\S.*)", re.ASCII)
FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)
MOST_ITEMS = 20
"""The most requirements that one reply is about."""

MINIMUM_MASS = 0.5
"""Share of the first token's probability that has to lie on yes and no."""
ROUNDING = 1e-4
"""By how much probabilities may exceed 1 because a server rounds log-probabilities."""


def parse_score(reply: str, *, cut: bool = False) -> float | None:
    """Return the score in [0, 1] that ``reply`` gives on the scale 0–100, or ``None``.

    Read are ``{"score": 85}``, a last line ``Score: 85``, and a reply that is only the number (``85``, ``85/100``). A
    number between 0 and 1 may be on the scale 0–1 and gives ``None``, as one above 100 does.
    """
    value = _verdict(reply, "score", cut)
    if isinstance(value, str) or value is None:
        return None
    return value / 100.0 if value == 0.0 or 1.0 <= value <= 100.0 else None


def parse_yes_no(reply: str, *, cut: bool = False) -> float | None:
    """Return 1.0 for yes and 0.0 for no: ``{"verdict": "yes"}``, a last line ``Verdict: yes``, or the word alone."""
    value = _verdict(reply, "verdict", cut)
    return float(value == "yes") if isinstance(value, str) else None


def parse_list(reply: str, count: int, *, yes_no: bool, cut: bool = False) -> list[float | None]:
    """Return ``count`` scores from ``{"1": 85, "2": 40}``, or from a reply of lines like ``2: 85``, and only of those.

    ``None`` stands where a number has no line, or lines that differ; a reply with any other line gives no score at all.

    Args:
        reply: what the judge wrote.
        count: how many numbers there are, from 1.
        yes_no: read yes and no, not numbers from 0 to 100.
        cut: the reply ended at the token limit, so nothing is read.
    """
    text = _spoken(reply)
    if cut or text is None:
        return [None] * count
    read = parse_yes_no if yes_no else parse_score
    if (values := _object(text)) is not None:
        entries = [(place, str(value)) for place, value in values.items() if not isinstance(value, bool)]
    else:
        matches = [ITEM.fullmatch(line) for line in text.splitlines() if line.strip()]
        if not all(matches):
            return [None] * count
        entries = [(match["place"], match["value"]) for match in matches if match]
    found: dict[str, set[float | None]] = {}
    for place, value in entries:
        found.setdefault(place, set()).add(read(value))
    return [next(iter(scores)) if len(scores := found.get(str(i), set())) == 1 else None for i in range(1, count + 1)]


def expected_yes(candidates: Mapping[str, float]) -> float | None:
    """Return P(yes) / (P(yes) + P(no)) from the first token's log-probabilities by token text.

    ``None`` where less than half of the probability lies on the two (then the judge was about to say something else),
    and where the figures are not log-probabilities: above 0, or not finite.
    """
    if any(not math.isfinite(logprob) or logprob > ROUNDING for logprob in candidates.values()):
        return None
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in candidates.items():
        word = token.strip(" \t\n\"'*_.:▁Ġ").lower()
        if word in mass:
            mass[word] += math.exp(logprob)
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if MINIMUM_MASS <= total <= 1.0 + 20 * ROUNDING else None


def looks_like_verdict(line: str) -> bool:
    """Whether a judge that repeats this line of a response at its end could be read as giving a verdict."""
    match = VERDICT.fullmatch(line)
    return (match is not None and match["label"] is not None) or _object(line) is not None


def is_verdict(text: str) -> bool:
    """Whether a judge that replies with ``text``, and nothing else, gives a verdict."""
    if VERDICT.fullmatch(text.strip()) or _object(text) is not None:
        return True
    lists = (parse_list(text, MOST_ITEMS, yes_no=yes_no) for yes_no in (False, True))
    return any(value is not None for values in lists for value in values)


def _verdict(reply: str, name: str, cut: bool) -> float | str | None:
    """Return the only verdict of a reply, a number or ``yes`` or ``no``; ``name`` is its key in a JSON object."""
    text = _spoken(reply)
    if cut or text is None:
        return None
    if (values := _object(text)) is not None:
        value = values.get(name) if len(values) == 1 else None
        if isinstance(value, str):
            return value.lower() if value.lower() in ("yes", "no") else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    lines = [line for line in text.splitlines() if line.strip()]
    verdicts = [match for line in lines if (match := VERDICT.fullmatch(line)) is not None]
    if not verdicts or VERDICT.fullmatch(lines[-1]) is None or any(_object(line) is not None for line in lines):
        return None
    if len(lines) > 1 and verdicts[-1]["label"] is None:
        return None
    values_said = {match["word"].lower() if match["word"] else float(match["number"]) for match in verdicts}
    return values_said.pop() if len(values_said) == 1 else None


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that ``text`` is, with or without a code fence, if it is one without repeated keys."""
    fenced = FENCED.fullmatch(text.strip())
    raw = (fenced[1] if fenced else text).strip()
    if not raw.startswith("{"):
        return None

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key is repeated")
        return dict(pairs)

    try:
        loaded = json.loads(raw, object_pairs_hook=once, parse_constant=lambda name: None, parse_int=float)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _spoken(reply: str) -> str | None:
    """Return what stands after the reasoning; ``None`` where its end is not certain."""
    before, closed, after = reply.partition(THINK_CLOSE)
    if not closed:
        return None if THINK_OPEN in before else reply
    return None if THINK_CLOSE in after or THINK_OPEN in after else after
