"""How often a letter occurs."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.keywords import drop_words
from adhere.rewards.constraints.params import RELATIONS, Choice, Count, Text, exclude, holds, times
from adhere.rewards.constraints.sentences import FILLERS, lead
from adhere.rewards.constraints.text import visible

FREQUENT = "acdeghiklmnorstuw"
RARE = "jkqvwz"
"""Letters that training asks for often enough, and seldom enough: neither list holds a usual variable's name."""

_WORD = re.compile(r"[^\W\d_]++(?:['’-][^\W\d_]++)*")
_RUN = re.compile(r"(\w)\1{2,}")
_MARKS = ".,;:!?\"'()[]*_-"
_ONE_LETTER_WORDS = frozenset("aio")


def least_letters(letter: str, text: str) -> int:
    """Count ``letter`` in words: no lone letters, no runs longer than two, no word repeated at once."""
    count, before = 0, ""
    for word in visible(text).lower().split():
        if letter in word and word.strip(_MARKS) != before.strip(_MARKS):
            kept = (part for part in _WORD.findall(word) if len(set(part)) > 1 or part in _ONE_LETTER_WORDS)
            count += sum(_RUN.sub(r"\1\1", part).count(letter) for part in kept)
        before = word
    return count


@register
class LetterFrequency(Constraint):
    """A letter occurs at least, or less than, so many times."""

    id = "keywords:letter_frequency"
    collection = "ifeval"
    step = Step.ADD
    params = (
        Text("letter", "the one character that is counted, case ignored", r"\S"),
        Count("let_frequency", "the number of occurrences"),
        Choice("let_relation", "whether the number is a lower bound or a strict upper bound", RELATIONS),
    )
    phrasings = (
        "Count your letters: {letter} has to be there {let_relation} {let_frequency} times.",
        "Use the letter {letter} {let_relation} {let_frequency} times in your answer.",
        "The character {letter} has to occur {let_relation} {let_frequency} times in what you write.",
        "Write so that the letter {letter} is used {let_relation} {let_frequency} times.",
    )
    compat_rule = "the character's occurrences in the lower-cased text, LaTeX included, stand in the relation"
    hardened_rule = (
        "for at least: occurrences in words stand in the relation, without lone letters, letters repeated more than "
        "twice, a word repeated at once, and LaTeX commands; for less than: all visible occurrences do"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(text.lower().count(kwargs["letter"].lower()), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        letter = kwargs["letter"].lower()
        if kwargs["let_relation"] == "at least" and letter.isalpha():
            return self._outcome(least_letters(letter, text), kwargs)
        return self._outcome(visible(text).lower().count(letter), kwargs)

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        bound, relation = kwargs["let_frequency"], kwargs["let_relation"]
        return Outcome(holds(count, bound, relation), f'"{kwargs["letter"]}" {count}x, {times(bound, relation)} wanted')

    def sample(self, source: Sampler) -> dict[str, Any]:
        relation = source.rng.choice(RELATIONS)
        letter = source.rng.choice(FREQUENT if relation == "at least" else RARE)
        return {"letter": letter, "let_frequency": source.count("let_frequency"), "let_relation": relation}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        letter, bound = kwargs["letter"].lower(), kwargs["let_frequency"]
        if kwargs["let_relation"] == "less than":
            return _thinned(text, letter, bound - 1)
        richest = sorted(FILLERS, key=lambda sentence: -sentence.lower().count(letter))
        missing = bound - min(least_letters(letter, text), text.lower().count(letter))
        if letter not in richest[0].lower() or missing > 100 * len(FILLERS):
            return None
        added: list[str] = []
        while missing > 0:
            added.append(richest[len(added) % 4 if letter in richest[3].lower() else 0])
            missing -= added[-1].lower().count(letter)
        return lead(text, added)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        if kwargs["let_relation"] == "at least":
            return False
        return needed.text.lower().count(kwargs["letter"].lower()) >= kwargs["let_frequency"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        same = other_id == self.id and kwargs["letter"].lower() == other["letter"].lower()
        return same and exclude(kwargs, other, "let_frequency", "let_relation")


def _thinned(text: str, letter: str, left: int) -> str:
    """Drop words with ``letter`` outside formulas and boxes once ``left`` occurrences are used up."""
    left -= text.lower().count(letter) - _droppable(text, letter)

    def drop(word: str) -> bool:
        nonlocal left
        hits = word.lower().count(letter)
        if hits > max(left, 0):
            return True
        left -= hits
        return False

    return drop_words(text, drop)


def _droppable(text: str, letter: str) -> int:
    """Count the occurrences of ``letter`` that ``drop_words`` can reach."""
    return text.lower().count(letter) - drop_words(text, lambda word: letter in word.lower()).lower().count(letter)
