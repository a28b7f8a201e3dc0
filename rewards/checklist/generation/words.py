"""What can be said of a requirement from its words: its form, what makes it doubtful, and what it repeats."""

from __future__ import annotations

import re
from typing import Literal

Flag = Literal["non-atomic", "generic"]

_ASKS = re.compile(
    r"(?:does|do|did|is|are|was|were|has|have|had|can|could|will|would|should|must)(?:n't)?\s.+\?", re.IGNORECASE | re.S
)
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|`[^`]*`|(?<!\w)\'[^\']*\'(?!\w)')
_QUOTES = re.compile(rf"(?:{_QUOTED.pattern})(?:(?:,? (?:and|or) |, )(?:{_QUOTED.pattern}))+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
_RANGE = re.compile(r"\bbetween \S+ and \S+")
_BOTH = re.compile(r"\b(?:and|as well as|while also|along with|in addition to)\b|;", re.IGNORECASE)
_LISTED = re.compile(r"[^\W_]+, [^,?]+,? (?:and|or) ", re.IGNORECASE)
_NEGATIONS = {
    "no",
    "not",
    "never",
    "without",
    "avoid",
    "avoids",
    "avoided",
    "refrain",
    "free",
    "exclude",
    "omit",
    "nor",
}

_ACTIONS_TEXT = """
address avoid calculate cite compare conclude contain define describe discuss end explain give highlight
identify include introduce list mention name note offer present propose provide quote recommend show solve
start state suggest summarize summarise use verify write
"""
_ACTIONS = frozenset(_ACTIONS_TEXT.split())
_FUNCTION_TEXT = """
a all also an and any are as at be been being both by can could did do does each either every for from had has
have if in into is it its must of on only or other should so some such than that the their them then there
these they this those to was were what when where which who will with would your contain contains include
includes including use uses used using have having written response answer output reply text word words phrase
keyword keywords
"""
_FUNCTION = frozenset(_FUNCTION_TEXT.split())
_VAGUE_TEXT = """
accurate accurately adequate adequately appropriate appropriately clarity clear clearly coherent coherently
complete completely comprehensive concise concisely correct correctly detailed detail easy effective
effectively engaging entire fully good grammar great helpful helpfully high informative instruction
instructions make makes nice overall proper properly quality question read reader readers relevant request
satisfactory sense structured style thorough thoroughly tone understand understandable useful user users way
well given prompt organized organised follow follows provide provides providing address addresses information
"""
_VAGUE = frozenset(_VAGUE_TEXT.split())


def is_question(text: str) -> bool:
    """Whether ``text`` has the form of one question that is answered by yes or no."""
    return _ASKS.fullmatch(text.strip()) is not None and text.count("?", 0, -1) == len(_inside(text))


def _inside(text: str) -> list[str]:
    return [mark for quote in _QUOTED.findall(text) for mark in quote if mark == "?"]


def flags(text: str, *, mapped: bool = False) -> tuple[Flag, ...]:
    """Return what makes a requirement doubtful; one that a rule decides is beyond doubt.

    ``non-atomic``: it seems to join two demands, by a conjunction or by several verbs. ``generic``: it says nothing
    that belongs to this instruction; RaR's predefined generic rubric trained far worse than specific ones
    (arXiv 2507.17746).
    """
    if mapped:
        return ()
    bare = _RANGE.sub(" ", _QUOTED.sub(" ", _QUOTES.sub(" ", text)))
    found: list[Flag] = []
    actions = {word for word in _plain(bare) if word in _ACTIONS}
    if _BOTH.search(bare) or (len(actions) > 1 and _LISTED.search(bare)):
        found.append("non-atomic")
    if not any(_literals(text)) and not content(text) - _VAGUE:
        found.append("generic")
    return tuple(found)


def content(text: str) -> frozenset[str]:
    """Return the words of ``text`` that carry its meaning, negations and quotations left out, plurals cut."""
    words = (word for word in _plain(_QUOTED.sub(" ", text)) if word not in _FUNCTION | _NEGATIONS)
    return frozenset(word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in words)


def negated(text: str) -> bool:
    """Whether ``text`` denies: an odd number of negating words."""
    return sum(word in _NEGATIONS for word in _plain(_QUOTED.sub(" ", text))) % 2 == 1


def same(one: str, two: str, overlap: float = 0.8) -> bool:
    """Whether two requirements ask the same: equal numbers, quotations and negation, and nearly the same words.

    ``overlap`` is the least share of common words among all content words of the two.
    """
    return negated(one) == negated(two) and _alike(one, two, overlap)


def opposite(one: str, two: str) -> bool:
    """Whether two requirements are each other's negation, word for word."""
    return negated(one) != negated(two) and _alike(one, two, 1.0)


def _alike(one: str, two: str, overlap: float) -> bool:
    if _literals(one) != _literals(two):
        return False
    left, right = content(one), content(two)
    together = left | right
    return not together or len(left & right) / len(together) >= overlap


def _literals(text: str) -> tuple[list[str], list[str]]:
    quotes = sorted(quote[1:-1].lower() for quote in _QUOTED.findall(text))
    return quotes, sorted(_NUMBER.findall(_QUOTED.sub(" ", text)))


def _plain(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
