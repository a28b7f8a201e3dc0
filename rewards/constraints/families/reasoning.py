"""Constraints on the reasoning instead of the answer: the six of ReasonIF (arXiv 2510.15211).

Each one is decided on the text of the reasoning block by the checker of its counterpart for answers. ReasonIF's own
code names the language with fastText where we use langdetect, and asks for upper bounds on words only.
"""

from __future__ import annotations

from typing import Any, ClassVar

from adhere.rewards.constraints.core.constraint import CONSTRAINTS, Constraint, Count, Kwargs, Mode, Needed, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.change_case import EnglishCapital
from adhere.rewards.constraints.families.detectable_format import JsonFormat
from adhere.rewards.constraints.families.language import ResponseLanguage
from adhere.rewards.constraints.families.length_constraint_checkers import NumberWords
from adhere.rewards.constraints.families.punctuation import NoComma
from adhere.rewards.constraints.families.startend import EndChecker
from adhere.rewards.verdict import Verdict

DISCLAIMERS: tuple[str, ...] = (
    "These thoughts come from a language model.",
    "A machine did this thinking.",
    "This draft was made by a model and may have faults.",
)
"""Phrases that training asks the reasoning to end with."""


class _Reasoning(Constraint):
    """A constraint on the reasoning that a constraint on answers decides."""

    collection = "reasonif"
    scope = "reasoning"
    twin: ClassVar[type[Constraint]]

    def _twin(self) -> Constraint:
        return CONSTRAINTS[self.twin.id]

    def _given(self, kwargs: Kwargs) -> Kwargs:
        return kwargs

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._twin().compat(text, self._given(kwargs))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._twin().hardened(text, self._given(kwargs))

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return self._twin().costly(self._given(kwargs), mode)

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return self._twin().sample(source)

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return self._twin().rewrite(text, self._given(kwargs))

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return self._twin().fields(kwargs)

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return self._twin().needs(self._given(kwargs))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return self._twin().rules_out(self._given(kwargs), needed)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        constraint = CONSTRAINTS[other_id]
        if not isinstance(constraint, _Reasoning):
            return False
        return self._twin().clashes(self._given(kwargs), constraint.twin.id, constraint._given(other))


@register
class ReasoningLanguage(_Reasoning):
    """The reasoning is in one language."""

    id = "reasoning:language"
    twin = ResponseLanguage
    step = ResponseLanguage.step
    rewritable = False
    params = ResponseLanguage.params
    phrasings = (
        "When reasoning, think only in {name}; no other language is allowed there.",
        "Do all of your thinking in {name}.",
        "Your reasoning, before the answer, has to be written in {name} only.",
    )
    compat_rule = "langdetect (seed 0) names the language of the reasoning, or finds no features at all"
    hardened_rule = "as `language:response_language`, on the reasoning"


@register
class ReasoningWords(_Reasoning):
    """The reasoning has less than so many words."""

    id = "reasoning:number_words"
    twin = NumberWords
    step = NumberWords.step
    params = (Count("num_words", "the strict upper bound on words", low=2),)
    phrasings = (
        "When reasoning, use less than {num_words} words.",
        "Keep your thinking below {num_words} words.",
        "Reason in fewer than {num_words} words before you answer.",
    )
    compat_rule = "the runs of word characters in the reasoning number less than N"
    hardened_rule = "as `length_constraint_checkers:number_words` with `less than`, on the reasoning"

    def _given(self, kwargs: Kwargs) -> Kwargs:
        return {**kwargs, "relation": "less than"}

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"num_words": source.count("reasoning_words")}


@register
class ReasoningDisclaimer(_Reasoning):
    """The reasoning ends with a fixed phrase, a disclaimer."""

    id = "reasoning:end_checker"
    twin = EndChecker
    step = EndChecker.step
    params = EndChecker.params
    phrasings = (
        'Before you answer, end your reasoning on "{end_phrase}" and reason no further.',
        'Let your thinking end with the disclaimer "{end_phrase}".',
        'The last words of your reasoning, before the answer, must be "{end_phrase}".',
    )
    compat_rule = "the reasoning, quotation marks at its ends removed, ends with the phrase, case ignored"
    hardened_rule = "as `startend:end_checker`, on the reasoning"

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"end_phrase": source.phrase("disclaimer", DISCLAIMERS)}


@register
class ReasoningJson(_Reasoning):
    """All of the reasoning is JSON."""

    id = "reasoning:json_format"
    twin = JsonFormat
    step = JsonFormat.step
    phrasings = (
        "Think in JSON, from the first sign to the last; a code fence is allowed.",
        "Write your thinking as one JSON object; a code fence around it is fine.",
        "Your reasoning, before the answer, has to be valid JSON.",
    )
    compat_rule = "the reasoning, a code fence taken off, is what Python's `json` reads"
    hardened_rule = "as `detectable_format:json_format`, on the reasoning"


@register
class ReasoningCapital(_Reasoning):
    """The reasoning is English, all in capital letters."""

    id = "reasoning:english_capital"
    twin = EnglishCapital
    step = EnglishCapital.step
    phrasings = (
        "When reasoning, write in English and in all capital letters.",
        "Do your thinking in English, IN CAPITALS ONLY.",
        "Your reasoning, before the answer, must be English in upper case throughout.",
    )
    compat_rule = "no cased character of the reasoning is lower case, and langdetect (seed 0) says `en` or nothing"
    hardened_rule = "as `change_case:english_capital`, on the reasoning"


@register
class ReasoningNoComma(_Reasoning):
    """No commas in the reasoning."""

    id = "reasoning:no_comma"
    twin = NoComma
    step = NoComma.step
    phrasings = (
        "While you think, write no comma.",
        "Do not use a single comma in your thinking.",
        "Your reasoning, before the answer, must be free of commas.",
    )
    compat_rule = "the character `,` does not occur in the reasoning"
    hardened_rule = "as `punctuation:no_comma`, on the reasoning"
