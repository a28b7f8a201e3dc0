"""Markdown that shows: bullet points, highlights and numbered sections."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import Any

from adhere.rewards.constraints.base import Constraint, Kwargs, Needed, Outcome, Sampler, Step, register
from adhere.rewards.constraints.params import Count, Text, plural
from adhere.rewards.constraints.sentences import fillers, flat, in_groups, lead, split_sentences
from adhere.rewards.constraints.text import edit_outside, exempt_spans, has_content, layout, masked

_RULE = re.compile(r"[ \t]*(?:(?:-[ \t]*+){3,}|(?:\*[ \t]*+){3,}|(?:_[ \t]*+){3,})")
_BULLET = re.compile(r"[ \t]*[*+-][ \t]+(.*)")
_OTHER_BULLET = re.compile(r"[ \t]*[•◦‣▪●·][ \t]*\S")
_MARKER = re.compile(r"^[ \t]*[*+•-][ \t]+", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<![\w*\\])(\*{1,3})(?![\s*])([^*\n]++)(?<!\s)\1(?![\w*])")
_STARRED = re.compile(r"\*[^\n\*]*\*")
_TWICE_STARRED = re.compile(r"\*\*[^\n\*]*\*\*")
_PLAIN_WORD = re.compile(r"(?<=[^\S\n])[A-Za-z]{3,}+(?=[\s.;:!?])")


def _lines(text: str) -> list[str]:
    return [line for line in layout(text).split("\n") if not _RULE.fullmatch(line)]


def official_bullets(text: str) -> int:
    r"""Count what ``^\s*\*[^\*].*$`` and ``^\s*-.*$`` find in multi-line mode, in linear time.

    The negated class also eats a line break, so a line that is a lone star swallows the line after it.
    """
    lines = text.split("\n")
    count = sum(line.lstrip().startswith("-") for line in lines)
    at = 0
    while at < len(lines):
        head = lines[at].lstrip()
        if head == "*" and at + 1 < len(lines):
            count, at = count + 1, at + 1
        elif len(head) > 1 and head[0] == "*" and head[1] != "*":
            count += 1
        at += 1
    return count


@register
class Bullets(Constraint):
    """Exactly so many bullet points."""

    id = "detectable_format:number_bullet_lists"
    step = Step.ARRANGE
    params = (Count("num_bullets", "the number of bullet points"),)
    phrasings = (
        "Your answer must contain exactly {bullets}. Use markdown bullets such as:\n* This is a point.",
        "Write exactly {bullets} in markdown, each on a line that begins with `* `.",
        "Structure the answer with {bullets}, no more and no fewer, marked by `* `.",
        "Give exactly {bullets} (lines that start with `* `).",
    )
    compat_rule = "lines that start with `-`, or with `*` and no second star, number exactly N"
    hardened_rule = (
        "lines that start with `*`, `-` or `+`, a space and content number exactly N; formulas, code and horizontal "
        "rules are no bullets; a bullet character such as `•` breaks the count"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"bullets": plural(kwargs["num_bullets"], "bullet point")}

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(official_bullets(text), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        lines = _lines(text)
        found = [match.group(1) for line in lines if (match := _BULLET.match(line))]
        if any(_OTHER_BULLET.match(line) for line in lines):
            return Outcome(False, "bullets that are not markdown")
        return self._outcome(sum(map(has_content, found)), kwargs)

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        return Outcome(count == kwargs["num_bullets"], f"{plural(count, 'bullet')}, {kwargs['num_bullets']} wanted")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"num_bullets": source.count("num_bullets")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        lines = [line for line in text.split("\n") if not _RULE.fullmatch(line)]
        points = [flat(point) for point in split_sentences(_MARKER.sub("", "\n".join(lines)))]
        count = kwargs["num_bullets"]
        points = fillers(count - len(points)) + points
        # Beside a star as the bullet, the official pattern for highlights pairs the stars wrongly.
        sign = "-" if any("*" in point for point in points) else "*"
        return "\n".join(f"{sign} {' '.join(group)}" for group in in_groups(points, count))

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        return needed.exact and official_bullets(needed.text) > kwargs["num_bullets"]

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        return other_id == self.id and kwargs["num_bullets"] != other["num_bullets"]


@register
class Highlights(Constraint):
    """At least so many highlighted passages."""

    id = "detectable_format:number_highlighted_sections"
    step = Step.EMPHASISE
    params = (Count("num_highlights", "the least number of highlighted passages"),)
    phrasings = (
        "Highlight at least {passages} of your answer with markdown, as in *highlighted passage*.",
        "At least {passages} of the response should be set off *like this*.",
        "Use markdown emphasis (*...*) on at least {passages}.",
        "Mark {passages} or more with asterisks, *such as this one*.",
    )
    compat_rule = "`*...*` on one line plus `**...**` on one line, contents not blank, number at least N"
    hardened_rule = (
        "`*...*`, `**...**` and `***...***` around content, on one line and at word boundaries, number at least N, "
        "each counted once; formulas, code, bullets and horizontal rules do not count"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"passages": plural(kwargs["num_highlights"], "passage")}

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        if "*" not in text:
            return self._outcome(0, kwargs)
        single = sum(bool(m.strip("*").strip()) for m in _STARRED.findall(text))
        double = sum(bool(m[2:-2].strip()) for m in _TWICE_STARRED.findall(text))
        return self._outcome(single + double, kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        if "*" not in text:
            return self._outcome(0, kwargs)
        body = "\n".join(m.group(1) if (m := _BULLET.match(line)) else line for line in _lines(text))
        return self._outcome(sum(has_content(m.group(2)) for m in _HIGHLIGHT.finditer(body)), kwargs)

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        wanted = kwargs["num_highlights"]
        return Outcome(count >= wanted, f"{plural(count, 'highlight')}, at least {wanted} wanted")

    def sample(self, source: Sampler) -> dict[str, Any]:
        return {"num_highlights": source.count("num_highlights")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        # Stray stars, as in 2*3, can make the official pattern pair the new ones wrongly; one more may
        # repair it.
        for extra in range(3):
            done = _emphasised(text, kwargs["num_highlights"] + extra)
            if self.compat(done, kwargs).ok and self.hardened(done, kwargs).ok:
                return done
        return None


def _emphasised(text: str, count: int) -> str:
    free = len(_PLAIN_WORD.findall(masked(text, exempt_spans(text))))
    if free < count:
        text = lead(text, fillers(count - free))
    left = count

    def emphasise(match: re.Match[str]) -> str:
        nonlocal left
        left -= 1
        return f"*{match.group()}*" if left >= 0 else match.group()

    return edit_outside(text, exempt_spans(text), lambda piece: _PLAIN_WORD.sub(emphasise, piece))


@register
class Sections(Constraint):
    """Numbered sections, each under its marker."""

    id = "detectable_format:multiple_sections"
    step = Step.SECTION
    params = (
        Text(
            "section_spliter",
            "the word that opens a section, as MathIF spells the argument",
            r"[A-Za-z][A-Za-z ]*",
        ),
        Count("num_sections", "the number of sections"),
    )
    phrasings = (
        "Your response must have {sections}. Mark the beginning of each section with {section_spliter} "
        "X, such as:\n"
        "{section_spliter} 1\n[content of section 1]",
        "Divide the answer into {sections}, each opened by a line {section_spliter} 1, {section_spliter} 2 and so on.",
        "Use exactly {sections} with the headings {section_spliter} 1 to {section_spliter} {num_sections}.",
        "Write {sections}; begin each one with {section_spliter} and its number.",
    )
    compat_rule = "the marker followed by a number occurs at least N times anywhere"
    hardened_rule = (
        "lines that open with the marker (same case; markdown signs before it allowed) number exactly N, count from 1 "
        "to N in order, and each has content"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {**kwargs, "sections": plural(kwargs["num_sections"], "section")}

    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        return self._outcome(len(_marker(kwargs["section_spliter"]).findall(text)), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        heading = _heading(kwargs["section_spliter"])
        body = masked_lines(text)
        found = list(heading.finditer(body))
        numbers = [int(match.group(1)[:9]) for match in found]
        contents = [body[a.end() : b.start()] for a, b in pairwise(found)] + [body[m.end() :] for m in found[-1:]]
        empty = [n for n, content in zip(numbers, contents, strict=True) if not has_content(content)]
        if empty:
            return Outcome(False, f"section {empty[0]} is empty")
        if numbers != list(range(1, len(numbers) + 1)):
            return Outcome(False, f"sections are numbered {', '.join(map(str, numbers[:8]))}")
        wanted = kwargs["num_sections"]
        return Outcome(len(found) == wanted, f"{plural(len(found), 'section')}, {wanted} wanted")

    @staticmethod
    def _outcome(count: int, kwargs: Kwargs) -> Outcome:
        wanted = kwargs["num_sections"]
        return Outcome(count >= wanted, f"{plural(count, 'section marker')}, at least {wanted} wanted")

    def sample(self, source: Sampler) -> dict[str, Any]:
        marker = source.rng.choice(("Section", "SECTION", "Part", "PART"))
        return {"section_spliter": marker, "num_sections": source.count("num_sections")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        word, count = kwargs["section_spliter"], kwargs["num_sections"]
        lines = [line for line in _heading(word).sub("", text).split("\n") if has_content(line)]
        if len(lines) < count and not any(_BULLET.match(line) for line in lines):
            lines = [flat(sentence) for sentence in split_sentences("\n".join(lines))]
        lines = fillers(count - len(lines)) + lines
        groups = in_groups(lines, count)
        return "\n".join(f"{word} {i}\n" + "\n".join(group) for i, group in enumerate(groups, 1))

    def needs(self, kwargs: Kwargs) -> Needed | None:
        numbers = range(1, kwargs["num_sections"] + 1)
        return Needed("\n".join(f"{kwargs['section_spliter']} {i}" for i in numbers), exact=True)

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        headings = _heading(kwargs["section_spliter"]).search(needed.text)
        return headings is not None and needed != self.needs(kwargs)

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id != self.id:
            return False
        return kwargs != other and kwargs["section_spliter"] == other["section_spliter"]


@lru_cache
def _marker(word: str) -> re.Pattern[str]:
    """Compile the official pattern without the white space that it allows at both ends, which never decides."""
    return re.compile(rf"{word}\s?\d+")


@lru_cache
def _heading(word: str) -> re.Pattern[str]:
    return re.compile(rf"^[\"“#>*_ \t]{{0,12}}{word}[ \t]{{0,4}}(\d++)(?![\w.]\w)", re.MULTILINE)


def masked_lines(text: str) -> str:
    """Return ``text`` with formulas, boxes and code masked."""
    return masked(text, exempt_spans(text))
