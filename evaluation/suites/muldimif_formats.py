"""MulDimIF's rules on Markdown, tables, JSON, XML and how a response begins; see ``muldimif_rules``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from adhere.evaluation.suites.muldimif_numbers import (
    NUMBERS,
    ONES,
    SMALL,
    TEENS,
    TENS,
    UP_TO_TEN,
    Bounds,
    bounds_of,
    read_json,
    spelled,
    within,
)

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
    most: tuple[tuple[str, str], ...] = (("max", rf"not exceed\s+.+and {_T}\s+{one}"),)
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


def table_met(constraint: str, text: str) -> bool:
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


def nesting_met(constraint: str, text: str) -> bool:
    """Whether the response, or the block marked as JSON in it, is JSON that nests as deep as asked for."""
    asked = re.sub(r"[^\w\s]", "", constraint.lower())
    values = {
        kind: [n for pattern in patterns for found in re.findall(pattern, asked) if (n := spelled(found)) is not None]
        for kind, patterns in NESTING.items()
    }
    block = re.search(r"```json(.*?)```", text, re.DOTALL)
    data = read_json(block[1].strip() if block else text)
    if data is None or not any(values.values()):
        return False
    depth = _depth(data)
    if values["exact"]:
        return depth == values["exact"][0]
    return within(depth, (max(values["min"], default=None), min(values["max"], default=None)))


def _depth(data: Any) -> int:
    inner = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    return 1 + max(map(_depth, inner)) if inner else 0


def other_format(constraint: str, text: str) -> bool:
    """Decide the few demands on XML attributes, lists, quotes and length; what is not known is not met."""
    asked = constraint.lower()
    for kind, pattern in (
        ("max", rf"no more than {UP_TO_TEN} attributes?"),
        ("max", rf"must not exceed {UP_TO_TEN}(?:.*)?attributes?"),
        ("exact", rf"number of attributes must be exactly {UP_TO_TEN}"),
        ("exact", rf"must (?:have|include) exactly {UP_TO_TEN} attributes?"),
        ("min", rf"at least {UP_TO_TEN} attributes?"),
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
        [
            ("max", rf"no more than {UP_TO_TEN} rows"),
            ("max", rf"a table, which is limited to a maximum of {UP_TO_TEN} rows"),
        ],
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
