"""How a text pretends to meet a constraint: the holes of the official checkers, and letters that look alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adhere.rewards.checklist import RuleCheck

LOOK_ALIKES = str.maketrans(
    {",": "‚", "a": "а", "c": "с", "e": "е", "o": "о", "p": "р", "x": "х", "A": "А", "B": "В", "E": "Е", "O": "О"}
)
"""Latin to Cyrillic letters, and the comma to the low quotation mark that looks the same."""

_BOX = re.compile(r"(\\boxed\{.*\})", re.DOTALL)


def disguised(text: str) -> str | None:
    """Return ``text`` in look-alike letters, its box untouched, or ``None`` where nothing changes."""
    parts = [part if _BOX.fullmatch(part) else part.translate(LOOK_ALIKES) for part in _BOX.split(text)]
    changed = "".join(parts)
    return None if changed == text else changed


def exploited(text: str, gold: str, rules: Sequence[RuleCheck]) -> str | None:
    """Return ``text`` with the tokens that fool each constraint's official checker, or ``None`` without any.

    They break what the constraint says: a keyword inside another word is not that word.
    """
    if [rule.constraint for rule in rules] == ["language:response_language"]:
        return gold if gold.isdecimal() else f"\\boxed{{{gold}}}"
    holes = [HOLES[rule.constraint](rule.kwargs) for rule in rules if rule.constraint in HOLES]
    tokens = [token for token in holes if token]
    return "\n".join([*tokens, text]) if tokens else None


HOLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    # the keyword inside another word
    "keywords:existence": lambda kwargs: " ".join(f"x{keyword}x" for keyword in kwargs["keywords"]),
    "keywords:frequency": lambda kwargs: (
        f"x{kwargs['keyword']}x " * kwargs["frequency"] if kwargs["relation"] == "at least" else ""
    ),
    # the stars of a product for emphasis
    "detectable_format:number_highlighted_sections": lambda kwargs: " and ".join(["2*3*7"] * kwargs["num_highlights"]),
    # rules between paragraphs for bullets
    "detectable_format:number_bullet_lists": lambda kwargs: "\n".join(["---"] * kwargs["num_bullets"]),
    # every section is the first
    "detectable_format:multiple_sections": lambda kwargs: " ".join(
        [f"{kwargs['section_spliter']} 1"] * kwargs["num_sections"]
    ),
}
"""By constraint: the tokens that its official checker takes for obedience (MathIF's code, arXiv 2505.14810)."""
