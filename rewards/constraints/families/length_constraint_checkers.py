"""How many words a response has."""

from __future__ import annotations

from typing import Any

from adhere.rewards.constraints.core.constraint import (
    Constraint,
    Count,
    Kwargs,
    Needed,
    Step,
    counted,
    exclude,
    register,
    relation,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.shared import NUMBER_WORDS
from adhere.rewards.constraints.text.fillers import FILLERS, fillers, keep_last, lead
from adhere.rewards.constraints.text.segmentation import word_runs, words
from adhere.rewards.verdict import Verdict


@register
class NumberWords(Constraint):
    """At least, or less than, so many words."""

    id = "length_constraint_checkers:number_words"
    collection = "mathif"
    step = Step.CUT
    params = (Count("num_words", "the number of words", low=2), relation())
    phrasings = (
        "Answer with {relation} {num_words} words.",
        "Your response should have {relation} {num_words} words.",
        "Write {relation} {num_words} words in total.",
        "Your text should be {relation} {num_words} words long.",
    )
    compat_rule = "the runs of word characters, LaTeX included, stand in the relation"
    hardened_rule = "words stand in the relation; LaTeX commands do not count, `don't` is one word"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(word_runs(text), "word", kwargs["num_words"], kwargs["relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(words(text), "word", kwargs["num_words"], kwargs["relation"])

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        bound = source.rng.choice(("at least", "less than"))
        return {"num_words": source.count("num_words"), "relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        if kwargs["relation"] == "less than":
            return keep_last(text, word_runs, kwargs["num_words"])
        missing, count = kwargs["num_words"] - min(words(text), word_runs(text)), 0
        while missing > 0:
            missing -= words(FILLERS[count % len(FILLERS)])
            count += 1
        return lead(text, fillers(count))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return kwargs["relation"] == "less than" and word_runs(needed.text) + 1 >= kwargs["num_words"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id in NUMBER_WORDS and exclude(kwargs, other, "num_words", "relation")
