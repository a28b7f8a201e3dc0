"""Reading the model's reply: one JSON object of the form that was asked for, or a fault that can be named to it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adhere.rewards.checklist.generation.words import is_question
from adhere.rewards.checklist.requirement import CATEGORY_WEIGHTS
from adhere.rewards.files import LONE_SURROGATE, whole_characters

CATEGORIES: Mapping[str, float] = {str(name): weight for name, weight in CATEGORY_WEIGHTS.items()}
"""The weights of categories, by what a model may have written."""

LONGEST_QUESTION = 600

_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n[ \t]*```", re.DOTALL | re.IGNORECASE)


class Unreadable(ValueError):
    """A reply that is not of the form asked for; its message completes "the reply: ..."."""

    def __init__(self, reason: str) -> None:
        """Keep ``reason``, which may quote the reply."""
        super().__init__(whole_characters(reason))


@dataclass(frozen=True, slots=True)
class Draft:
    """One requirement as the model wrote it; ``weight`` lies in [0, 100]."""

    text: str
    weight: float
    category: str | None = None


@dataclass(slots=True)
class Reply:
    """The requirements of a reply that are of the right form, those that are not with the reason, and remarks."""

    drafts: list[Draft] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_reply(text: str, *, categories: bool) -> Reply:
    """Read ``{"analysis": ..., "requirements": [...]}``, with categories in place of weights where asked for.

    The object may stand in a fence or amid prose, which is noted; there must be only one.

    Raises:
        Unreadable: there is no such object, or more than one, or it has no list of requirements.
    """
    found, note = parse_object(text)
    unknown = sorted(set(found) - {"analysis", "requirements"})
    if unknown:
        raise Unreadable(f"unknown key '{unknown[0]}'; the object has the keys analysis and requirements")
    rows = found.get("requirements")
    if not isinstance(rows, list):
        raise Unreadable("the key requirements is missing, or is not a list")
    reply = Reply(notes=[note] if note else [])
    for row in rows:
        try:
            reply.drafts.append(_draft(row, categories))
        except ValueError as error:
            shown = row.get("question") if isinstance(row, dict) else row
            reply.refused.append((whole_characters(str(shown))[:200], str(error)))
    return reply


def parse_object(text: str) -> tuple[dict[str, Any], str | None]:
    """Return the one JSON object in ``text``, and a remark where prose around it was left out.

    Raises:
        Unreadable: there is none, or more than one.
    """
    body = _THINKING.sub("", text).strip()
    whole = _decoded(body)
    if whole is not None:
        return whole, None
    fences = _FENCE.findall(body)
    found = [one for one in map(_decoded, fences) if one is not None] if fences else list(_objects(body))
    if len(found) > 1:
        raise Unreadable(f"it holds {len(found)} JSON objects, one was asked for")
    if not found:
        raise Unreadable(f"it is no JSON object ({_syntax(fences[0] if fences else body)})")
    alone = bool(fences) and not _FENCE.sub("", body).strip()
    return found[0], None if alone else "the reply had prose around its JSON, which was left out"


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            # An object that does not close would hide every object inside it: those are parts, not replies.
            return
        yield value
        at = text.find("{", end)


def _syntax(text: str) -> str:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    except ValueError:
        return f"a number has more than {sys.get_int_max_str_digits()} digits"
    except RecursionError:
        return "nested too deep"
    return f"a {type(value).__name__} at the top"


def _draft(row: Any, categories: bool) -> Draft:
    grade = "category" if categories else "weight"
    if not isinstance(row, dict) or set(row) != {"question", grade}:
        raise ValueError(f"is not an object with the two keys question and {grade}")
    text, value = row["question"], row[grade]
    if not isinstance(text, str) or not text.strip():
        raise ValueError("question is not text")
    text = " ".join(text.split())
    if LONE_SURROGATE.search(text):
        raise ValueError("question holds half a character (a lone surrogate)")
    if len(text) > LONGEST_QUESTION:
        raise ValueError(f"question is {len(text)} characters long, more than {LONGEST_QUESTION}")
    if not is_question(text):
        raise ValueError("is not a question that yes or no answers")
    if categories:
        if not isinstance(value, str) or value.lower() not in CATEGORIES:
            raise ValueError(f"category {value!r} is none of {', '.join(CATEGORIES)}")
        return Draft(text, CATEGORIES[value.lower()], value.lower())
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"weight {value!r} is not a number from 0 to 100")
    return Draft(text, float(value))
