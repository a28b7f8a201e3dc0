"""The language that a response is written in."""

from __future__ import annotations

from typing import Any

from adhere.rewards.constraints.core.constraint import Choice, Constraint, Kwargs, Mode, Needed, Step, decided, register
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.text.languages import LANGUAGES, detect, matches
from adhere.rewards.constraints.text.views import prose
from adhere.rewards.verdict import Verdict


@register
class ResponseLanguage(Constraint):
    """The prose is in one language."""

    id = "language:response_language"
    collection = "mathif"
    step = Step.CASE
    rewritable = False
    params = (Choice("language", "a code of langdetect, such as `de` or `zh-cn`", tuple(LANGUAGES)),)
    phrasings = (
        "Write your answer in {name}; no other language is allowed.",
        "Your entire response should be in {name} and in no other language.",
        "Use only {name} in what you write.",
        "Answer in {name} only.",
    )
    compat_rule = "langdetect (seed 0) names the language, or finds no features at all"
    hardened_rule = (
        "formulas aside, at least 80 % of the letters are in the language's script, and langdetect is 70 % sure among "
        "the languages that share it; fewer than 20 letters (8 in Chinese, Japanese, Korean, Thai) fail"
    )

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        return True

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"name": LANGUAGES[kwargs["language"]]}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        found = detect(text)
        return decided(found in (None, kwargs["language"]), f"langdetect says {found or 'nothing, which passes'}")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        return decided(*matches(prose(text), kwargs["language"]))

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"language": source.rng.choice([code for code in LANGUAGES if code != "en"])}

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return kwargs["language"] != "en" and any(c.isalpha() for c in needed.text)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == self.id:
            return bool(kwargs["language"] != other["language"])
        return False
