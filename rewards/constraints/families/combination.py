"""The request repeated before the answer, and two answers in one response."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from adhere.rewards.constraints.core.constraint import Constraint, Kwargs, Needed, Step, Text, decided, plural, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.startend import Quotation
from adhere.rewards.constraints.text.fillers import distinct_fillers, flat
from adhere.rewards.constraints.text.segmentation import WORD
from adhere.rewards.constraints.text.views import boxed_spans, has_content, masked, math_spans
from adhere.rewards.verdict import Verdict, failed, passed


@register
class RepeatPrompt(Constraint):
    """The request comes first, word for word, then the answer."""

    id = "combination:repeat_prompt"
    collection = "mathif"
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        ok = text.strip().lower().startswith(kwargs["prompt_to_repeat"].strip().lower())
        return decided(ok, "the request is repeated first" if ok else "does not start with the request")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        request, body = flat(kwargs["prompt_to_repeat"]), flat(text)
        if not body.startswith(request):
            return failed("does not start with the request")
        rest = body[len(request) :]
        if rest[:1].isalnum() and request[-1].isalnum():
            return failed("the request runs on into another word")
        if not has_content(rest.replace(request, "")):
            return failed("nothing follows the request")
        return passed("the request is repeated first")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
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
        return other_id == self.id and flat(kwargs["prompt_to_repeat"]) != flat(other["prompt_to_repeat"])


_SEPARATOR = re.compile(r"^[ \t]*\*{6}[ \t]*$", re.MULTILINE)
_ALIKE = 0.9


@register
class TwoResponses(Constraint):
    """Two different answers with ``******`` between them."""

    id = "combination:two_responses"
    collection = "ifeval"
    step = Step.TWICE
    phrasings = (
        "Respond two times, not the same way, with six asterisks ****** as the border.",
        "Answer twice in different words; put a line of six asterisks (******) between the two answers.",
        "Provide two distinct responses with ****** on its own line between them, and nothing else of that kind.",
        "Write one response, then ****** and then another response that differs from it.",
    )
    compat_rule = "`******` cuts the text into two pieces that are not blank and not equal, blank ends aside"
    hardened_rule = (
        "one line that is `******` and nothing else cuts the text into two pieces with content, which share fewer "
        "than nine in ten of their words"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        pieces = [piece.strip() for piece in text.split("******")]
        filled = [piece for piece in pieces if piece]
        if not all(pieces[1:-1]) or len(filled) != 2:
            return failed(f"{plural(len(filled), 'response')} between separators, 2 wanted")
        return decided(filled[0] != filled[1], "two responses" if filled[0] != filled[1] else "twice the same response")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        pieces = _SEPARATOR.split(masked(text, math_spans(text)) if "`" in text else text)
        if len(pieces) != 2 or any("******" in piece for piece in pieces):
            return failed("needs one line that is ****** and no other")
        if not all(map(has_content, pieces)):
            return failed("one of the responses is empty")
        one, two = (Counter(word.casefold() for word in WORD.findall(piece)) for piece in pieces)
        share = (one & two).total() / max(1, one.total(), two.total())
        return decided(share < _ALIKE, f"two responses that share {share:.0%} of their words")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        body = re.sub(r"\*{3,}", "", text)
        boxes = boxed_spans(body)
        last = f" It comes to {body[slice(*boxes[-1])]}." if boxes else ""
        for count in range(2, 12):
            done = f"{' '.join(distinct_fillers(count))}{last}\n******\n{body.lstrip()}"
            if self.hardened(done, {}).passed:
                return done
        return None
