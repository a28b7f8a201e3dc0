"""How many sentences a response has."""

from __future__ import annotations

from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, counted, register
from adhere.rewards.constraints.length import NUMBER_WORDS
from adhere.rewards.constraints.params import RELATIONS, Count, exclude, relation
from adhere.rewards.constraints.punkt import least_sentences, most_sentences, official_sentences
from adhere.rewards.constraints.sentences import distinct_fillers, keep_last, lead

_SHORTEST, _LONGEST = 8, 40
"""Words in a short and in a long sentence, to tell bounds on both that no sensible text meets."""

_ADDING = {
    "detectable_format:number_bullet_lists": "num_bullets",
    "detectable_format:multiple_sections": "num_sections",
    "length_constraints:number_paragraphs": "num_paragraphs",
    "length_constraints:nth_paragraph_first_word": "num_paragraphs",
}


@register
class NumberSentences(Constraint):
    """At least, or less than, so many sentences."""

    id = "length_constraints:number_sentences"
    collection = "ifeval"
    step = Step.CUT
    params = (Count("num_sentences", "the number of sentences"), relation())
    phrasings = (
        "Answer in {relation} {num_sentences} sentences.",
        "Write {relation} {num_sentences} sentences.",
        "Use {relation} {num_sentences} sentences in the whole answer.",
        "The answer should be {relation} {num_sentences} sentences long.",
    )
    compat_rule = "the sentences that Punkt's rules cut stand in the relation"
    hardened_rule = (
        "for at least: sentences of two words or more that end in a mark, repetitions aside; for less than: also "
        "lines of five words or more without a mark; list numbers, abbreviations and formulas end no sentence"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return counted(official_sentences(text), "sentence", kwargs["num_sentences"], kwargs["relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        count = least_sentences(text) if kwargs["relation"] == "at least" else most_sentences(text)
        return counted(count, "sentence", kwargs["num_sentences"], kwargs["relation"])

    def sample(self, source: Sampler) -> dict[str, Any]:
        bound = source.rng.choice(RELATIONS)
        return {"num_sentences": source.count("num_sentences"), "relation": bound}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        bound = kwargs["num_sentences"]
        if kwargs["relation"] == "less than":
            # one sentence stays free for an end phrase
            return keep_last(text, _weight, bound - 1) if bound > 2 else keep_last(text, _weight, bound)
        missing = bound - min(least_sentences(text), official_sentences(text))
        for extra in range(3):
            done = lead(text, distinct_fillers(missing + extra))
            if self.compat(done, kwargs).ok and self.hardened(done, kwargs).ok:
                return done
        return None

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return kwargs["relation"] == "less than" and _weight(needed.text) + 1 > kwargs["num_sentences"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        bound, upper = kwargs["num_sentences"], kwargs["relation"] == "less than"
        if other_id in NUMBER_WORDS and kwargs["relation"] != other["relation"]:
            words = other["num_words"]
            return bool(words > _LONGEST * (bound - 1) if upper else words <= _SHORTEST * (bound + 1))
        if upper and other_id in _ADDING:
            return bool(other[_ADDING[other_id]] > bound)
        return other_id == self.id and exclude(kwargs, other, "num_sentences", "relation")


def _weight(sentence: str) -> int:
    return max(1, official_sentences(sentence), most_sentences(sentence))
