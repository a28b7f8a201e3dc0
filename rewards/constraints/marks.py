"""IFTrain's punctuation marks that a response does without."""

from __future__ import annotations

import re

from adhere.rewards.constraints.base import Kwargs, Needed, Outcome, Step, register
from adhere.rewards.constraints.iftrain import IFTrain
from adhere.rewards.constraints.params import plural
from adhere.rewards.constraints.text import edit_outside, exempt_spans

_DOTS = re.compile(r"[.．。｡․‥…﹒]")
_EXCLAMATIONS = re.compile(r"\\!|[!！﹗‼⁉⁈❗❕︕]")


class _Without(IFTrain):
    """One mark is left out."""

    step = Step.CASE
    mark: str

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(text.count(self.mark))

    def _outcome(self, count: int) -> Outcome:
        return Outcome(count == 0, f"{plural(count, 'time')} {self.mark}")

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not (self.compat(needed.text, kwargs).ok and self.hardened(needed.text, kwargs).ok)


@register
class PunctuationExclamation(_Without):
    """No exclamation marks."""

    id = "punctuation:punctuation_exclamation"
    mark = "!"
    phrasings = (
        "Your whole response has to do without the sign !",
        "Do not write a single exclamation mark.",
        "Exclamation marks are not allowed anywhere in your answer.",
    )
    compat_rule = "the character `!` does not occur"
    hardened_rule = "no exclamation mark occurs, full-width ones and factorials included; LaTeX's `\\!` is none"

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(sum(not mark.startswith("\\") for mark in _EXCLAMATIONS.findall(text)))

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        text = text.replace("\\!", "")
        return edit_outside(text, exempt_spans(text), lambda piece: re.sub(r"[!！﹗‼⁉⁈❗❕︕]+", ".", piece))


@register
class PunctuationDot(_Without):
    """No dots."""

    id = "punctuation:punctuation_dot"
    mark = "."
    phrasings = (
        "Your whole response has to do without the sign .",
        "Write without a single dot: no full stops, no decimal points.",
        "The character . must not occur anywhere in your answer.",
    )
    compat_rule = "the character `.` does not occur"
    hardened_rule = "no dot occurs, ellipses and full-width full stops included, in numbers and formulas too"

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(len(_DOTS.findall(text)))

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        def edit(piece: str) -> str:
            piece = re.sub(r"(?<=\d)\.(?=\d)", " point ", piece)
            piece = re.sub(r"[.．。｡․‥…﹒]+(?=[ \t]+\S)", ";", piece)
            return _DOTS.sub("", piece)

        return edit_outside(text, exempt_spans(text), edit)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == "keywords:keyword_specific_position" and other["n"] > 1
