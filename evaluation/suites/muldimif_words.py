"""MulDimIF's rules on length, keywords, punctuation and language; see ``muldimif_rules``."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence

from adhere.evaluation.suites.muldimif_numbers import (
    CHINESE,
    IN_SENTENCES,
    NUMBERS,
    ONES,
    SMALL,
    UP_TO_TEN,
    MissingPackage,
    bounds_of,
    read_json,
    spelled,
    within,
)
from adhere.rewards.constraints.text.punkt import sentences as punkt_sentences

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


def sentences_met(constraint: str, text: str) -> bool:
    """Whether the marks ``.!?`` end as many stretches of text as asked for; a demand that is not read is met."""
    bounds = bounds_of(constraint.lower().strip(), SENTENCE_PATTERNS, IN_SENTENCES)
    count = sum(bool(part.strip()) for part in re.findall(r"[^.!?]*[.!?]", text))
    return bounds is None or within(count, bounds)


# Paragraphs

PARAGRAPH_PATTERNS = (
    ("exact", rf"exactly {UP_TO_TEN} paragraphs?"),
    ("exact", rf"(?:should|must) contain {UP_TO_TEN} paragraphs?"),
    ("one", r"(?:must|should)? be a single paragraph"),
    ("min", rf"at least {UP_TO_TEN} paragraphs?"),
    ("min", rf"least: {UP_TO_TEN} paragraphs?"),
    ("min", rf"a minimum of {UP_TO_TEN}(?: distinct)? paragraphs?"),
    ("max", rf"at most {UP_TO_TEN} paragraphs?"),
    ("max", rf"not exceeding {UP_TO_TEN} paragraphs?"),
    ("max", rf"no more than {UP_TO_TEN} paragraphs?"),
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
MOST_SENTENCES = (
    r"(?:not\s+exceed|at\s+most|no\s+more\s+than|maximum\s+of|maximum\s+length\s+of|no\s+longer\s+than)"
    r"\s+(\S+)\s+sentence"
)


HAN = r"[\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\u3000-\u303f\uff00-\uffef]"


def words_met(constraint: str, text: str) -> bool:
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
        data = read_json(text)
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
        data = read_json(text)
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
