"""Plain sentences that transforms add, and cutting a response into sentences without tearing its formulas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from rewards.constraints.text import exempt_spans

FILLERS: tuple[str, ...] = (
    "Let us go through the task in small steps.",
    "We write down what is known at the start.",
    "We look at each part one after another.",
    "Nothing in the text is left out.",
    "We keep the units in mind as we go.",
    "Every line below uses only the line before it.",
    "We do the work by hand and check it as we go.",
    "It is best to move slowly here.",
    "We also ask if the result makes sense.",
    "That way no small slip stays hidden.",
    "The next step uses the one we just made.",
    "This is all that the task tells us.",
)
"""Free of commas, quotation marks, emphasis, all-capital words and every keyword of the pools."""

_BREAK = re.compile(r"(?<=[.!?])[ \t]+(?=[^\s\d])|(?<!\s)\s*\n\s*")
_BLOCK = re.compile(r"\s*(?:[*+#>|-]|SECTION\b|Section\b)")


def opens_block(text: str) -> bool:
    """Whether ``text`` opens with a list, a heading or another block whose first line has to stay a line."""
    return _BLOCK.match(text) is not None


def lead(text: str, sentences: Sequence[str]) -> str:
    """Put ``sentences`` before ``text``: on its first line, or above it where it opens with a list or a heading."""
    gap = "\n" if opens_block(text) else " "
    return " ".join(sentences) + gap + text.lstrip()


def fillers(count: int, start: int = 0) -> list[str]:
    """Return ``count`` sentences of ``FILLERS``, in turn from number ``start``."""
    return [FILLERS[i % len(FILLERS)] for i in range(start, start + count)]


def split_sentences(text: str) -> list[str]:
    """Cut ``text`` at the ends of sentences and lines, never inside a formula, a box or code."""
    spans = exempt_spans(text)
    pieces, at, k = [], 0, 0
    for match in _BREAK.finditer(text):
        while k < len(spans) and spans[k][1] <= match.start():
            k += 1
        if k < len(spans) and spans[k][0] < match.end():
            continue
        pieces.append(text[at : match.start()])
        at = match.end()
    pieces.append(text[at:])
    return [piece.strip() for piece in pieces if piece.strip()]


def flat(text: str) -> str:
    """Join all lines of ``text`` into one."""
    return " ".join(text.split())


def in_groups(pieces: Sequence[str], count: int) -> list[list[str]]:
    """Cut ``pieces`` into ``count`` consecutive groups of nearly equal size, none empty if there are enough pieces."""
    bounds = [i * len(pieces) // count for i in range(count + 1)]
    return [list(pieces[a:b]) for a, b in pairwise(bounds)]
