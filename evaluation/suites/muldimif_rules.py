"""MulDimIF's rules (arXiv 2505.07591): what the text of a constraint asks for, and whether a response does it.

The benchmark has no arguments. Its scripts read the number, the keyword or the level out of the constraint's own
words, by patterns that are tried in a fixed order, and what they overlook is part of its verdicts: a table is whatever
lies between the first and the last bar, and a demand that no pattern knows is met by every response in some families
and by none in others. These functions decide as those scripts do. What the test split cannot reach is left out.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from adhere.rewards.constraints.text.punkt import sentences as punkt_sentences
from adhere.rewards.errors import ConfigError

ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SMALL = {word: number for number, word in enumerate(ONES, start=1)}
TEENS = dict(
    zip(
        ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"],
        range(11, 20),
        strict=True,
    )
)
TENS = dict(
    zip(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred"],
        range(20, 101, 10),
        strict=True,
    )
)
NUMBERS = {"zero": 0, **SMALL, **TEENS, **TENS}
CHINESE = dict(zip("一二三四五六七八九十", range(1, 11), strict=True)) | {"两": 2}
IN_SENTENCES = (
    SMALL
    | {"eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50}
    | {"hundred": 100, "thousand": 1000}
    | CHINESE
)
HAN = r"[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\u3000-\u303f\uff00-\uffef]"


class MissingPackage(ConfigError):
    """A rule needs a package that is not installed."""


Bounds = tuple[int | None, int | None]


def spelled(text: str, words: Mapping[str, int] = NUMBERS) -> int | None:
    """Return the number that ``text`` writes in digits or in words such as ``twenty-five``, or ``None``."""
    text = text.strip().replace(",", "")
    if text.isdigit():
        return int(text)
    total = current = 0
    for part in re.split(r"[\s-]+", text.lower()):
        if part not in words:
            return None
        if words[part] >= 100:
            total, current = total + max(current, 1) * words[part], 0
        else:
            current += words[part]
    return total + current


def within(count: int, bounds: Bounds) -> bool:
    """Return whether ``count`` lies in inclusive ``bounds``; ``None`` leaves a side open."""
    low, high = bounds
    return (low is None or count >= low) and (high is None or count <= high)


def bounds_of(text: str, patterns: Iterable[tuple[str, str]], words: Mapping[str, int]) -> Bounds | None:
    """Return the bounds that the first matching pattern reads, ``None`` where none matches.

    Args:
        text: the constraint, in lower case.
        patterns: pairs of a kind (``exact``, ``min``, ``max``, ``range``, ``one``) and a regular expression.
        words: numbers by their names; a word that is not among them is 0.
    """
    for kind, pattern in patterns:
        if (match := re.search(pattern, text)) is None:
            continue
        if kind == "one":
            return 1, 1
        found = [int(g) if g.isdigit() else words.get(g, 0) for g in match.groups()]
        low = found[0] if kind != "max" else None
        high = found[-1] if kind != "min" else None
        return low, high
    return None


# Sentences

_N = r"(\d+|" + "|".join(IN_SENTENCES) + ")"
_UNIT = r"(?:个句子|句话|句|個句子)"
SENTENCE_PATTERNS = (
    ("exact", rf"exactly:? {_N} (?:topic )?sentences?"),
    ("exact", rf"(?:should|must) contain {_N} sentences?"),
    ("one", r" be a single sentence|consisting of (?:only )?one sentence|in a single sentence"),
    ("min", rf"at least:? {_N} sentences?"),
    ("min", rf"a minimum of {_N} sentences?"),
    ("min", rf"no fewer than {_N} sentences?"),
    ("min", rf"(?:至少|最少)(?:包含)?{_N}{_UNIT}"),
    ("max", rf"at most:? {_N} sentences?"),
    ("max", rf"not exceeding {_N} sentences?"),
    ("max", rf"no (?:more|longer) than {_N} sentences?"),
    ("max", rf"limited to {_N} sentences?"),
    ("max", rf" not exceed {_N} sentences?"),
    ("max", rf"a maximum (?:length )?of {_N} sentences?"),
    ("max", rf"not to exceed {_N} sentences?"),
    ("max", rf"not surpass(?: a total of)? {_N} sentences?"),
    ("max", rf"(?:至多|最多)(?:包含)?{_N}{_UNIT}"),
    ("range", rf"range:? {_N}-{_N} sentences?"),
    ("range", rf"between {_N} (?:and|to) {_N} sentences?"),
    ("range", rf"(?:into|a range of|be composed of|consists? of|consisting of) {_N} to {_N} sentences?"),
    ("range", rf"{_N}到{_N}{_UNIT}"),
)


def sentences(constraint: str, text: str) -> bool:
    """Whether the marks ``.!?`` end as many stretches of text as asked for; a demand that is not read is met."""
    bounds = bounds_of(constraint.lower().strip(), SENTENCE_PATTERNS, IN_SENTENCES)
    count = sum(bool(part.strip()) for part in re.findall(r"[^.!?]*[.!?]", text))
    return bounds is None or within(count, bounds)


# Paragraphs

_P = r"(\d+|" + "|".join(ONES) + ")"
PARAGRAPH_PATTERNS = (
    ("exact", rf"exactly {_P} paragraphs?"),
    ("exact", rf"(?:should|must) contain {_P} paragraphs?"),
    ("one", r"(?:must|should)? be a single paragraph"),
    ("min", rf"at least {_P} paragraphs?"),
    ("min", rf"least: {_P} paragraphs?"),
    ("min", rf"a minimum of {_P}(?: distinct)? paragraphs?"),
    ("max", rf"at most {_P} paragraphs?"),
    ("max", rf"not exceeding {_P} paragraphs?"),
    ("max", rf"no more than {_P} paragraphs?"),
    ("max", r"最多(?:分为)?(\d+|一|两|二|三|四|五|六|七|八|九|十)个段落"),
    ("range", r"range (\d+)-(\d+) paragraphs?"),
    ("range", r"range: (\d+)-(\d+)"),
    ("range", r"between (\d+) (?:and|to) (\d+) paragraphs?"),
    ("range", r"(\d+) to (\d+) paragraphs?"),
)


def paragraphs(constraint: str, text: str) -> bool:
    """Whether blank lines part as many paragraphs as asked for; a demand that is not read is not met."""
    bounds = bounds_of(constraint.lower(), PARAGRAPH_PATTERNS, SMALL | CHINESE)
    return bounds is not None and within(sum(bool(part.strip()) for part in text.split("\n\n")), bounds)


# Words

_RANGE = r"([a-z0-9-– ]+?)"
_TOKEN = r"(\b[a-z0-9-–]+\b)"
_UP_TO = r"(?=\s*word|$|\b)"
WORD_RANGES = (
    rf"between\s+{_RANGE}\s+to\s+{_RANGE}{_UP_TO}",
    rf"between\s+{_RANGE}\s+and\s+{_RANGE}{_UP_TO}",
    rf"range:?\s*{_RANGE}\s+to\s+{_RANGE}{_UP_TO}",
    rf"range:?\s*{_RANGE}\s*[-–]\s*{_RANGE}{_UP_TO}",
    rf"{_TOKEN}\s+to\s+{_TOKEN}{_UP_TO}",
    rf"{_TOKEN}\s*[-–]\s*{_TOKEN}{_UP_TO}",
    r"([0-9]+)\s*到\s*([0-9]+)(?=\s*个|字)",
)
LEAST_WORDS = r"(?:at\s+least|minimum\s+of|minimum\s+length\s+of|no\s+less\s+than)\s+(\S+)\s+word"
MOST_WORDS = (
    r"(?:not\s+exceed|not\s+exceeding|not\s+surpass|at\s+most|no\s+more\s+than|maximum\s+of|maximum\s+length\s+of"
    r"|no\s+longer\s+than|limit\s+of|within|within\s+a)\s+(\S+)\s+word",
    r"(?:最多)([0-9]+)(?:个|字)",
    r"(?:在)([0-9]+)\s*(?:个单词以内|个字以内|字以内|单词以内|词以内|字)",
)
LEAST_SENTENCES = r"(?:at\s+least|minimum\s+of)\s+(\S+)\s+sentence"
MOST_SENTENCES = r"(?:not\s+exceed|at\s+most|no\s+more\s+than|maximum\s+of|maximum\s+length\s+of|no\s+longer\s+than)\s+(\S+)\s+sentence"


def words(constraint: str, text: str) -> bool:
    """Whether the response has as many words (Chinese: characters), and the sentences and keywords that it names."""
    if re.search(r"\beach\b", constraint, re.IGNORECASE):
        return words_of_each(constraint, text)
    asked = re.sub(r"\s+", " ", constraint.lower().strip('"').strip()).replace("-word", " word")
    asked = asked.replace("a total of ", "").replace("words", "word").replace("a single", "exactly one").strip()
    han = re.findall(HAN, text)
    count, marks = len(han) or len(text.split()), len(re.findall(r"[.!?]+", text))
    exact = re.search(r"exactly\s+([a-z0-9-, ]+?)\s+(\S+)", asked)
    if exact is not None and (wanted := spelled(exact[1])) is not None:
        return count == wanted

    low: int | None = None
    high: int | None = None
    for pattern in WORD_RANGES:  # a range that is half a number still leaves that half behind
        if (match := re.search(pattern, asked)) is not None:
            low, high = spelled(match[1]), spelled(match[2])
            if low is not None and high is not None:
                low, high = min(low, high), max(low, high)
                break
    if low is None:
        low = _number_in(asked, LEAST_WORDS)
    for pattern in MOST_WORDS:
        if high is None:
            high = _number_in(asked, pattern)
    named = [match[1] for match in re.finditer(r"[\"']([^\']*)[\"']", asked)]
    if not all(_occurrences(keyword, text) for keyword in named):
        return False
    least, most = _number_in(asked, LEAST_SENTENCES), _number_in(asked, MOST_SENTENCES)
    return within(count, (low, high)) and within(marks, (least, most))


def _number_in(text: str, pattern: str) -> int | None:
    match = re.search(pattern, text)
    return None if match is None else spelled(match[1])


EACH_WORDS = (
    ("range", r"between (\d+) and (\d+) words"),
    ("range", r"range: (\d+)-(\d+) words"),
    ("min", r"at least (\d+) words"),
    ("min", r"a minimum (?:length )?of (\d+) words"),
    ("max", r"at most (\d+) words"),
    ("exact", r"exactly (\d+) words"),
    ("max", r"no more than (\d+) words"),
    ("max", r"not exceed (\d+) words"),
    ("max", r"a maximum (?:length )?of (\d+) words"),
    ("max", r"limit of (\d+) words"),
    ("max", r"not exceeding (\d+) words"),
    ("max", r"less than (\d+) words"),
)
TARGET = (
    r"(?:each entry in the|each|the)\s+(.+?)\s+"
    r"(?:is|in the table|column|must|consists of|contains?|should|have)"
)
NUMBERED, BULLET = r"\s*\d+\.\s+", r"\s*[-*] "


def words_of_each(constraint: str, text: str) -> bool:
    """Whether each element (cell, value, list item or line) has as many words; without a bound or element, not."""
    if re.search(r"each word must be", constraint, re.IGNORECASE):
        match = re.search(rf"must be (at most|at least) \b({'|'.join(ONES)}|\d+)\b characters", constraint.lower())
        if match is None or not match[2].isdigit():
            return False
        bounds = (None, int(match[2])) if match[1] == "at most" else (int(match[2]), None)
        return all(within(len(word), bounds) for word in text.split(" "))
    asked = re.sub(
        r"\b(" + "|".join(NUMBERS) + r")\b", lambda m: str(NUMBERS[m[0].lower()]), constraint, flags=re.IGNORECASE
    )
    found = re.search(TARGET, asked, re.IGNORECASE)
    target = None if found is None else re.sub("[\"']", "", found[1].lower())
    wanted = bounds_of(asked.lower(), EACH_WORDS, NUMBERS)
    elements = [] if wanted is None else _elements(text, target)
    return bool(elements) and all(within(len(element.split()), wanted or (None, None)) for element in elements)


def _form(text: str) -> str:
    if re.match(r"\s*[{\[]", text):
        return "json"
    if re.search(r"^\s*\|.+\|", text, re.MULTILINE):
        return "table"
    if re.match(NUMBERED, text):
        return "numbered"
    return "bullet" if re.match(BULLET, text) else "plain"


def _elements(text: str, target: str | None) -> list[str]:
    form, lines = _form(text), text.split("\n")
    if form == "table":
        return _cells(lines, target or "cells")
    if form == "json":
        data = _json(text)
        if not isinstance(data, dict) or target is None:
            return []
        return [str(v) for v in data.values()] if "entry" in target else [str(data.get(target.split()[-1], ""))]
    if form == "numbered":
        return [_after(_after(line, ":"), ".").strip() for line in lines if re.match(NUMBERED, line)]
    if form == "bullet":
        return [line.split(" ", 1)[1].strip() for line in lines if re.match(BULLET, line)]
    stripped = [line.strip() for line in lines]
    return [
        line.lstrip("#").strip()
        for line in stripped
        if line and not line.strip("*#'\"").endswith(":") and not re.match(r"^\|.*\|$", line)
    ]


def _after(text: str, mark: str) -> str:
    return text.split(mark, 1)[-1]


def _cells(lines: Sequence[str], target: str) -> list[str]:
    """Return the cells of the columns that ``target`` names a part of, else every cell with the rules between them."""
    rule = "<TitleSplit>"
    cells: list[str] = []
    for line in (line.strip() for line in lines):
        if line.startswith("|"):
            is_rule = re.match(r"^[\s|*-]+$", line)
            cells += [rule] if is_rule else [cell.strip() for cell in line[1:-1].split("|") if cell.strip()]
    split = cells.index(rule) if rule in cells else len(cells)
    headers, data = cells[:split], [cell for cell in cells[split + 1 :] if cell != rule]
    if not headers:
        return []
    width = len(headers)
    rows = [data[i : i + width] for i in range(0, len(data), width)]
    pairs = [pair for row in rows if len(row) == width for pair in dict(zip(headers, row, strict=True)).items()]
    named = [cell for header, cell in pairs if header.lower() != cell.lower() and target in header.lower()]
    return named or cells


# Keywords

TIMES = {"once": 1, **SMALL, "twice": 2}


def keywords(constraint: str, text: str) -> bool:
    """Whether the response has the quoted keywords as whole words, as often as asked, or avoids them."""
    if re.search(r"\b(each|every)\b", constraint, re.IGNORECASE) and "for each word" not in constraint:
        asked = re.search(
            r"\b(?:each|every)\s+(.+?)\s+(?:must|should|needs to|has to)\s+(.*)", constraint, re.IGNORECASE
        )
        elements = [] if asked is None else _parts(text, asked[1].lower())
        return asked is not None and bool(elements) and all(_keywords(asked[2], element) for element in elements)
    quoted = r"s?\s+the\s+keyword\s+[\"']([^\"']+)[\"']"
    include = re.search("include" + quoted, constraint, re.IGNORECASE)
    avoid = re.search("avoid" + quoted, constraint, re.IGNORECASE)
    if include is not None and avoid is not None:
        return include[1] in text and avoid[1] not in text
    return _keywords(constraint, text)


def _keywords(constraint: str, text: str) -> bool:
    asked = constraint.strip()
    while re.match(r'^"+(.*[^"])"+$', asked):
        asked = re.sub(r'^"+(.*[^"])"+$', r"\1", asked)
    found = text.split()
    if re.search(r"must\s+use\s+capitalized\s+letters\s+for\s+each\s+word", asked, re.IGNORECASE) and not all(
        word[0].isupper() for word in found
    ):
        return False
    if re.search(r"must\s+end\s+with\s+(a\s+)?period", asked, re.IGNORECASE) and not text.strip().endswith("."):
        return False
    low, high = (
        _count_in(asked, pattern)
        for pattern in (
            r"(?:at\s+least|minimum\s+of)\s+(\S+)\s+word",
            r"(?:not\s+exceed|at\s+most|no\s+more\s+than|maximum\s+of)\s+(\S+)\s+word",
        )
    )
    if re.search(r"is\s+a\s+single\s+word", asked, re.IGNORECASE):
        low = high = 1
    if not within(len(found), (low, high)):
        return False
    if re.search(r"(avoid\s+using\s+(the\s+)?term|must\s+be\s+avoided)", asked, re.IGNORECASE):
        quoted = re.search(r"[\"']([^\"']+)[\"']", asked)
        return quoted is None or not _occurrences(quoted[1], text)
    least = 1
    times = re.search(
        rf"at least (\d+|{'|'.join(TIMES)})(?:\s+times?)?\b(?!\s+words\s+long)", asked, re.IGNORECASE
    )  # fmt: skip
    if times is not None:
        least = int(times[1]) if times[1].isdigit() else TIMES.get(times[1].lower(), 1)
    if re.search(r"must appear multiple times", asked, re.IGNORECASE):
        least = 2
    doubled = re.findall(r'["”]{2}([^"“]+)["“]{2}', asked)
    named = doubled or re.findall(r"[\"'「“]([^\"']+)[\"'」”]", asked)
    met = [_occurrences(keyword, text) >= least for keyword in named]
    return any(met) if re.search(r"\bOR\b", asked, re.IGNORECASE) else all(met)


def _count_in(text: str, pattern: str) -> int | None:
    match = re.search(pattern, text, re.IGNORECASE)
    return None if match is None else spelled(match[1], TIMES)


def _occurrences(keyword: str, text: str) -> int:
    """Count a keyword: Chinese anywhere, others as whole words whatever their case."""
    if any("\u4e00" <= char <= "\u9fff" for char in keyword):
        return len(re.findall(re.escape(keyword), text))
    return len(re.findall(rf"(?<!\w){re.escape(keyword)}(?!\w)", text, re.IGNORECASE))


def _parts(text: str, target: str) -> list[str]:
    """Return the elements that a demand on each one is about: a column's cells, values, items or sections."""
    form, lines = _form(text), text.split("\n")
    if form == "table":
        return _column(lines, target)
    if form == "json":
        data = _json(text)
        return [str(value) for value in (data.values() if isinstance(data, dict) else data or ())]
    if form == "numbered":
        return [line.split(".", 1)[1].strip() for line in lines if re.match(NUMBERED, line)]
    if form == "bullet":
        return [line.split(" ", 1)[1].strip() for line in lines if re.match(BULLET, line)]
    sections: list[list[str]] = [[]]
    for line in lines:
        mark = line.strip()
        if len(mark) >= 3 and mark[0] in "-*=" and set(mark) == {mark[0]}:
            sections.append([])
        else:
            sections[-1].append(line)
    return ["\n".join(section).strip() for section in sections if section] or [text]


