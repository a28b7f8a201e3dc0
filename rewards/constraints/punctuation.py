"""Punctuation marks that a response does without."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.params import plural
from adhere.rewards.constraints.text import boxed_spans, edit_outside, math_spans

_COMMA = re.compile(r"\\\\|\\,|[,，､、،﹐]|‚(?!\w)")
_GROUPED = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")


@register
class NoComma(Constraint):
    """No commas."""

    id = "punctuation:no_comma"
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
        "space `\\,` is no comma"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(text.count(","))

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        if text.isascii() and "\\" not in text:
            return self._outcome(text.count(","))
        return self._outcome(sum(not m.startswith("\\") for m in _COMMA.findall(text)))

    @staticmethod
    def _outcome(count: int) -> Outcome:
        return Outcome(count == 0, plural(count, "comma") if count else "no comma")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        text = _GROUPED.sub("", text).replace("\\,", " ")
        if any("," in text[start:end] for start, end in boxed_spans(text)):
            return None
        text = edit_outside(text, math_spans(text), lambda piece: _COMMA.sub(_dropped, piece))
        return _COMMA.sub(lambda m: m.group() if m.group() == "\\\\" else ";", text)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return not (self.compat(needed.text, kwargs).ok and self.hardened(needed.text, kwargs).ok)


def _dropped(match: re.Match[str]) -> str:
    return match.group() if match.group() == "\\\\" else ""
