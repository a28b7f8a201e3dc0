"""Parts that a response has to contain: placeholders and a postscript."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    Constraint,
    Count,
    Kwargs,
    Mode,
    Needed,
    Step,
    Text,
    counted,
    decided,
    plural,
    register,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.keywords import is_pattern
from adhere.rewards.constraints.text.views import exempt_spans, has_content, masked
from adhere.rewards.verdict import Verdict, failed, passed

_FIELDS = ("name", "date", "place", "address", "phone", "company", "city", "street", "email", "time")
_PLACEHOLDER = re.compile(r"(?<![\\\]\w])\[([^\W\d_][^\[\]\n]{1,60})\](?![(\[:])")


def official_placeholders(text: str) -> int:
    r"""Count what ``\[.*?\]`` finds, in linear time."""
    count = 0
    for line in text.split("\n"):
        start = line.find("[")
        while start >= 0:
            end = line.find("]", start)
            if end < 0:
                break
            count += 1
            start = line.find("[", end)
    return count


@register
class Placeholders(Constraint):
    """At least so many placeholders in square brackets."""

    id = "detectable_content:number_placeholders"
    collection = "ifeval"
    step = Step.ADD
    params = (Count("num_placeholders", "the least number of placeholders"),)
    phrasings = (
        "Put at least {placeholders} in square brackets into your answer, for instance [address].",
        "Leave at least {placeholders} in square brackets to be filled in later, as in [name].",
        "Include {num_placeholders} or more different placeholders such as [date] in your answer.",
        "Use at least {placeholders} like [city], each a description in square brackets.",
    )
    compat_rule = "pairs of square brackets on one line, empty ones and LaTeX's `\\[` included, number at least N"
    hardened_rule = (
        "different descriptions of two characters or more that open with a letter, in square brackets that are not "
        "nested, number at least N; links, formulas, boxes and code do not count"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {**kwargs, "placeholders": plural(kwargs["num_placeholders"], "placeholder")}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(official_placeholders(text), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        found = _PLACEHOLDER.findall(masked(text, exempt_spans(text)))
        return self._verdict(len({" ".join(name.split()).casefold() for name in found}), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        wanted = kwargs["num_placeholders"]
        return counted(count, "placeholder", wanted, "at least")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"num_placeholders": source.count("num_placeholders")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        taken = {name.casefold() for name in _PLACEHOLDER.findall(masked(text, exempt_spans(text)))}
        free = [name for name in _FIELDS if name not in taken]
        missing = kwargs["num_placeholders"] - min(len(taken), official_placeholders(text))
        if missing > len(free):
            return None
        return f"{text.rstrip()}\nWritten for {' and '.join(f'[{name}]' for name in free[:missing])}."


_SIGNS = "\"'“”*_#> \t"


_MARKERS = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
"""The official patterns of two markers; any other one is a pattern itself."""


@register
class Postscript(Constraint):
    """A postscript at the end."""

    id = "detectable_content:postscript"
    collection = "ifeval"
    step = Step.REMARK
    params = (Text("postscript_marker", "what opens the postscript, such as `P.S.` or `P.P.S`"),)
    phrasings = (
        "Let a postscript stand below your answer; it starts with {postscript_marker}",
        "Close with a postscript that opens with {postscript_marker}",
        "After the answer, add a last remark on a new line that begins with {postscript_marker}",
        "Finish your response by a postscript marked {postscript_marker}",
    )
    compat_rule = "the marker occurs anywhere, case ignored, `P. S.` and `P. P. S` included; others are patterns"
    hardened_rule = (
        "a line of the last paragraph opens with the marker, case ignored, and content both precedes it and follows it"
    )

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        marker = kwargs["postscript_marker"].strip()
        return mode == "compat" and marker not in _MARKERS and is_pattern([marker])

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        marker = kwargs["postscript_marker"].strip()
        # what surrounds it in the official pattern, white space and ".*$", always matches
        found = re.search(_MARKERS.get(marker, marker.lower()), text.lower())
        return decided(found is not None, "the marker occurs" if found else "no postscript")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        marker = kwargs["postscript_marker"].strip()
        letters = r"[ \t]?".join(map(re.escape, re.sub(r"\s", "", marker).rstrip(".")))
        opening = re.compile(rf"^[{re.escape(_SIGNS)}]{{0,8}}{letters}(?!\w)[.:]?", re.IGNORECASE | re.MULTILINE)
        body = text.rstrip()
        found = list(opening.finditer(body))
        if not found:
            return failed("no line opens with the marker")
        after = body[found[-1].end() :]
        if not has_content(after):
            return failed("nothing follows the marker")
        if re.search(r"\n[ \t]*\n", after.strip()):
            return failed("the postscript does not come last")
        if not has_content(body[: found[-1].start()]):
            return failed("nothing comes before the postscript")
        return passed("a postscript comes last")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"postscript_marker": source.rng.choice(("P.S.", "P.P.S"))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        marker = kwargs["postscript_marker"].strip()
        return f"{text.rstrip()}\n{marker} It is good to look at every step once more."

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["postscript_marker"], exact=False)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == self.id and kwargs != other