def _column(lines: Sequence[str], target: str) -> list[str]:
    """Return the cells of the column whose header shares most words with ``target``, else of the wordiest one."""
    table = [line for line in map(str.strip, lines) if line.startswith("|") and line.endswith("|")]
    if len(table) < 3:
        return []
    headers = [cell.strip() for cell in table[0].split("|")[1:-1]]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    data = [dict(zip(headers, row, strict=True)) for row in rows if len(row) == len(headers)]
    if not headers or not data:
        return []

    def plain(text: str) -> list[str]:
        return [word for word in (re.sub(r"\W", "", part).lower() for part in text.split()) if word]

    def clean(cell: str) -> str:
        return re.sub(r"^#+\s*", "", cell).strip()

    wanted = set(plain(target))
    shared = [sum(word in wanted for word in plain(header)) for header in headers]
    best = headers[shared.index(max(shared))]
    if max(shared) == 0:
        best = max(dict.fromkeys(headers), key=lambda h: sum(len(clean(row[h]).split()) for row in data) / len(data))
    return [clean(row[best]) for row in data]


# Punctuation

MARKS = {"period": ".", "question mark": "?", "exclamation mark": "!", "semicolon": ";"}
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def punctuation(constraint: str, text: str) -> bool:
    """Whether the response, or each sentence, paragraph, cell or list item of it, ends with a mark that is named."""
    asked, whole = constraint.strip().lower().rstrip("."), text.strip()
    if "paragraph" in asked or "section" in asked:
        pieces = [line.strip() for line in whole.split("\n") if line.strip()]
    elif any(word in asked for word in ("each", "any", "all")):
        pieces = punkt_sentences(whole)
    else:
        pieces = [whole]
    if "table" in asked or "cell" in asked:
        rows = whole.split("\n")
        cells = [cell.strip() for row in (rows[2:] if len(rows) > 1 else rows) for cell in _split_row(row)]
        pieces = [cell for cell in cells if cell.strip("-")]
    if "bullet point" in asked:
        mark = next((mark for name, mark in MARKS.items() if name in asked), None)
        items = re.findall(r"^[\-\*\•]\s.*$", whole, re.MULTILINE)
        ends = [sentence.strip() for item in items for sentence in punkt_sentences(item)]
        return all(end.endswith(mark) if mark else end[-1:] in PUNCTUATION for end in ends)
    negative = re.search(r"\b(must not|avoid|exclude|not end with|do not use)\b", asked) is not None
    if not all(pieces):
        return negative
    special = re.search(r"(period|question mark|exclamation mark|semicolon)\s+followed by a `([^`]+)`", asked)
    if special is not None:
        return all(piece.endswith(MARKS[special[1]] + special[2]) for piece in pieces)
    named = re.findall(
        r"\b(periods?|question marks?|exclamation marks?|semicolons?|punctuation marks?)\b", asked
    )  # fmt: skip
    names = [name.rstrip("s") for name in named]
    allowed = list(PUNCTUATION) if "punctuation mark" in names else [MARKS[name] for name in names]
    return all((piece[-1] in allowed) != negative for piece in pieces)


