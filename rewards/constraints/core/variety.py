"""The wide pools that constraints are drawn from: words, wordings, and phrases out of a grammar.

The data lies in ``rewards/constraints/data``. ``keywords.txt`` holds words of WordNet 3.0, under the licence that opens
the file; the rest is our own.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

WordClass = Literal["noun", "verb", "adjective", "adverb"]
WordBand = Literal["common", "usual", "rare"]

WORD_CLASSES: tuple[WordClass, ...] = get_args(WordClass)
WORD_BANDS: tuple[WordBand, ...] = get_args(WordBand)
"""How often SemCor has a word: ``common`` 20 times or more, ``usual`` 7 times or more, ``rare`` less."""

_DATA = Path(__file__).parents[1] / "data"
_SYMBOL = re.compile(r"\{(\w+)\}")


@cache
def wide_keywords(
    classes: Collection[WordClass] = WORD_CLASSES, bands: Collection[WordBand] = WORD_BANDS
) -> tuple[str, ...]:
    """Return the words of the wide pool that are of these classes and bands; none contains a keyword of MathIF's."""
    rows = [row.split() for row in (_DATA / "keywords.txt").read_text(encoding="utf-8").splitlines() if row[:1] != "#"]
    return tuple(word for kind, band, *words in rows if kind in classes and band in bands for word in words)


@cache
def further_wordings() -> Mapping[str, tuple[str, ...]]:
    """Return, by constraint id, the wordings that stand beside the phrasings of its class."""
    rows = tomllib.loads((_DATA / "wordings.toml").read_text(encoding="utf-8"))
    return {name: tuple(wordings) for name, wordings in rows.items()}


@cache
def grammar() -> Mapping[str, tuple[str, ...]]:
    """Return the grammar of phrases: for every symbol its alternatives, in which ``{name}`` stands for a symbol."""
    rows = tomllib.loads((_DATA / "phrases.toml").read_text(encoding="utf-8"))
    return {symbol: tuple(alternatives) for symbol, alternatives in rows.items()}


def draw_phrase(symbol: str, rng: random.Random) -> str:
    """Expand ``symbol`` of the grammar, each alternative as likely as the others."""
    return _SYMBOL.sub(lambda match: draw_phrase(match.group(1), rng), rng.choice(grammar()[symbol]))
