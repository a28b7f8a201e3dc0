"""Punctuation marks that a response does without."""

from __future__ import annotations

import re

from adhere.rewards.constraints.core.constraint import Constraint, Kwargs, Needed, Step, decided, plural, register
from adhere.rewards.constraints.families.shared import IFTrain
from adhere.rewards.constraints.text.views import boxed_spans, edit_outside, exempt_spans, math_spans
from adhere.rewards.verdict import Verdict

_COMMA = re.compile(r"\\\\|\\,|[,，､、،﹐]|‚(?!\w)")
_GROUPED = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")


@register
class NoComma(Constraint):
    """No commas."""

    id = "punctuation:no_comma"
    collection = "mathif"
    step = Step.REMOVE
    phrasings = (
        "In your entire response, refrain from the use of any commas.",
        "Do not use a single comma.",
        "Write your answer without commas.",
        "No commas are allowed anywhere in the response.",
    )
    compat_rule = "the character `,` does not occur"
    hardened_rule = (
        "no comma occurs, full-width, Arabic and look-alike ones included, in numbers and formulas too; LaTeX's thin "
        "space `\\,` does not count"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(text.count(","))

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        if text.isascii() and "\\" not in text:
            return self._verdict(text.count(","))
        return self._verdict(sum(not m.startswith("\\") for m in _COMMA.findall(text)))

    @staticmethod
    def _verdict(count: int) -> Verdict:
        return decided(count == 0, plural(count, "comma") if count else "no comma")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        text = _GROUPED.sub("", text).replace("\\,", " ")
        if any("," in text[start:end] for start, end in boxed_spans(text)):
            return None
        text = edit_outside(
            text, math_spans(text), lambda piece: _COMMA.sub(lambda m: m.group() if m.group() == "\\\\" else "", piece)
        )
        return _COMMA.sub(lambda m: m.group() if m.group() == "\\\\" else ";", text)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not (self.compat(needed.text, kwargs).passed and self.hardened(needed.text, kwargs).passed)


_DOTS = re.compile(r"[.．。｡․‥…﹒]")
_EXCLAMATIONS = re.compile(r"\\!|[!！﹗‼⁉⁈❗❕︕]")


class _Without(IFTrain):
    """One mark is left out."""

    step = Step.CASE
    mark: str

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(text.count(self.mark))

    def _verdict(self, count: int) -> Verdict:
        return decided(count == 0, f"{plural(count, 'time')} {self.mark}")

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not (self.compat(needed.text, kwargs).passed and self.hardened(needed.text, kwargs).passed)


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

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(sum(not mark.startswith("\\") for mark in _EXCLAMATIONS.findall(text)))

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

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(len(_DOTS.findall(text)))

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        def edit(piece: str) -> str:
            piece = re.sub(r"(?<=\d)\.(?=\d)", " point ", piece)
            piece = re.sub(r"[.．。｡․‥…﹒]+(?=[ \t]+\S)", ";", piece)
            return _DOTS.sub("", piece)

        return edit_outside(text, exempt_spans(text), edit)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == "keywords:keyword_specific_position" and other["n"] > 1