def _split_row(row: str) -> list[str]:
    return [cell for cell in re.split(r"\s*\|\s*", row.strip("|")) if cell.strip()]


# Language


def english(constraint: str, text: str) -> bool:
    """Whether the words are in the case that is asked for; of a table, JSON or headings only these are looked at."""
    asked = constraint.strip().lower()
    if not text.strip():
        return False
    if re.search(r"\ball[- ]?uppercase\b", asked) or "in capitalized form" in asked:
        wanted: Callable[[str], bool] = lambda part: part == part.upper()  # noqa: E731
    elif (
        any(
            phrase in asked
            for phrase in (
                "capitalize the first letter of each word", "capitalized letters for each word", "each word in",
                "have each word capitalized", "each word must be capitalized",
            )
        )
        or re.search(r"\bcapitalized\b", asked)
        or ("capital" in asked and "each" in asked)
    ):  # fmt: skip
        wanted = lambda part: not any("a" <= word[0] <= "z" for word in part.split())  # noqa: E731
    elif re.search(r"\blowercase\b", asked):
        wanted = lambda part: part == part.lower()  # noqa: E731
    else:
        return "written as a short blurb" in asked
    return wanted(_looked_at(asked, text))


def _looked_at(asked: str, text: str) -> str:
    if "headings" in asked and "table" in asked:
        return _table_text(text, "all")
    if "table" in asked:
        part = next((p for p in ("header", "entries", "content", "headings") if p in asked), "all")
        return _table_text(text, {"headings": "header"}.get(part, part))
    if "json" in asked:
        pattern = {"keys": r'"([^"]+)"\s*:', "values": r':\s*"([^"]+)"'}
        part = next((p for p in pattern if p in asked), "")
        found = re.findall(pattern[part], text) if part and "{" in text and "}" in text else []
        return " ".join(found) or text
    headings = " ".join(re.findall(r"^#+\s*(.+)$", text, re.MULTILINE))
    return headings if headings and "heading" in asked else text


