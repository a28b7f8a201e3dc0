"""Counting sentences offline: the way NLTK's Punkt does, and a stricter way that sees lists, formulas and scripts.

IFEval counts with NLTK's trained English Punkt model (Kiss and Strunk 2006), which has to be downloaded. The rules of
the algorithm are followed here; the model's tables of abbreviations and of words that start sentences are replaced by
short ones of our own, so a verdict can differ where a rare abbreviation meets a capital letter.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from adhere.rewards.constraints.languages import ENGLISH_WORDS
from adhere.rewards.constraints.text import MASK, exempt_spans, has_content, masked, without_commands

_MARKED = re.compile(r"[.?!]\S*")
_NEXT = re.compile(r"\s+(\S+)")
_NON_SPACE = re.compile(r"\S")
_CLOSING = frozenset("\"')]}")
_INSIDE = frozenset(")\";}]*:@'({[!?")
_SPLIT = re.compile(r"[)\";}\]*:@'({\[!?,]|-{2,}|\.{2,}")
_CLOSERS = re.compile(r"[\"')\]}]+(?:\s+|(?=--)|$)")

_ABBREVIATIONS = """
mr mrs ms dr prof gen sen rep gov lt col sgt capt jr sr st inc corp co ltd bros vs jan feb aug sept oct nov dec
u.s u.k u.n d.c a.m p.m ph.d e.g i.e
"""
ABBREVIATIONS: frozenset[str] = frozenset(_ABBREVIATIONS.split())
_LONGEST = 1 + max(map(len, ABBREVIATIONS))

_STARTERS = """
the a an in on at but and he she it they we you i this that these those there here however if when while although
though so also for as after before since then now what how why who his her its their our my no not all some let
"""
STARTERS: frozenset[str] = frozenset(_STARTERS.split()) | ENGLISH_WORDS


def official_sentences(text: str) -> int:
    """Count sentences as Punkt does, in linear time.

    In each run of characters without white space, the last ``.``, ``?`` or ``!`` that closing punctuation or a further
    run follows may end a sentence; a word between two breaks is not needed, so ``1.`` before a capital is a sentence.
    """
    text = text.strip()
    starts, ends = [0], []
    for tail in _MARKED.finditer(text):
        at, end = tail.span()
        if end - at > 1 or not _ends_plainly(text, at):
            after = _NEXT.match(text, end)
            at = _candidate(text, at, end, after is not None)
            if at < 0 or not _breaks(text[_run_start(text, at) : at + 1], text[at + 1 : end], after):
                continue
        ends.append(at + 1)
        starts.append(_NON_SPACE.search(text, at + 1).start())  # type: ignore[union-attr]
    if any(text[start] in _CLOSING for start in starts[1:]):
        return _realigned(text, starts, [*ends, len(text)])
    return len(starts)


def _ends_plainly(text: str, at: int) -> bool:
    """Whether the lone mark at ``at`` surely ends a sentence: ``?``, ``!``, or a full stop after an unknown word."""
    if at + 1 == len(text):
        return False
    if text[at] != ".":
        return True
    if not text[at - 1 : at].isalpha():
        return False
    word = text[max(0, at - _LONGEST) : at].split()[-1]
    return len(word) > 1 and word.isalpha() and word.lower() not in ABBREVIATIONS


def _run_start(text: str, at: int) -> int:
    while at > 0 and not text[at - 1].isspace():
        at -= 1
    return at


def _candidate(text: str, start: int, end: int, followed: bool) -> int:
    """Return where the last mark between ``start`` and ``end`` stands that may end a sentence, or -1."""
    for at in range(end - 1, start - 1, -1):
        if text[at] in ".?!" and (followed if at == end - 1 else text[at + 1] in _INSIDE):
            return at
    return -1


def _breaks(head: str, rest: str, after: re.Match[str] | None) -> bool:
    if head[-1] in "?!":
        return True
    following = rest or (after.group(1) if after else "")
    pieces = _SPLIT.split(head)
    if head.endswith(".."):
        return not rest and following[:1].isupper()
    word = pieces[-1][:-1]
    known = word.lower() in ABBREVIATIONS or word.lower().rpartition("-")[2] in ABBREVIATIONS
    if known:
        return following[:1].isupper() and _bare(following) in STARTERS
    if len(word) == 1 and word.isupper():
        return not following[:1].isalpha() or (following[:1].isupper() and _bare(following) in STARTERS)
    if word and not word.strip("-.,0123456789"):
        return not following[:1].islower()
    return True


def _bare(token: str) -> str:
    return re.split(r"['’]", token.strip("\"'()[]{}*,.:;!?").lower())[0]


def _realigned(text: str, starts: list[int], ends: list[int]) -> int:
    """Count the pieces after closing quotes and brackets have moved to the sentence before them."""
    count = moved = 0
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        begin = start + moved
        closers = _CLOSERS.match(text, starts[i + 1]) if i + 1 < len(starts) else None
        # a match may not reach into the sentence after the next one
        taken = closers is not None and closers.end() <= ends[i + 1]
        count += begin < end or taken
        moved = closers.end() - starts[i + 1] if closers is not None and taken else 0
    return count


class Sentence(NamedTuple):
    """A piece of prose; ``ended`` says that a full stop, a question mark or an exclamation mark closes it."""

    text: str
    ended: bool


_LIST_MARK = re.compile(r"\s*(?:[#>*+•-]+\s+|\(?(?:\d{1,3}|[A-Za-z])[.)]\s+)*")
_MARK = re.compile(r"[.!?…]+[\"'”’»)\]}*_`]*(?=\s|$)|[。！？।॥]+")
_WORD = re.compile(r"[^\W_]++(?:[-'’][^\W_]++)*|" + MASK)
_SHORT = frozenset({"etc", "cf", "viz", "approx", "fig", "eq", "no", "vol", "pp", "ca", "al", "resp"}) | ABBREVIATIONS
_MIN_LINE = 5


def sentences(text: str) -> list[Sentence]:
    """Cut prose into sentences; list marks, abbreviations, initials, decimals, formulas and code end none."""
    found = []
    for line in without_commands(masked(text, exempt_spans(text))).split("\n"):
        at = _LIST_MARK.match(line).end()  # type: ignore[union-attr]
        for mark in _MARK.finditer(line, at):
            if mark.group()[0] == "." and _goes_on(line, at, mark):
                continue
            found.append(Sentence(line[at : mark.end()].strip(), True))
            at = mark.end()
        found.append(Sentence(line[at:].strip(), False))
    return [sentence for sentence in found if has_content(sentence.text)]


def _goes_on(line: str, start: int, mark: re.Match[str]) -> bool:
    """Whether the full stop belongs to an abbreviation or an initial, and the sentence goes on."""
    following = line[mark.end() : mark.end() + 40].split()[:1]
    if not following:
        return False
    word = line[max(start, mark.start() - 40) : mark.start()].rpartition(" ")[2].lstrip("(\"'“‘[*_")
    if word.lower() in _SHORT:
        return following[0][:1].islower() or word.lower() in ABBREVIATIONS
    return len(word) == 1 and word.isupper() and following[0][:1].isupper()


def least_sentences(text: str) -> int:
    """Count what nobody doubts: closed by a mark, two words or more (four letters without spaces), no repetitions."""
    seen = set()
    for sentence in sentences(text):
        words = tuple(word.casefold() for word in _WORD.findall(sentence.text))
        if sentence.ended and (len(words) > 1 or (words and not words[0].isascii() and len(words[0]) > 3)):
            seen.add(words)
    return len(seen)


def most_sentences(text: str) -> int:
    """Count what may pass for a sentence: also a line of five words or more that no mark closes."""
    found = sentences(text)
    return sum(sentence.ended or len(_WORD.findall(sentence.text)) >= _MIN_LINE for sentence in found)
