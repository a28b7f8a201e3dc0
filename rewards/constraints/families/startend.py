"""How a response begins and ends."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import Constraint, Kwargs, Needed, Step, Text, decided, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.text.fillers import flat, opens_block
from adhere.rewards.constraints.text.views import has_content
from adhere.rewards.verdict import Verdict, failed, passed

END_PHRASES: tuple[str, ...] = (
    "That is all for today.",
    "Please tell me what you think of it.",
    "Hope this was clear!",
    "Would you like one more example?",
    "Let me know if anything is missing.",
    "This completes the work.",
)
"""Phrases that training asks for; MathIF asks for two others."""

_QUOTE = re.compile(r'\\\\|\\"|"')


@register
class EndChecker(Constraint):
    """A fixed phrase comes last."""

    id = "startend:end_checker"
    collection = "mathif"
    step = Step.CLOSE
    params = (Text("end_phrase", "the phrase that ends the response"),)
    phrasings = (
        'Finish your response with this exact phrase "{end_phrase}". No other words should follow this phrase.',
        'The last words of your response must be "{end_phrase}".',
        'End with "{end_phrase}" and write nothing after it.',
        'Close your answer with the phrase "{end_phrase}".',
    )
    compat_rule = "the text, quotation marks at its ends removed, ends with the phrase, case ignored"
    hardened_rule = (
        "the text, quotation marks and emphasis at its end removed, ends with the phrase, case ignored; the phrase "
        "occurs once, and something comes before it"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        ok = text.strip().strip('"').lower().endswith(kwargs["end_phrase"].strip().lower())
        return decided(ok, "ends with the phrase" if ok else "does not end with the phrase")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        phrase = flat(kwargs["end_phrase"]).lower()
        body = flat(text).lower()
        if not body.endswith(phrase):
            body = body.rstrip('"”*_ ')
        if not body.endswith(phrase):
            return failed("does not end with the phrase")
        if body.count(phrase) > 1:
            return failed(f"the phrase occurs {body.count(phrase)} times")
        if not has_content(body[: -len(phrase)]):
            return failed("nothing comes before the phrase")
        return passed("ends with the phrase")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"end_phrase": source.phrase("end", END_PHRASES)}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        phrase = kwargs["end_phrase"].strip()
        body = re.sub(re.escape(phrase), "", text, flags=re.IGNORECASE).rstrip()
        return f"{body}\n{phrase}"

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["end_phrase"], exact=False)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return needed.exact and flat(kwargs["end_phrase"]).lower() in flat(needed.text).lower()

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == self.id and flat(kwargs["end_phrase"]).lower() != flat(other["end_phrase"]).lower()


@register
class Quotation(Constraint):
    """One pair of double quotation marks around everything."""

    id = "startend:quotation"
    collection = "mathif"
    step = Step.WRAP
    phrasings = (
        "Wrap your entire response with double quotation marks.",
        'Put the whole response between one pair of double quotation marks (").',
        'The first and the last character of your response must be a double quote (").',
        "Enclose everything you write in double quotes.",
    )
    compat_rule = 'the text has two characters or more, and `"` comes first and last'
    hardened_rule = (
        '`"` comes first and last with content between, and the first one closes only at the end: quotations inside '
        "have to be nested or escaped"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        body = text.strip()
        ok = len(body) > 1 and body[0] == body[-1] == '"'
        return decided(ok, "wrapped in quotation marks" if ok else "not wrapped in quotation marks")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = text.strip()
        if len(body) < 2 or body[0] != '"' or body[-1] != '"':
            return failed("not wrapped in quotation marks")
        inner = body[1:-1]
        if not has_content(inner):
            return failed("nothing between the quotation marks")
        depth = 0
        for mark in _QUOTE.finditer(inner):
            if mark.group() == '"':
                before, after = (
                    inner[max(mark.start() - 1, 0) : mark.start()],
                    inner[mark.end() : mark.end() + 1],
                )
                opens = not before.strip("([{* \t\n") and bool(after.strip())
                depth += 1 if opens else -1
            if depth < 0:
                return failed("the quotation closes before the end")
        return decided(depth == 0, "a quotation inside is left open" if depth else "wrapped in quotation marks")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        body = text.strip().replace('"', "'")
        return f'"\n{body}"' if opens_block(body) else f'"{body}"'