def _table_text(text: str, part: str) -> str:
    rows = [row.strip() for row in text.split("\n") if row.strip()]
    if "|" not in text or not rows:
        return text
    chosen = {"header": rows[:1], "entries": rows[1:]}.get(part, rows)
    if not chosen:
        return text
    return " ".join(cell.strip() for row in chosen for cell in row.split("|") if cell.strip())


def chinese(constraint: str, text: str) -> bool:
    """Whether the response has characters that only simplified, or only traditional, Chinese writes (``zhconv``).

    Raises:
        MissingPackage: ``zhconv`` is not installed.
    """
    if importlib.util.find_spec("zhconv") is None:
        raise MissingPackage("zhconv is not installed; run `pip install 'adhere[muldimif]'`")
    from zhconv import convert

    phrase = re.search(r'Must include the phrase "{1,2}(.+?)"{1,2}', constraint, re.IGNORECASE)
    if phrase is not None:
        return phrase[1] in text
    latin = re.search(r"[A-Za-z]", text) is not None
    if re.search(r"Must (?:use|convert into|be converted into) Traditional Chinese char", constraint, re.IGNORECASE):
        return not latin and convert(text, "zh-tw") == text
    if re.search(r"(?:include|use) .*?Traditional Chinese characters|使用繁體中文", constraint, re.IGNORECASE):
        return any(convert(char, "zh-cn") != char for char in text)
    if re.search(r"Must translate the text into Simplified Chinese", constraint, re.IGNORECASE):
        return not latin and convert(text, "zh-cn") == text
    if re.search(r"Simplified|(?:用|使用|提供|书写|翻译为) ?简体中文|用中文简体描述", constraint, re.IGNORECASE):
        return any(convert(char, "zh-tw") != char for char in text)
    return False


