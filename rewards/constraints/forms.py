"""Responses whose whole form is fixed: JSON, and one of three sentences."""

from __future__ import annotations

import json
import re
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Outcome, Sampler, Step, register
from adhere.rewards.constraints.sentences import flat
from adhere.rewards.constraints.text import has_content

OPTIONS: tuple[str, ...] = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""IFEval's three options, spelled as there."""

_FENCE = re.compile(r"```[ \t]*(?:json)?[ \t]*\n?(.*?)\n?[ \t]*```", re.IGNORECASE | re.DOTALL)
_OPENED = re.compile(r"(?:[.!?:;][\"'”’*_)]*\s+|\n\s*)[\"'“‘*_(]*$")

_FREE = frozenset(
    {
        "keywords:existence",
        "keywords:frequency",
        "keywords:forbidden_words",
        "keywords:letter_frequency",
        "detectable_content:number_placeholders",
        "detectable_format:number_highlighted_sections",
        "language:response_language",
        "length_constraint_checkers:number_words",
        "length_constraints:number_words",
        "length_constraints:number_sentences",
        "change_case:english_capital",
        "change_case:english_lowercase",
        "change_case:capital_word_frequency",
        "punctuation:no_comma",
    }
)
"""Constraints that the text inside a JSON value can meet."""


def official_payload(text: str) -> str:
    """Return ``text`` without the code fence that IFEval takes off."""
    body = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        body = body.removeprefix(fence)
    return body.removesuffix("```").strip()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@register
class JsonFormat(Constraint):
    """All of it is JSON."""

    id = "detectable_format:json_format"
    collection = "ifeval"
    step = Step.WRAP
    phrasings = (
        "Put all that you say into valid JSON, in a code fence or without one.",
        "Answer with one JSON object and nothing else; a markdown code fence around it is fine.",
        "Write the whole response as valid JSON.",
        "Your output has to be a single JSON value that holds everything you want to say.",
    )
    compat_rule = "the text, a code fence taken off, is what Python's `json` reads, `NaN` and bare numbers included"
    hardened_rule = (
        "the text, a code fence taken off, is exactly one JSON object or array (RFC 8259) without repeated keys, and "
        "it holds a letter or a digit"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        try:
            json.loads(official_payload(text))
        except (ValueError, RecursionError) as error:
            return Outcome(False, f"no JSON: {str(error)[:80]}")
        return Outcome(True, "JSON")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = text.strip()
        fenced = _FENCE.fullmatch(body)
        try:
            value = json.loads(fenced.group(1) if fenced else body, object_pairs_hook=_unique, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return Outcome(False, f"no JSON: {str(error)[:80]}")
        if not isinstance(value, dict | list):
            return Outcome(False, "neither an object nor an array")
        return Outcome(has_content(body), "JSON" if has_content(body) else "empty JSON")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        # an upper-case text must have an upper-case key, and no line break, which JSON writes as a lower-case n
        upper = text.isupper()
        return json.dumps({"ANSWER" if upper else "answer": flat(text) if upper else text}, ensure_ascii=False)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id != self.id and other_id not in _FREE


@register
class ConstrainedResponse(Constraint):
    """One of three fixed sentences."""

    id = "detectable_format:constrained_response"
    collection = "ifeval"
    step = Step.REMARK
    phrasings = (
        "Answer with one of the following options: ('My answer is yes.', 'My answer is no.', 'My answer is maybe.')",
        "Choose one of these sentences as your answer: 'My answer is yes.', 'My answer is no.' or 'My answer is "
        "maybe.'",
        'Say exactly one of "My answer is yes.", "My answer is no." and "My answer is maybe."',
    )
    compat_rule = "one of the three sentences occurs somewhere"
    hardened_rule = (
        "one of the three sentences opens or closes the response or stands alone on its line, quotation marks and "
        "emphasis aside, and none of the three occurs a second time"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        found = any(option in text for option in OPTIONS)
        return Outcome(found, "one of the options" if found else "none of the options")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        body = flat(text).strip("\"'“”‘’*_`() ")
        hits = sum(body.lower().count(option.lower()) for option in OPTIONS)
        if hits != 1:
            return Outcome(False, f"{hits} of the options, 1 wanted")
        lines = [line.strip("\"'“”‘’*_`() \t") for line in text.split("\n")]
        option = next((option for option in OPTIONS if body.endswith(option)), "")
        closes = option != "" and _OPENED.search(_before(text, option)) is not None
        ok = body.startswith(OPTIONS) or closes or any(line in OPTIONS for line in lines)
        return Outcome(ok, "one of the options" if ok else "the option stands inside other words")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        if any(option.lower() in text.lower() for option in OPTIONS):
            return None
        return f"{text.rstrip()}\n{OPTIONS[0]}"

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == "language:response_language":
            return bool(other["language"] != "en")
        fixed = ("change_case:english_capital", "change_case:english_lowercase", "keywords:start_end", JsonFormat.id)
        return other_id in fixed or other_id == "last_word:last_word_answer"


def _before(text: str, option: str) -> str:
    """Return the last characters before the last occurrence of ``option``."""
    at = text.rfind(option)
    return text[max(0, at - 40) : at]
