"""Parts that a response has to contain: placeholders, a postscript, a title."""

from __future__ import annotations

import re
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.params import Count, Text, plural
from adhere.rewards.constraints.text import exempt_spans, has_content, masked, math_spans

TITLES: tuple[str, ...] = ("Worked Answer", "Steps and Result", "From Start to End")
"""Titles that the transform gives."""

_FIELDS = ("name", "date", "place", "address", "phone", "company", "city", "street", "email", "time")
_PLACEHOLDER = re.compile(r"(?<![\\\]\w])\[([^\W\d_][^\[\]\n]{1,60})\](?![(\[:])")
_TITLE = re.compile(r"[\"'“”*_# \t]{0,12}<<([^<>\n]+)>>[\"'“”*_ \t]{0,12}")
_SIGNS = "\"'“”*_#> \t"
_EMPTY_TITLES = frozenset({"title", "the title", "your title", "title here", "insert title here", "insert title"})
_CASES = ("change_case:english_capital", "change_case:english_lowercase")


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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(official_placeholders(text), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        found = _PLACEHOLDER.findall(masked(text, exempt_spans(text)))
        return self._outcome(len({" ".join(name.split()).casefold() for name in found}), kwargs)

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        wanted = kwargs["num_placeholders"]
        return Outcome(count >= wanted, f"{plural(count, 'placeholder')}, at least {wanted} wanted")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"num_placeholders": source.count("num_placeholders")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        taken = {name.casefold() for name in _PLACEHOLDER.findall(masked(text, exempt_spans(text)))}
        free = [name for name in _FIELDS if name not in taken]
        missing = kwargs["num_placeholders"] - min(len(taken), official_placeholders(text))
        if missing > len(free):
            return None
        return f"{text.rstrip()}\nWritten for {' and '.join(f'[{name}]' for name in free[:missing])}."


def _marker_pattern(marker: str) -> str:
    r"""Return what the official code searches for; what surrounds it there, ``\s*`` and ``.*$``, matches always."""
    if marker == "P.P.S":
        return r"p\.\s?p\.\s?s"
    return r"p\.\s?s\." if marker == "P.S." else marker.lower()


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

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        found = re.search(_marker_pattern(kwargs["postscript_marker"].strip()), text.lower())
        return Outcome(found is not None, "the marker occurs" if found else "no postscript")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        marker = kwargs["postscript_marker"].strip()
        letters = r"[ \t]?".join(map(re.escape, re.sub(r"\s", "", marker).rstrip(".")))
        opening = re.compile(rf"^[{re.escape(_SIGNS)}]{{0,8}}{letters}(?!\w)[.:]?", re.IGNORECASE | re.MULTILINE)
        body = text.rstrip()
        found = list(opening.finditer(body))
        if not found:
            return Outcome(False, "no line opens with the marker")
        after = body[found[-1].end() :]
        if not has_content(after):
            return Outcome(False, "nothing follows the marker")
        if re.search(r"\n[ \t]*\n", after.strip()):
            return Outcome(False, "the postscript does not come last")
        if not has_content(body[: found[-1].start()]):
            return Outcome(False, "nothing comes before the postscript")
        return Outcome(True, "a postscript comes last")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"postscript_marker": source.rng.choice(("P.S.", "P.P.S"))}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        marker = kwargs["postscript_marker"].strip()
        return f"{text.rstrip()}\n{marker} It is good to look at every step once more."

    def needs(self, kwargs: Kwargs) -> Needed | None:
        return Needed(kwargs["postscript_marker"], exact=False)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == self.id and kwargs != other


@register
class Title(Constraint):
    """A title in double angular brackets."""

    id = "detectable_format:title"
    collection = "ifeval"
    step = Step.TITLE
    phrasings = (
        "Head your answer with a title between double angular brackets, like <<first light>>.",
        "Give the answer a title in double angular brackets on a line of its own, as in <<my day>>.",
        "Put a title of your own above the answer, written like <<a walk>>.",
        "Add a heading that is wrapped in << and >>, for example <<three steps>>.",
    )
    compat_rule = "`<<` and `>>` stand on one line with something between them"
    hardened_rule = (
        "a line is `<<...>>` and nothing else but markdown signs; it holds a letter and does not just say `title`, and "
        "other lines have content too"
    )

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        for line in text.split("\n"):
            start, end = line.find("<<"), line.rfind(">>")
            if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
                return Outcome(True, "a title")
        return Outcome(False, "no title")

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        titles: list[str] = []
        rest: list[str] = []
        for line in masked(text, math_spans(text)).split("\n"):
            match = _TITLE.fullmatch(line)
            if match is None:
                rest.append(line)
            else:
                titles.append(match.group(1))
        if not titles:
            return Outcome(False, "no line with nothing but a title")
        names = [title.strip(_SIGNS + ".:[]()").casefold() for title in titles]
        if any(name in _EMPTY_TITLES or not any(c.isalpha() for c in name) for name in names):
            return Outcome(False, "the title says nothing")
        return Outcome(any(map(has_content, rest)), "a title" if any(map(has_content, rest)) else "nothing but a title")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        number = len(text) % len(TITLES)
        return f"<<{TITLES[number]}>>\n{text.lstrip()}"