# Markdown

_L = rf"(\b(?:{'|'.join(ONES)}|\d+)\b)"
_VERBS = (
    "include|includes|included|including|use|using|used|uses|formatted|presented|organized|structured|feature"
    "|should be|incorporate"
)
_ANY_HEADING = (
    "include headings", "includes headings", "use heading levels", "using heading levels",
    "presented under a separate heading", "separated with headings", "with headings",
)  # fmt: skip
Heading = tuple[int, str]
Rule = Callable[[Sequence[Heading]], bool]


def markdown(constraint: str, text: str) -> bool:
    """Whether the headings have the levels, numbers and titles asked for, and there is the quote, bold text or list."""
    lower = constraint.lower()
    if "block quotes" in lower and not _block_quotes(lower, text):
        return False
    if "bold" in lower and not re.search(r"(\*\*.*?\*\*|__.*?__)", text):
        return False
    if "bullet points" in lower and not re.search(r"^\s*[-\*\+]\s", text, re.MULTILINE):
        return False
    headings = [
        (len(match[1]), match[2].strip())
        for line in text.split("\n")
        if (match := re.match(r"^(#+)\s+(.*?)\s*$", line.strip()))
    ]
    rules = [rule for clause in re.split(r"\b(?:,)\b", constraint) if (rule := _heading_rule(clause, lower))]
    if "each" in lower or "any" in lower:
        return bool(headings) and all(rule([heading]) for heading in headings for rule in rules)
    return all(rule(headings) for rule in rules)


