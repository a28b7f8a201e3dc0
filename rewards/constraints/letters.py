"""IFTrain's counts of letters."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Kwargs, Needed, Outcome, Sampler, Step, counted, register
from adhere.rewards.constraints.characters import LetterFrequency
from adhere.rewards.constraints.iftrain import IFTrain
from adhere.rewards.constraints.keywords import drop_words
from adhere.rewards.constraints.params import RELATIONS, Choice, Count, Text, exclude, holds, relation
from adhere.rewards.constraints.sentences import FILLERS, fillers, lead, split_sentences
from adhere.rewards.constraints.text import boxed_spans, visible

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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return counted(official_letters(text), "letter", kwargs["N"], kwargs["relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return counted(seen_letters(text), "letter", kwargs["N"], kwargs["relation"])

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"N": source.count("num_letters"), "relation": source.rng.choice(RELATIONS)}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        if kwargs["relation"] == "less than":
            return _shortened(text, kwargs["N"])
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
        if other_id.endswith(":number_words") and kwargs["relation"] != other["relation"]:
            # Counted at five letters a word: what English prose needs.
            letters = _LETTERS_PER_WORD * other["num_words"]
            return bool(kwargs["N"] <= letters if kwargs["relation"] == "less than" else kwargs["N"] >= letters)
        return False


def _shortened(text: str, bound: int) -> str | None:
    """Keep the sentence with the last box, or the last one, and what fits of those before it."""
    found = split_sentences(text)
    boxed = [i for i, sentence in enumerate(found) if boxed_spans(sentence)]
    kept: list[str] = []
    left = bound - 1
    for sentence in reversed(found[: boxed[-1] + 1] if boxed else found):
        left -= max(official_letters(sentence), seen_letters(sentence))
        if left < 0:
            break
        kept.insert(0, sentence)
    if kept:
        return " ".join(kept)
    boxes = boxed_spans(text)
    return text[slice(*boxes[-1])] if boxes else None


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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(text, kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(visible(text), kwargs)

    @staticmethod
    def _outcome(text: str, kwargs: Kwargs) -> Outcome:
        count, bound = text.lower().count(kwargs["letter"].lower()), kwargs["let_frequency"]
        wanted = f"{kwargs['let_relation']} {bound} wanted"
        return Outcome(holds(count, bound, kwargs["let_relation"]), f"{count} of the letter, {wanted}")

    def sample(self, source: Sampler) -> dict[str, Any]:
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
        left = kwargs["let_frequency"] - 1

        def drop(token: str) -> bool:
            nonlocal left
            hits = token.lower().count(letter)
            if hits > left:
                return True
            left -= hits
            return False

        return drop_words(text, drop)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        hits = needed.text.lower().count(kwargs["letter"].lower())
        return kwargs["let_relation"] == "less than" and hits >= kwargs["let_frequency"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        same = other_id == self.id and kwargs["letter"].lower() == other["letter"].lower()
        return same and exclude(kwargs, other, "let_frequency", "let_relation")
