"""The form of a response: bullets, highlights, sections, a title, JSON, one of three sentences, wrapped words."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from itertools import pairwise
from typing import Any

from adhere.rewards.constraints.core.constraint import (
    Constraint,
    Count,
    Kwargs,
    Needed,
    Step,
    Text,
    counted,
    decided,
    off_by,
    plural,
    register,
)
from adhere.rewards.constraints.core.pools import ArgumentSource
from adhere.rewards.constraints.families.shared import WholeResponse
from adhere.rewards.constraints.text.fillers import fillers, flat, in_groups, lead
from adhere.rewards.constraints.text.segmentation import ifevalg_sentences, read_sentences, split_sentences
from adhere.rewards.constraints.text.views import (
    boxed_spans,
    edit_boxes,
    edit_outside,
    exempt_spans,
    has_content,
    layout,
    masked,
    math_spans,
)
from adhere.rewards.verdict import Verdict, failed, passed

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
    collection = "mathif"
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
        "rules do not count; a bullet character such as `•` breaks the count"
    )

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        return {"bullets": plural(kwargs["num_bullets"], "bullet point")}

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(official_bullets(text), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        lines = _lines(text)
        found = [match.group(1) for line in lines if (match := _BULLET.match(line))]
        if any(_OTHER_BULLET.match(line) for line in lines):
            return failed("bullets that are not markdown")
        return self._verdict(sum(map(has_content, found)), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        wanted = kwargs["num_bullets"]
        return decided(count == wanted, f"{plural(count, 'bullet')}, {wanted} wanted", off_by(count, "bullet", wanted))

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
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
    collection = "mathif"
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        if "*" not in text:
            return self._verdict(0, kwargs)
        single = sum(bool(m.strip("*").strip()) for m in _STARRED.findall(text))
        double = sum(bool(m[2:-2].strip()) for m in _TWICE_STARRED.findall(text))
        return self._verdict(single + double, kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        if "*" not in text:
            return self._verdict(0, kwargs)
        body = "\n".join(m.group(1) if (m := _BULLET.match(line)) else line for line in _lines(text))
        return self._verdict(sum(has_content(m.group(2)) for m in _HIGHLIGHT.finditer(body)), kwargs)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        wanted = kwargs["num_highlights"]
        return counted(count, "highlight", wanted, "at least")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        return {"num_highlights": source.count("num_highlights")}

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        # Stray stars, as in 2*3, can make the official pattern pair the new ones wrongly; one more may
        # repair it.
        for extra in range(3):
            done = _emphasised(text, kwargs["num_highlights"] + extra)
            if self.compat(done, kwargs).passed and self.hardened(done, kwargs).passed:
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
    collection = "mathif"
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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        return self._verdict(len(_marker(kwargs["section_spliter"]).findall(text)), kwargs)

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        heading = _heading(kwargs["section_spliter"])
        body = masked(text, exempt_spans(text))
        found = list(heading.finditer(body))
        numbers = [int(match.group(1)[:9]) for match in found]
        contents = [body[a.end() : b.start()] for a, b in pairwise(found)] + [body[m.end() :] for m in found[-1:]]
        empty = [n for n, content in zip(numbers, contents, strict=True) if not has_content(content)]
        if empty:
            return failed(f"section {empty[0]} is empty")
        if numbers != list(range(1, len(numbers) + 1)):
            return failed(f"sections are numbered {', '.join(map(str, numbers[:8]))}")
        wanted = kwargs["num_sections"]
        off = off_by(len(found), "section", wanted)
        return decided(len(found) == wanted, f"{plural(len(found), 'section')}, {wanted} wanted", off)

    @staticmethod
    def _verdict(count: int, kwargs: Kwargs) -> Verdict:
        wanted = kwargs["num_sections"]
        return counted(count, "section marker", wanted, "at least")

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        marker = source.phrase("marker", ("Section", "SECTION", "Part", "PART"))
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


TITLES: tuple[str, ...] = ("Worked Answer", "Steps and Result", "From Start to End")
"""Titles that the transform gives."""

_TITLE = re.compile(r"[\"'“”*_# \t]{0,12}<<([^<>\n]+)>>[\"'“”*_ \t]{0,12}")
_EMPTY_TITLES = frozenset({"title", "the title", "your title", "title here", "insert title here", "insert title"})


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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        for line in text.split("\n"):
            start, end = line.find("<<"), line.rfind(">>")
            if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
                return passed("a title")
        return failed("no title")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        titles: list[str] = []
        rest: list[str] = []
        for line in masked(text, math_spans(text)).split("\n"):
            match = _TITLE.fullmatch(line)
            if match is None:
                rest.append(line)
            else:
                titles.append(match.group(1))
        if not titles:
            return failed("no line with nothing but a title")
        names = [title.strip("\"'“”*_#> \t.:[]()").casefold() for title in titles]
        if any(name in _EMPTY_TITLES or not any(c.isalpha() for c in name) for name in names):
            return failed("the title says nothing")
        return decided(any(map(has_content, rest)), "a title" if any(map(has_content, rest)) else "nothing but a title")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        number = len(text) % len(TITLES)
        return f"<<{TITLES[number]}>>\n{text.lstrip()}"


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
    raise ValueError(f"{name} is not valid JSON")


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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        try:
            json.loads(official_payload(text))
        except (ValueError, RecursionError) as error:
            return failed(f"not valid JSON: {str(error)[:80]}")
        return passed("JSON")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = text.strip()
        fenced = _FENCE.fullmatch(body)
        try:
            value = json.loads(fenced.group(1) if fenced else body, object_pairs_hook=_unique, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return failed(f"not valid JSON: {str(error)[:80]}")
        if not isinstance(value, dict | list):
            return failed("neither an object nor an array")
        return decided(has_content(body), "JSON" if has_content(body) else "empty JSON")

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

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        found = any(option in text for option in OPTIONS)
        return decided(found, "one of the options" if found else "none of the options")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = flat(text).strip("\"'“”‘’*_`() ")
        hits = sum(body.lower().count(option.lower()) for option in OPTIONS)
        if hits != 1:
            return failed(f"{hits} of the options, 1 wanted")
        lines = [line.strip("\"'“”‘’*_`() \t") for line in text.split("\n")]
        option = next((option for option in OPTIONS if body.endswith(option)), "")
        at = text.rfind(option)
        closes = option != "" and _OPENED.search(text[max(0, at - 40) : at]) is not None
        ok = body.startswith(OPTIONS) or closes or any(line in OPTIONS for line in lines)
        return decided(ok, "one of the options" if ok else "the option stands inside other words")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        if any(option.lower() in text.lower() for option in OPTIONS):
            return None
        return f"{text.rstrip()}\n{OPTIONS[0]}"

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        if other_id == "language:response_language":
            return bool(other["language"] != "en")
        fixed = ("change_case:english_capital", "change_case:english_lowercase", "keywords:start_end", JsonFormat.id)
        return other_id in fixed or other_id == "last_word:last_word_answer"


_BRACKETED = re.compile(r"(?:\[[^\[\]\s]++\])+[.,;:!?]*")
_GLUED = re.compile(r"(?:[^\W\d_]{2,}+[^\w\s\[\]]+|[^\W\d_]{2,}+_+){3,}[^\W\d_]{2,}")
_PAIR = re.compile(r"<<([^<>]*+)>>[.,;:!?]*")
_JOINT = re.compile(r"[.!?…][\"'”’)]*+-(?=\S)")


@register
class SquareBrackets(WholeResponse):
    """Every word stands in square brackets."""

    id = "detectable_format:square_brackets"
    step = Step.WRAP
    phrasings = (
        "Your response is a row of words, each of them in square brackets.",
        "Put square brackets around each single word, [like] [this].",
        "Every word of your answer has to stand in its own pair of square brackets.",
    )
    compat_rule = "every piece between white space starts with `[` and ends with `]`"
    hardened_rule = "every piece between white space is one word in brackets; words glued together by signs fail"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        bare = [token for token in text.split() if not (token.startswith("[") and token.endswith("]"))]
        return decided(not bare, f'"{bare[0][:40]}"' if bare else "every word in brackets")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        for token in text.split():
            if not _BRACKETED.fullmatch(token) or _GLUED.search(token):
                return failed(f'"{token[:40]}"')
        return decided(has_content(text), "every word in brackets")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        whole = edit_boxes(text)
        whole = edit_outside(whole, boxed_spans(whole), lambda piece: piece.replace("[", "(").replace("]", ")"))
        return " ".join(f"[{token}]" for token in whole.split())


@register
class BigramWrapping(WholeResponse):
    """Every pair of words stands in double angular brackets."""

    id = "detectable_format:bigram_wrapping"
    step = Step.WRAP
    phrasings = (
        "Bracket your words two by two: <<it rains>> <<so we>> <<stay inside>>.",
        "Write your words in pairs, each pair in double angular brackets: <<like this>> <<for all>> <<your words>>.",
        "Two words at a time, enclose your whole answer in << and >>.",
    )
    compat_rule = "of the pieces between white space, each odd one starts with `<<` and the next ends with `>>`"
    hardened_rule = "the text is nothing but `<<two words>>`, at least once; an odd last word is wrapped alone"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        words = text.split()
        wrong = [
            i for i in range(0, len(words) - 1, 2) if not (words[i].startswith("<<") and words[i + 1].endswith(">>"))
        ]
        return decided(not wrong, f'"{words[wrong[0]][:40]}"' if wrong else "every pair wrapped")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        sizes = [len(match.group(1).split()) for match in _PAIR.finditer(text)]
        if _PAIR.sub("", text).strip() or not sizes:
            return failed("something stands outside the brackets")
        ok = sizes[0] == 2 and all(size == 2 for size in sizes[:-1]) and sizes[-1] in (1, 2)
        return decided(ok, "every pair wrapped" if ok else "brackets around more or less than two words")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        words = edit_boxes(text).replace("<<", "").replace(">>", "").split()
        if len(words) < 2:
            words = ["Result:", *words]
        return " ".join(f"<<{' '.join(words[i : i + 2])}>>" for i in range(0, len(words), 2))


@register
class SentenceHyphens(WholeResponse):
    """Sentences are joined by hyphens, without spaces."""

    id = "detectable_format:sentence_hyphens"
    step = Step.WRAP
    phrasings = (
        "Hyphens hold your sentences together, and no space stands beside them.",
        "Join your sentences by a hyphen without spaces.-Like this.",
        "Between two sentences there is a hyphen and no space.",
    )
    compat_rule = (
        "cut at hyphens, the text gives its official sentences one by one, as far as the shorter list goes; one "
        "sentence alone passes, a hyphen inside a word does not"
    )
    hardened_rule = "there are two sentences or more, and each one joins the next by a hyphen without white space"

    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        pairs = zip(text.split("-"), ifevalg_sentences(text.replace("-", " ")), strict=False)
        wrong = [piece for piece, sentence in pairs if piece.strip() != piece or piece != sentence]
        return decided(not wrong, f'"{wrong[0][:40]}"' if wrong else "sentences joined by hyphens")

    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        body = masked(text.strip(), exempt_spans(text.strip()))
        if len(read_sentences(text)) > 1:
            return failed("a space or a line break between two sentences")
        pieces = _JOINT.split(body)
        ok = len(pieces) > 1 and all(map(has_content, pieces))
        return decided(ok, f"{len(pieces)} sentences joined" if ok else "no two sentences joined by a hyphen")

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        body = flat(edit_outside(text, boxed_spans(text), lambda piece: piece.replace("-", " ")))
        found = [sentence for sentence in ifevalg_sentences(body) if sentence]
        if len(found) < 2:
            found = ifevalg_sentences(lead(body, fillers(1)))
        return "-".join(found)
