"""Plain sentences that transforms add, and putting them before a text, keeping its last ones, grouping its lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice, pairwise, permutations

from adhere.rewards.constraints.text.segmentation import split_sentences
from adhere.rewards.constraints.text.views import boxed_spans

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

_BLOCK = re.compile(r"\s*(?:[*+#>|-]|<<|SECTION\b|Section\b)")


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


def distinct_fillers(count: int) -> list[str]:
    """Return up to 144 sentences that all differ: those of ``FILLERS``, then two of them joined by ``and``.

    None for a count below 1.
    """
    joined = (f"{a[:-1]} and {b[0].lower()}{b[1:]}" for a, b in permutations(FILLERS, 2))
    return [*FILLERS[: max(0, count)], *islice(joined, max(0, count - len(FILLERS)))]


def keep_last(text: str, measure: Callable[[str], int], bound: int) -> str | None:
    """Keep the sentence with the last box (the last one if there is no box) and those before it below ``bound``.

    ``measure`` says what a sentence counts. Where not even one fits, only the box is kept, if there is one.
    """
    sentences = split_sentences(text)
    boxed = [i for i, sentence in enumerate(sentences) if boxed_spans(sentence)]
    kept: list[str] = []
    total = 0
    for sentence in reversed(sentences[: boxed[-1] + 1] if boxed else sentences):
        total += measure(sentence)
        if total >= bound:
            break
        kept.insert(0, sentence)
    if kept:
        return " ".join(kept)
    boxes = boxed_spans(text)
    return text[slice(*boxes[-1])] if boxes else None


def flat(text: str) -> str:
    """Join all lines of ``text`` into one."""
    return " ".join(text.split())


def in_groups(pieces: Sequence[str], count: int) -> list[list[str]]:
    """Cut ``pieces`` into ``count`` consecutive groups of nearly equal size, none empty if there are enough pieces."""
    bounds = [i * len(pieces) // count for i in range(count + 1)]
    return [list(pieces[a:b]) for a, b in pairwise(bounds)]
