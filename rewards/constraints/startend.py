"""How a response begins and ends."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.params import Text
from adhere.rewards.constraints.sentences import opens_block
from adhere.rewards.constraints.text import has_content

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


def flattened(text: str) -> str:
    """Return ``text`` with every run of white space as one space, none at the ends."""
    return " ".join(text.split())


@register
class RepeatPrompt(Constraint):
    """The request comes first, word for word, then the answer."""

    id = "combination:repeat_prompt"
    step = Step.REPEAT
    params = (Text("prompt_to_repeat", "the request that has to be repeated"),)
    phrasings = (
        "First repeat the request word for word without change, then give your answer (do not say any "
        "words or "
        "characters before repeating the request; the request you need to repeat does not include this "
        "sentence).",
        "Begin with an exact copy of the problem above, then solve it. This sentence is not part of the problem.",
        "Before you answer, restate the question exactly as given (without this sentence) at the very beginning.",
        "Start your response by quoting the problem statement verbatim, this instruction left out; then continue.",
    )
    compat_rule = "the text starts with the request, case ignored"
    hardened_rule = (
        "the text starts with the request, white space folded and case kept, and goes on with something else"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        ok = text.strip().lower().startswith(kwargs["prompt_to_repeat"].strip().lower())
        return Outcome(ok, "the request is repeated first" if ok else "does not start with the request")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        request, body = flattened(kwargs["prompt_to_repeat"]), flattened(text)
        if not body.startswith(request):
            return Outcome(False, "does not start with the request")
        rest = body[len(request) :]
        if rest[:1].isalnum() and request[-1].isalnum():
            return Outcome(False, "the request runs on into another word")
        if not has_content(rest.replace(request, "")):
            return Outcome(False, "nothing follows the request")
        return Outcome(True, "the request is repeated first")

    def sample(self, source: Sampler) -> dict[str, Any]:
        if source.question is None:
            raise LookupError("question")
        return {"prompt_to_repeat": source.question}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        return f"{kwargs['prompt_to_repeat'].strip()}\n{text.lstrip()}"

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["prompt_to_repeat"], exact=True)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == Quotation.id:
            return True
        return other_id == self.id and flattened(kwargs["prompt_to_repeat"]) != flattened(other["prompt_to_repeat"])


@register
class EndChecker(Constraint):
    """A fixed phrase comes last."""

    id = "startend:end_checker"
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        ok = text.strip().strip('"').lower().endswith(kwargs["end_phrase"].strip().lower())
        return Outcome(ok, "ends with the phrase" if ok else "does not end with the phrase")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        phrase = flattened(kwargs["end_phrase"]).lower()
        body = flattened(text).lower()
        if not body.endswith(phrase):
            body = body.rstrip('"”*_ ')
        if not body.endswith(phrase):
            return Outcome(False, "does not end with the phrase")
        if body.count(phrase) > 1:
            return Outcome(False, f"the phrase occurs {body.count(phrase)} times")
        if not has_content(body[: -len(phrase)]):
            return Outcome(False, "nothing comes before the phrase")
        return Outcome(True, "ends with the phrase")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"end_phrase": source.rng.choice(END_PHRASES)}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        phrase = kwargs["end_phrase"].strip()
        body = re.sub(re.escape(phrase), "", text, flags=re.IGNORECASE).rstrip()
        return f"{body}\n{phrase}"

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["end_phrase"], exact=False)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return needed.exact and flattened(kwargs["end_phrase"]).lower() in flattened(needed.text).lower()

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == self.id and flattened(kwargs["end_phrase"]).lower() != flattened(other["end_phrase"]).lower()


@register
class Quotation(Constraint):
    """One pair of double quotation marks around everything."""

    id = "startend:quotation"
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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        body = text.strip()
        ok = len(body) > 1 and body[0] == body[-1] == '"'
        return Outcome(ok, "wrapped in quotation marks" if ok else "not wrapped in quotation marks")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = text.strip()
        if len(body) < 2 or body[0] != '"' or body[-1] != '"':
            return Outcome(False, "not wrapped in quotation marks")
        inner = body[1:-1]
        if not has_content(inner):
            return Outcome(False, "nothing between the quotation marks")
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
                return Outcome(False, "the quotation closes before the end")
        return Outcome(depth == 0, "a quotation inside is left open" if depth else "wrapped in quotation marks")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        body = text.strip().replace('"', "'")
        return f'"\n{body}"' if opens_block(body) else f'"{body}"'