def _has_levels(levels: Iterable[int | None]) -> Rule:
    wanted = set(levels)
    return lambda headings: bool(headings) and wanted <= {level for level, _ in headings}


def _heading_rule(clause: str, whole: str) -> Rule | None:
    if "include headings at two levels: main and subheadings" in whole or (
        "be structured with a main heading and subheadings" in whole
    ):
        return _has_levels({1, 2})
    if "include a single level 1 heading" in whole:
        return lambda headings: [level for level, _ in headings].count(1) == 1
    if "be structured using a minimum of two heading levels" in whole or "include headings at two levels" in whole:
        return lambda headings: len({level for level, _ in headings}) >= 2
    if "employing '##' for main points and '###' for subpoints" in whole:
        return _has_levels({2, 3})
    two = re.search(rf"(?i)use heading levels {_L} and {_L}", clause) or re.search(
        rf"(?i)use heading levels.*?level\s*{_L}.*?level\s*{_L}", clause
    )
    if two is not None:
        return _has_levels(_level(two[i]) for i in (1, 2))
    several = (
        re.findall(rf"(?i)a heading level {_L}", clause)
        or re.findall(r"(?i)H(\d+)", clause)
        or re.findall(rf"(?i)Level {_L} for", clause)
    )
    if several and ("must include" in clause or "should" in clause):
        return _has_levels(map(_level, several))
    if "titled" in clause:
        titled = re.search(rf"(?i)level {_L} heading titled [\"'](.*?)[\"']", clause.strip().rstrip("."))
        if titled is not None:
            wanted = (_level(titled[1]), titled[2])
            return lambda headings: wanted in headings
    clause = clause.strip().lower().rstrip(".")
    if re.search(_VERBS, clause):
        one = re.search(rf"(?:a|at least \d+) heading level {_L}", clause) or re.search(
            rf"(?:a|at least one|two|three|four|five|six|seven|eight|nine|ten|\d+) level {_L} heading", clause
        )
        if one is not None:
            level = _level(one[1])
            return lambda headings: any(found == level for found, _ in headings)
        counted = re.search(
            rf"(at least|at most|exactly|up to|a maximum of|under) {_L} (?:heading )?levels?", clause
        )  # fmt: skip
        if counted is not None:
            count, kind = _level(counted[2]), counted[1]
            bounds = {"at least": (count, None), "exactly": (count, count)}.get(kind, (None, count))
            return lambda headings: within(len({level for level, _ in headings}), bounds)
    limit = re.search(rf"(?:heading levels)? must (?:not exceed|be limited to)\s+(?:level\s+)?{_L}", clause)
    if limit is not None:
        highest = _level(limit[1]) or 0
        return lambda headings: bool(headings) and all(level <= highest for level, _ in headings)
    begins = re.search(rf"must begin with a level {_L} heading", clause)
    if begins is not None:
        first = _level(begins[1])
        return lambda headings: bool(headings) and headings[0][0] == first
    used = re.search(rf"use heading level {_L}", clause)
    if used is not None:
        level = _level(used[1])
        return lambda headings: any(found == level for found, _ in headings)
    return bool if any(phrase in whole for phrase in _ANY_HEADING) else None


def _level(word: str) -> int | None:
    word = word.strip().lower()
    return int(word) if word.isdigit() else SMALL.get(word)


def _block_quotes(lower: str, text: str) -> bool:
    quoted = sum(line.strip().startswith(">") for line in text.split("\n"))
    if "at least" in lower:
        count = re.search(rf"{_L} block quotes", lower)
        return count is not None and quoted >= (_level(count[1]) or 0)
    asked = ("use block quotes", "using block quotes", "include a block quote", "employ block quotes")
    if any(p in lower for p in (*asked, "using markdown block quotes", "present the headline as a block quote")):
        return quoted > 0
    return quoted == len(text.split("\n"))


# Tables

_T = rf"(\d+|\b(?:{'|'.join((*ONES, *TEENS, *TENS))})\b)"


