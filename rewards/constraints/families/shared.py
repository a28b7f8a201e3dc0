"""What constraints of several families share."""

from __future__ import annotations

from typing import ClassVar

from adhere.rewards.constraints.core.constraint import Constraint, Kwargs

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

    collection = "iftrain"


class WholeResponse(IFTrain):
    """A constraint that shapes every sentence or word, so that only what leaves something out goes with it."""

    allows: ClassVar[frozenset[str]] = HARMLESS

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return dict(kwargs) != dict(other)
        return other_id not in self.allows


NUMBER_WORDS = ("length_constraint_checkers:number_words", "length_constraints:number_words")
"""MathIF's and IFEval's id of the same constraint."""
