"""Upper and lower case."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    RELATIONS,
    Choice,
    Constraint,
    Count,
    Kwargs,
    Needed,
    Step,
    counted,
    decided,
    exclude,
    register,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.text.fillers import fillers, lead
from adhere.rewards.constraints.text.languages import detect, is_english
from adhere.rewards.constraints.text.segmentation import WORD, capital_tokens
from adhere.rewards.constraints.text.views import edit_outside, exempt_spans, prose
from adhere.rewards.verdict import Verdict, failed

_ATTEMPTS = 8

_CASELESS_CODES = """
ar bn fa gu he hi ja kn ko ml mr ne pa ta te th ur zh-cn zh-tw
"""

_CASELESS = frozenset(_CASELESS_CODES.split())


def capital_words(text: str) -> int:
    """Count the words of two letters or more in all capitals; single letters are names of variables."""
    return sum(w.isupper() and sum(map(str.isalpha, w)) > 1 for w in WORD.findall(prose(text)))


class _EnglishCase(Constraint):
    """English prose in one case."""

    step = Step.CASE
    upper: bool

    def _is_cased(self, text: str) -> bool:
        return text.isupper() if self.upper else text.islower()

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        name = "upper" if self.upper else "lower"
        if not self._is_cased(text):
            return failed(f"not all {name} case")
        found = detect(text)
        return decided(found in (None, "en"), f"langdetect says {found or 'nothing, which passes'}")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = prose(text)
        wrong = [w for w in WORD.findall(body) if (w != w.upper() if self.upper else w != w.lower())]
        if wrong:
            return failed(f'"{wrong[0]}" is not {"upper" if self.upper else "lower"} case')
        return decided(*is_english(body))

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        for extra in range(_ATTEMPTS):
            longer = lead(text, fillers(extra)) if extra else text
            done = longer.upper() if self.upper else longer.lower()
            if self.compat(done, {}).passed and self.hardened(done, {}).passed:
                return done
        return None

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        changed = needed.text.upper() if self.upper else needed.text.lower()
        return needed.exact and changed != needed.text


@register
class EnglishCapital(_EnglishCase):
    """English, all in capital letters."""

    id = "change_case:english_capital"
    collection = "mathif"
    upper = True
    phrasings = (
        "Your entire response should be in English, and in all capital letters.",
        "Write everything in English and in upper case.",
        "Use capital letters only, in English.",
        "Answer in English, EVERY WORD IN CAPITALS.",
    )
    compat_rule = "no cased character is lower case, and langdetect (seed 0) says `en` or finds no features"
    hardened_rule = (
        "every word outside formulas, boxes, code and LaTeX commands is upper case, there are such words, and they "
        "are English"
    )

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == "language:response_language":
            return bool(other["language"] != "en")
        if other_id == CapitalWords.id:
            return bool(other["capital_relation"] == "less than")
        return other_id == EnglishLowercase.id


@register
class EnglishLowercase(_EnglishCase):
    """English, all in lower-case letters."""

    id = "change_case:english_lowercase"
    collection = "mathif"
    upper = False
    phrasings = (
        "Your entire response should be in English, and in all lowercase letters. No capital letters are allowed.",
        "Write everything in English and in lower case.",
        "use lower-case letters only, in English.",
        "Answer in English without a single capital letter.",
    )
    compat_rule = "no cased character is upper case, and langdetect (seed 0) says `en` or finds no features"
    hardened_rule = (
        "every word outside formulas, boxes, code and LaTeX commands is lower case, there are such words, and they "
        "are English"
    )

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == "language:response_language":
            return bool(other["language"] != "en")
        return other_id == CapitalWords.id and other["capital_relation"] == "at least"


@register
class CapitalWords(Constraint):
    """At least, or less than, so many words in all capitals."""

    id = "change_case:capital_word_frequency"
    collection = "mathif"
    step = Step.EMPHASISE
    params = (
        Count("capital_frequency", "the number of words in all capitals"),
        Choice("capital_relation", "whether the number is a lower bound or a strict upper bound", RELATIONS),
    )
    phrasings = (
        "In your response, words with all capital letters should appear {amount} times.",
        "Write {amount} words in ALL CAPS.",
        "The response should contain {amount} fully capitalised words.",
        "Use {amount} words that are in capital letters throughout.",
    )
    compat_rule = "the Treebank tokens in all capitals, single letters and LaTeX included, stand in the relation"
    hardened_rule = (
        "words of two letters or more in all capitals, outside formulas, boxes, code and LaTeX commands, stand in the "
        "relation"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"amount": f"{kwargs['capital_relation']} {kwargs['capital_frequency']}"}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(capital_tokens(text), "capital word", kwargs["capital_frequency"], kwargs["capital_relation"])

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return counted(capital_words(text), "capital word", kwargs["capital_frequency"], kwargs["capital_relation"])

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        relation = source.rng.choice(RELATIONS)
        return {"capital_frequency": source.count("capital_frequency"), "capital_relation": relation}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        bound = kwargs["capital_frequency"]
        if kwargs["capital_relation"] == "less than":
            return edit_outside(
                text,
                exempt_spans(text),
                lambda piece: WORD.sub(lambda m: m.group().lower() if m.group().isupper() else m.group(), piece),
            )
        missing = bound - min(capital_words(text), capital_tokens(text))

        def capitalised(match: re.Match[str]) -> str:
            nonlocal missing
            word = match.group()
            if missing <= 0 or word.isupper() or len(word) < 2 or not word.isalpha():
                return word
            missing -= 1
            return word.upper()

        plain = re.compile(r"(?<![\\\w'’-])[A-Za-z]++(?![\w'’-])")
        longer = lead(text, fillers(bound // 4 + 1)) if len(plain.findall(prose(text))) < bound else text
        return edit_outside(longer, exempt_spans(longer), lambda piece: plain.sub(capitalised, piece))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        if kwargs["capital_relation"] == "at least" or not needed.exact:
            return False
        return not (self.compat(needed.text, kwargs).passed and self.hardened(needed.text, kwargs).passed)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == "language:response_language":
            return bool(kwargs["capital_relation"] == "at least" and other["language"] in _CASELESS)
        return other_id == self.id and exclude(kwargs, other, "capital_frequency", "capital_relation")