def _table_patterns(unit: str) -> tuple[tuple[str, str], ...]:
    one, many = f"{unit}s?", f"{unit}s"
    shared = (
        ("exact", rf"exactly\s+{_T}\s+{one}"),
        ("max", rf"no\s+more\s+than\s+{_T}\s+{one}"),
        ("max", rf"not\s+have\s+more\s+than\s+{_T}\s+{one}"),
        ("max", rf"not\s+exceed\s+{_T}\s+{one}"),
        ("max", rf"not\s+exceeding\s+{_T}\s+{one}"),
        ("max", rf"{unit}\s+limit\s+of\s+{_T}"),
    )
    rows = (("exact", rf"{_T}\s+{one}\s+must\s+be\s+included"),) if unit == "row" else ()
    both = (("exact", rf"exactly\s+.+and {_T}\s+{one}"),)
    columns = (("exact", rf"in\s+{_T}\s+{many}"),) if unit == "column" else ()
    most = (("max", rf"not exceed\s+.+and {_T}\s+{one}"),)
    if unit == "row":
        most += (("max", rf"a maximum of\s+{_T}\s+{many}"),)
    else:
        most += (("max", rf"maximum(?: of)?\s+{_T}\s+{many}"), ("max", rf"at most\s+{_T}\s+{many}"))
    rest = (
        ("max", rf"limited to\s+{_T}\s+{many}"),
        ("max", rf"a maximum of\s+.+and {_T}\s+{one}"),
        ("max", rf"limit the number of {many} to\s+{_T}"),
        ("max", rf"limit it to\s+{_T}\s+{many}"),
        ("max", rf"limit the table to\s+{_T}\s+{many}"),
        ("max", rf"the number of {many} in each table does not exceed\s+{_T}"),
    )
    single = (("one", r"(?:a|each) single column"),) if unit == "column" else ()
    return (*shared, *rows, *both, *columns, *most, *rest, *single)


ROWS, COLUMNS = _table_patterns("row"), _table_patterns("column")
OPTIONAL = (
    r"if you (include|use|utilize|incorporate|present) (a |any )?(tables?|tabular data)",
    r"if you (decide|choose|opt) to (use|include|incorporate|present|utilize) (a |any )?(tables?|tabular data)",
    r"if (a |any )?(tables?|tabular data|table format) (is|are) (used|included|utilized|incorporated|presented|chosen)",
    r"if there (is|are) (a |any )?(tables?|tabular data|table format) "
    r"(used|included|utilized|incorporated|presented|chosen)",
)


def table(constraint: str, text: str) -> bool:
    """Whether the text between the first and the last bar has the rows, columns and headers asked for."""
    asked = constraint.lower()
    if "|" not in text:
        return "table" not in asked or any(re.search(pattern, asked, re.DOTALL) for pattern in OPTIONAL)
    block = re.search(r"(\|.*\|)", text, re.DOTALL)
    lines = [line.strip() for line in (block[1] if block else "").split("\n") if line.strip()]
    if "markdown" in asked and not any(line.startswith("|") for line in lines):
        return False
    rows, columns = bounds_of(asked, ROWS, NUMBERS), bounds_of(asked, COLUMNS, NUMBERS)
    if "single column" in asked:
        columns = (1, 1)
    body = len(lines) - (2 if len(lines) > 1 and "---" in lines[1] else 1)
    if rows is not None and not within(body, rows):
        return False
    if columns is not None and not (lines and within(len(lines[0].split("|")) - 2, columns)):
        return False
    headers = [cell.strip().lower() for cell in lines[0].split("|")[1:-1]] if lines else []
    quoted = [name for part in re.findall(r'"([^"]+)"', asked) if (name := part.strip().rstrip(",").strip())]
    if "columns for" in asked and quoted:
        return bool(lines) and all(any(name in h or h in name for h in headers) for name in quoted)
    listed = re.search(r"columns:\s+([\w\s,']+)", asked) or re.search(r"columns?\s+should\s+be\s+([\w\s,]+)", asked)
    # The official code splits at each of the letters of "and" too.
    named = [] if listed is None else [part.strip("'\" ") for part in re.split(r"[,、，和and]", listed[1])]
    wanted = [name for name in named if name] or quoted
    return not wanted or (bool(lines) and all(any(name in header for header in headers) for name in wanted))


# JSON, XML and the rest

_J = r"(\d+|two|three)"
NESTING = {
    "exact": (
        rf"exactly {_J} levels?", rf"nesting levels? (?:of|must be) {_J}", rf"be limited to {_J} levels of nesting",
    ),
    "max": (
        rf"not exceed {_J} levels?", rf"no more than {_J} levels?", rf"maximum of {_J} (?:object )?(?:nesting )?levels",
        rf"not exceeding {_J}", rf"levels must not exceed {_J}", rf"and at most {_J}",
    ),
    "min": (rf"at least {_J} levels?", rf"and at least {_J}"),
}  # fmt: skip


def nesting(constraint: str, text: str) -> bool:
    """Whether the response, or the block marked as JSON in it, is JSON that nests as deep as asked for."""
    asked = re.sub(r"[^\w\s]", "", constraint.lower())
    values = {
        kind: [n for pattern in patterns for found in re.findall(pattern, asked) if (n := spelled(found)) is not None]
        for kind, patterns in NESTING.items()
    }
    block = re.search(r"```json(.*?)```", text, re.DOTALL)
    data = _json(block[1].strip() if block else text)
    if data is None or not any(values.values()):
        return False
    depth = _depth(data)
    if values["exact"]:
        return depth == values["exact"][0]
    return within(depth, (max(values["min"], default=None), min(values["max"], default=None)))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _depth(data: Any) -> int:
    inner = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    return 1 + max(map(_depth, inner)) if inner else 0


