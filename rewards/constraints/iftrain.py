"""What the 29 constraints of IFTrain (IFEvalG in open-instruct, arXiv 2507.02833) share.

``compat`` decides as IFEvalG's checkers do, quirks included; arguments are taken as written, where IFEvalG draws a
new one at random in place of 0 or an empty string.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from adhere.rewards.constraints.base import Constraint, Kwargs, Sampler
from adhere.rewards.constraints.official_text import ABBREVIATIONS
from adhere.rewards.constraints.text import exempt_spans, masked, visible

_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s)|[。！？]+|\n")
_ALNUM = re.compile(r"[^\W_]")

HARMLESS = frozenset(
    {
        "keywords:forbidden_words",
        "keywords:exclude_word_harder",
        "punctuation:no_comma",
        "punctuation:punctuation_exclamation",
    }
)
"""Constraints that only leave something out, and so go with any shape of the whole response."""


class IFTrain(Constraint):
    """A constraint of IFTrain; without arguments, unless ``sample`` is overridden."""

    collection: ClassVar[Literal["mathif", "ifeval", "iftrain", "reasonif"]] = "iftrain"

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}


class WholeResponse(IFTrain):
    """A constraint that shapes every sentence or word, so that only what leaves something out goes with it."""

    allows: ClassVar[frozenset[str]] = HARMLESS

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return dict(kwargs) != dict(other)
        return other_id not in self.allows


def sentences(text: str) -> list[str]:
    """Cut ``text`` into the sentences that readers see: at line ends, and after ``.``, ``!`` and ``?`` before a space.

    Formulas, boxes and code are masked, abbreviations and initials end nothing, and pieces without a letter or digit
    (rules, lone formulas) are left out.
    """
    body = masked(text, exempt_spans(text))
    pieces, at = [], 0
    for match in _END.finditer(body):
        if match.group() == "." and _held(body[max(0, match.start() - 12) : match.start()]):
            continue
        pieces.append(body[at : match.end()])
        at = match.end()
    pieces.append(body[at:])
    return [piece.strip() for piece in pieces if any(map(str.isalnum, piece))]


def _held(before: str) -> bool:
    token = re.split(r"\s", before)[-1].lower().lstrip("(\"'“‘[")
    return token in ABBREVIATIONS or (len(token) == 1 and token.isalpha()) or (token.isdigit() and before == token)


def spoken(text: str) -> list[str]:
    """Return the words of ``text`` as written, signs at their edges removed; ``well-known`` is one word."""
    bare = (trimmed(token) for token in visible(text).split())
    return [word for word in bare if word]


def trimmed(token: str) -> str:
    """Return ``token`` without what comes before its first and after its last letter or digit."""
    first = _ALNUM.search(token)
    if first is None:
        return ""
    last = _ALNUM.search(token[::-1])
    return token[first.start() : len(token) - (last.start() if last else 0)]


def same(one: str, two: str) -> bool:
    """Whether two words are equal, signs at the edges and case ignored."""
    return trimmed(one).casefold() == trimmed(two).casefold()
