"""How many words a response has."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, counted, register
from adhere.rewards.constraints.params import Count, exclude, relation
from adhere.rewards.constraints.sentences import FILLERS, fillers, keep_last, lead
from adhere.rewards.constraints.text import without_commands

_WORD = re.compile(r"\w++(?:['’]\w++)*")
_RUN = re.compile(r"\w+")
_CLASSES = bytes(ord("w" if chr(i).isalnum() or i == ord("_") else "'" if i == ord("'") else " ") for i in range(256))
"""For each ASCII character ``w`` (of a word), an apostrophe or a space: counting two signs is faster than matching."""


NUMBER_WORDS = ("length_constraint_checkers:number_words", "length_constraints:number_words")
"""MathIF's and IFEval's id of the same constraint."""


def official_words(text: str) -> int:
    """Count maximal runs of word characters, as the official checkers do."""
    if not text.isascii():
        return len(_RUN.findall(text))
    classes = text.encode().translate(_CLASSES)
    return classes.count(b" w") + classes.count(b"'w") + classes.startswith(b"w")


def words(text: str) -> int:
    """Count words: LaTeX commands are none, and an apostrophe does not cut one in two."""
    seen = without_commands(text)
    if "_" in seen or not seen.isascii():
        return sum(bool(word.strip("_")) for word in _WORD.findall(seen))
    classes = b" " + seen.encode().translate(_CLASSES)
    return classes.count(b" w") + classes.count(b" 'w") + classes.count(b"''w")


@register
class NumberWords(Constraint):
    """At least, or less than, so many words."""

    id = "length_constraint_checkers:number_words"
    step = Step.CUT
    params = (Count("num_words", "the number of words", low=2), relation())
    phrasings = (
        "Answer with {relation} {num_words} words.",
        "Your response should have {relation} {num_words} words.",
        "Write {relation} {num_words} words in total.",
        "Your text should be {relation} {num_words} words long.",
    )
    compat_rule = "the runs of word characters, LaTeX included, stand in the relation"
    hardened_rule = "words stand in the relation; LaTeX commands are no words, `don't` is one"

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return counted(official_words(text), "word", kwargs["num_words"], kwargs["relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return counted(words(text), "word", kwargs["num_words"], kwargs["relation"])

    def sample(self, source: Sampler) -> dict[str, Any]:
        bound = source.rng.choice(("at least", "less than"))
        return {"num_words": source.count("num_words"), "relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        if kwargs["relation"] == "less than":
            return keep_last(text, official_words, kwargs["num_words"])
        missing, count = kwargs["num_words"] - min(words(text), official_words(text)), 0
        while missing > 0:
            missing -= words(FILLERS[count % len(FILLERS)])
            count += 1
        return lead(text, fillers(count))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return kwargs["relation"] == "less than" and official_words(needed.text) + 1 >= kwargs["num_words"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id in NUMBER_WORDS and exclude(kwargs, other, "num_words", "relation")


@register
class NumberWordsIFEval(NumberWords):
    """At least, or less than, so many words: the same constraint under the id that IFEval gives it."""

    id = "length_constraints:number_words"
    collection = "ifeval"
