"""What training draws arguments from: words, and ranges of counts. MathIF's own keywords stay held out."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from adhere.rewards.constraints.core.variety import draw_phrase

_MATHIF = """
above adjacent align answer bar because between case choose condition configuration denote draw equal
equation expression find follow formula function furthermore given identical imply length maximum must
note now number point possible problem question respectively root same see side similar simply since
solution strategy than theorem therefore total valid value when where win yield
"""

MATHIF_KEYWORDS: frozenset[str] = frozenset(_MATHIF.split())
"""All keywords of the 420 MathIF prompts (arXiv 2505.14810); they enter evaluation only."""

_TRAINING = """
approach arrange basic begin bridge calm capture careful circle clarify clever combine compare complete
confirm connect context convert correct curious decide deduce define delicate depend derive detail direct
discover divide effort elegant employ ensure estimate evidence exact examine example explain explore
extra factor familiar final focus gather general gradual guide handle helpful hence idea insight inspect
involve journey justify label logic manage measure method notice observe obtain outline pattern perhaps
picture precise prepare process prove pursue quick rather reason recall reduce refine relate remain
repeat require reveal review rule sample scale select separate shape simple sketch split stable structure
suggest summary support surely target technique thorough together transform unique useful verify whole
wonder
"""

TRAINING_KEYWORDS: tuple[str, ...] = tuple(_TRAINING.split())
"""Common English words, none of which contains or is contained in a MathIF keyword."""

DEFAULT_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "num_keywords": (1, 2),
        "num_forbidden": (1, 2),
        "frequency": (1, 3),
        "num_words": (40, 160),
        "num_bullets": (2, 5),
        "num_highlights": (1, 4),
        "num_sections": (2, 4),
        "capital_frequency": (1, 6),
        "num_copies": (2, 3),
        "num_variants": (2, 3),
        "num_letters": (200, 800),
        "letter_frequency": (2, 10),
        "num_lowercase": (10, 30),
        "sentence_position": (1, 3),
        "word_position": (1, 6),
        "sentences_per_paragraph": (2, 3),
        "words_per_sentence": (4, 8),
        "let_frequency": (3, 12),
        "num_sentences": (3, 10),
        "num_paragraphs": (2, 4),
        "num_placeholders": (1, 4),
        "reasoning_words": (60, 240),
    }
)
"""Inclusive ranges that ``sample`` draws counts from."""


class ArgumentSource(NamedTuple):
    """Where training arguments are drawn from: ``ranges`` holds an inclusive (low, high) for every count.

    ``wide`` says that phrases come out of the grammar, and not from the short lists of the families.
    """

    rng: random.Random
    keywords: Sequence[str]
    ranges: Mapping[str, tuple[int, int]]
    question: str | None
    wide: bool = False

    def count(self, name: str) -> int:
        """Draw a whole number from the range called ``name``, both ends included."""
        return self.rng.randint(*self.ranges[name])

    def phrase(self, symbol: str, usual: Sequence[str]) -> str:
        """Draw a phrase: by the grammar from ``symbol`` where the draw is wide, else one of the ``usual`` ones."""
        return draw_phrase(symbol, self.rng) if self.wide else self.rng.choice(usual)
