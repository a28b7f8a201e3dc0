"""IFTrain's counts of letters."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    RELATIONS,
    Choice,
    Count,
    Kwargs,
    Needed,
    Step,
    Text,
    counted,
    decided,
    exclude,
    holds,
    off_by,
    register,
    relation,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.keywords import LetterFrequency, drop_beyond
from adhere.rewards.constraints.families.shared import NUMBER_WORDS, IFTrain
from adhere.rewards.constraints.text.fillers import FILLERS, fillers, keep_last, lead
from adhere.rewards.constraints.text.views import visible
from adhere.rewards.verdict import Verdict

_LATIN = re.compile(r"[a-zA-Z]")
_LETTERS_PER_WORD = 5
_MOST_FILLERS = 60
_COMMON, _RARE = "acdehilmnorstuw", "jqz"


def official_letters(text: str) -> int:
    """Count ``a`` to ``z`` and ``A`` to ``Z``, LaTeX commands included, as the official checker does."""
    return len(_LATIN.findall(text))


def seen_letters(text: str) -> int:
    """Count the letters of any alphabet that readers see; LaTeX commands are none."""
    return sum(map(str.isalpha, visible(text)))


@register
class LetterCounting(IFTrain):
    """At least, or less than, so many letters."""

    id = "letters:letter_counting"
    step = Step.CUT
    params = (Count("N", "the number of letters"), relation())
    phrasings = (
        "Your answer is {relation} {N} letters long.",
        "Your response should consist of {relation} {N} letters.",
        "Write {relation} {N} letters in total, spaces and signs not counted.",
    )
    compat_rule = "the characters `a` to `z` and `A` to `Z`, LaTeX included, stand in the relation"
    hardened_rule = "letters of any alphabet stand in the relation; LaTeX commands and hidden characters do not count"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(official_letters(text), "letter", kwargs["N"], kwargs["relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(seen_letters(text), "letter", kwargs["N"], kwargs["relation"])

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"N": source.count("num_letters"), "relation": source.rng.choice(RELATIONS)}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        if kwargs["relation"] == "less than":
            return keep_last(
                text, lambda sentence: max(official_letters(sentence), seen_letters(sentence)), kwargs["N"]
            )
        missing, count = kwargs["N"] - min(official_letters(text), seen_letters(text)), 0
        while missing > 0:
            missing -= official_letters(FILLERS[count % len(FILLERS)])
            count += 1
        return lead(text, fillers(count))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return kwargs["relation"] == "less than" and official_letters(needed.text) >= kwargs["N"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return exclude(kwargs, other, "N", "relation")
        if other_id in NUMBER_WORDS and kwargs["relation"] != other["relation"]:
            # Counted at five letters a word: what English prose needs.
            letters = _LETTERS_PER_WORD * other["num_words"]
            return bool(kwargs["N"] <= letters if kwargs["relation"] == "less than" else kwargs["N"] >= letters)
        return False


@register
class LetterCounting2(IFTrain):
    """One letter occurs at least, or less than, so many times."""

    id = "letters:letter_counting2"
    step = Step.CUT
    params = (
        Text("letter", "the letter that is counted", r"[A-Za-z]"),
        Count("let_frequency", "the number of occurrences"),
        Choice("let_relation", "whether the number is a lower bound or a strict upper bound", RELATIONS),
    )
    phrasings = (
        LetterFrequency.phrasings[0],
        'The letter "{letter}" has to occur {let_relation} {let_frequency} times, in either case.',
        'Your answer should contain the character "{letter}" {let_relation} {let_frequency} times.',
    )
    compat_rule = "the letter, in either case and in LaTeX too, stands in the relation"
    hardened_rule = "the letter, in either case, stands in the relation; LaTeX commands do not count"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(text, kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(visible(text), kwargs)

    @staticmethod
    def _verdict(text: str, kwargs: Kwargs) -> Verdict:
        count, bound = text.lower().count(kwargs["letter"].lower()), kwargs["let_frequency"]
        wanted = f"{kwargs['let_relation']} {bound} wanted"
        off = off_by(count, "letter", bound, kwargs["let_relation"])
        return decided(holds(count, bound, kwargs["let_relation"]), f"{count} of the letter, {wanted}", off)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        bound = source.rng.choice(RELATIONS)
        letter = source.rng.choice(_COMMON if bound == "at least" else _RARE)
        return {"letter": letter, "let_frequency": source.count("letter_frequency"), "let_relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        letter = kwargs["letter"].lower()
        if kwargs["let_relation"] == "at least":
            for count in range(1, _MOST_FILLERS):
                longer = lead(text, fillers(count))
                if visible(longer).lower().count(letter) >= kwargs["let_frequency"]:
                    return longer
            return None
        return drop_beyond(text, lambda token: token.lower().count(letter), kwargs["let_frequency"] - 1)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        hits = needed.text.lower().count(kwargs["letter"].lower())
        return kwargs["let_relation"] == "less than" and hits >= kwargs["let_frequency"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        same = other_id == self.id and kwargs["letter"].lower() == other["letter"].lower()
        return same and exclude(kwargs, other, "let_frequency", "let_relation")