def other_format(constraint: str, text: str) -> bool:
    """Decide the few demands on XML attributes, lists, quotes and length; what is not known is not met."""
    asked = constraint.lower()
    for kind, pattern in (
        ("max", rf"no more than {_P} attributes?"),
        ("max", rf"must not exceed {_P}(?:.*)?attributes?"),
        ("exact", rf"number of attributes must be exactly {_P}"),
        ("exact", rf"must (?:have|include) exactly {_P} attributes?"),
        ("min", rf"at least {_P} attributes?"),
    ):
        if (bounds := bounds_of(asked, [(kind, pattern)], SMALL)) is not None:
            return _attributes(text, bounds)
    if "no bullet points" in asked:
        return not re.search(r"^\s*[-*]", text, re.MULTILINE)
    if "listed as bullet points" in asked or "structured as bullet points" in asked:
        return bool(re.search(r"^\s*[-*]", text, re.MULTILINE))
    if "block quotes format" in asked or "be formatted in block quotes" in asked:
        return bool(re.search(r"^>", text, re.MULTILINE)) or "<blockquote>" in text.lower()
    rows = bounds_of(
        asked,
        [("max", rf"no more than {_P} rows"), ("max", rf"a table, which is limited to a maximum of {_P} rows")],
        SMALL,
    )
    if rows is not None:
        found = [r for r in re.findall(r"^\|.*\|$", text, re.MULTILINE) if not re.match(r"^\|(\s*-+\s*\|)+$", r)]
        return within(len(found), rows) and within(text.lower().count("<tr>"), rows)
    if "full sentences" in asked:
        return True
    return "short blurb" in asked and len(text) <= 200


def _attributes(text: str, bounds: Bounds) -> bool:
    block = re.search(r"```xml(.*?)```", text, re.DOTALL)
    if "```xml" in text and block is None:
        return False
    tags = re.finditer(
        r"<\s*[a-zA-Z_:][\w:.-]*\s*(?:\s+[a-zA-Z_:][\w:.-]*=['\"][^'\"]*['\"])*\s*/?>", block[1] if block else text
    )
    return all(within(len(re.findall(r"\w+=[\"'][^\"']*[\"']", tag[0])), bounds) for tag in tags)


def identifiers(constraint: str, text: str) -> bool:
    """Decide demands on how a response begins; what is not known is not met."""
    start = text.lstrip(" #").lower()
    named = re.match(r"Start identifier( must be|:)(?:.*)?\s'([^']+)'", constraint)
    if named is not None:
        each = "Each example must start with" in constraint
        return named[2] in text if each else start.startswith(named[2].lower())
    begins = re.search(
        r"(?:start|begin|it is essential to start) (?:with|by) the (?:identifier|phrase) '?([^']+)'?",
        constraint,
        re.IGNORECASE,
    )
    if begins is not None:
        return start.startswith(begins[1].lower())
    letter = re.match(r"The name of the showroom must start with the letter '([A-Za-z])'\.", constraint)
    return letter is not None and bool(re.search(rf"\b{letter[1].upper()}[a-zA-Z]*\b", text))


RULES: Mapping[str, Callable[[str, str], bool]] = {
    "Content_Keywords": keywords,
    "Content_Punctuation": punctuation,
    "Content_Identifiers": identifiers,
    "Length_Words": words,
    "Length_Sentences": sentences,
    "Length_Paragraphs": paragraphs,
    "Language_English": english,
    "Language_Chinese": chinese,
    "Format_Table": table,
    "Format_Markdown": markdown,
    "Format_Json": nesting,
    "Format_Others": other_format,
}
"""The rule of each kind; ``kind_of`` brings the data's names to these."""

ALIASES = {
    "Table_Row limit": "Format_Table", "Table_Column limit": "Format_Table", "Table_Table": "Format_Others",
    "Markdown_Heading levels": "Format_Markdown", "Markdown_Block quotes": "Format_Markdown",
    "Json_Object nesting levels": "Format_Json", "Json_Number of attributes": "Format_Json",
    "XML_Number of attributes": "Format_Others", "Format_XML": "Format_Others", "Format_Text": "Format_Others",
    "Format_Blurb": "Format_Others", "Format_Bullet Points": "Format_Others", "References_Format": "Format_Others",
    "Format_Markdown: Block quotes": "Format_Others", "Format_Length": "Format_Others",
    "Punctuation_Ending punctuation": "Content_Punctuation", "Paragraphs_At most": "Length_Paragraphs",
    "Sentences_At most": "Length_Sentences", "Sentences_At least": "Length_Sentences", "Words_At most": "Length_Words",
    "Format_Word Count": "Length_Words", "Content_Length": "Content_Identifiers", "Citations_In-text":
    "Content_Identifiers", "Content_Quotes": "Content_Identifiers", "Content_Sources": "Content_Identifiers",
    "Content_Mention": "Content_Identifiers",
}  # fmt: skip


def kind_of(category: str, kind: str) -> str | None:
    """Return which of ``RULES`` decides a constraint of the data, by its two names; ``None`` where none does."""
    name = f"{category}_{kind}"
    found = ALIASES.get(name) or name.partition(":")[0]
    return found if found in RULES else None
