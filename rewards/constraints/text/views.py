"""Views of a response: its mathematics and code masked, its LaTeX commands removed, only its prose.

All of them run in linear time: openers are paired with closers in one pass, never searched for again and again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

MASK = "\ufffc"
"""Stands for one masked formula, box or piece of code."""

Span = tuple[int, int]

_DELIMITER = re.compile(r"(?:\\\\)+|\\[\[\]()$]|\\(?:begin|end)[ ]?\{[^{}\n]{1,40}\}|\$+|`+")
_END = re.compile(r"\\end[ ]?\{[^{}\n]{1,40}\}")
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{", re.IGNORECASE)
_BRACE = re.compile(r"(?<!\\)\\{1,4}(?:boxed|fbox)\s{0,4}\{|\\[\\{}]|[{}]", re.IGNORECASE)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)[ ]?\{[^{}\n]{1,40}\}", re.IGNORECASE)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LETTER = r"[^\W\d_]"
_HIDDEN_PROSE = re.compile(rf"(?<!{_LETTER}){_LETTER}{{2,}}+(?:\s++{_LETTER}{{2,}}+){{2,}}")


def math_spans(text: str) -> list[Span]:
    """Return where formulas, environments and code stand, in order and disjoint.

    Inline spans end on their own line, and a ``$`` before a digit never closes one, so prices stay prose. An
    opener without a closer is ordinary text.
    """
    if not any(mark in text for mark in "$`\\"):
        return []
    ends = {match.group(): match.start() for match in _END.finditer(text)}
    last = ends | {closer: text.rfind(closer) for closer in ("$", "$$", "\\]", "\\)", "`", "```")}
    spans: list[Span] = []
    start, closer, limit, line_end = 0, "", len(text), -1
    for token in _DELIMITER.finditer(text):
        at = token.start()
        if closer and at > limit:
            closer = ""
        kind = _kind(token.group())
        if closer:
            if kind == closer and not (kind == "$" and text[at + 1 : at + 2].isdigit()):
                spans.append((start, token.end()))
                closer = ""
            continue
        wanted = _closer(kind)
        if wanted and last.get(wanted, -1) > at:
            start, closer, limit = at, wanted, len(text)
            if wanted in ("$", "`", "\\)"):
                if at > line_end:
                    found = text.find("\n", at)
                    line_end = found if found >= 0 else len(text)
                limit = line_end
    return spans


def _kind(token: str) -> str:
    if token[0] == "$":
        return token[:2]
    if token[0] == "`":
        return "```" if len(token) > 2 else "`"
    return token


def _closer(opener: str) -> str:
    if opener.startswith("\\begin"):
        return "\\end" + opener[len("\\begin") :]
    return {"\\[": "\\]", "\\(": "\\)"}.get(opener, opener if opener[0] in "$`" else "")


def boxed_spans(text: str) -> list[Span]:
    r"""Return where the outermost ``\boxed{...}`` and ``\fbox{...}`` stand, whatever their case, in order.

    Up to four backslashes are read as one: a JSON string doubles them.
    """
    if "\\" not in text or not _BOX.search(text):
        return []
    stack: list[int] = []
    spans: list[Span] = []
    for token in _BRACE.finditer(text):
        word = token.group()
        if word == "}":
            start = stack.pop() if stack else -1
            if start >= 0:
                while spans and spans[-1][0] > start:
                    spans.pop()
                spans.append((start, token.end()))
        elif word[-1] == "{" and word != "\\{":
            stack.append(token.start() if len(word) > 1 else -1)
    return spans


def exempt_spans(text: str) -> list[Span]:
    """Return the union of ``math_spans`` and ``boxed_spans``, merged where they overlap, in order."""
    if not any(mark in text for mark in "$`\\"):
        return []
    merged: list[Span] = []
    for start, end in sorted(math_spans(text) + boxed_spans(text)):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def edit_outside(text: str, spans: list[Span], edit: Callable[[str], str]) -> str:
    """Apply ``edit`` to what lies outside ``spans``, piece by piece."""
    pieces, at = [], 0
    for start, end in spans:
        pieces += [edit(text[at:start]), text[start:end]]
        at = end
    return "".join([*pieces, edit(text[at:])])


def masked(text: str, spans: list[Span]) -> str:
    """Replace every span by ``MASK``."""
    if not spans:
        return text
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], MASK]
        at = end
    return "".join([*pieces, text[at:]])


def layout(text: str) -> str:
    """Return ``text`` with formulas and code masked and LaTeX commands removed; its lines stay lines."""
    return without_commands(masked(text, math_spans(text)))


def without_commands(text: str) -> str:
    r"""Remove LaTeX commands and ``\begin{...}``/``\end{...}``; their arguments stay."""
    return _COMMAND.sub(" ", _ENVIRONMENT.sub(" ", text)) if "\\" in text else text


def prose(text: str) -> str:
    r"""Return the sentences of ``text``: no formulas, boxes, code or LaTeX commands.

    Three or more words of two letters or more in a row stay prose wherever they stand, so nobody hides sentences in
    ``$\text{...}$``.
    """
    pieces, at = [], 0
    for start, end in exempt_spans(text):
        hidden = _HIDDEN_PROSE.findall(without_commands(text[start:end]))
        pieces += [text[at:start], " ", *(f"{run} " for run in hidden)]
        at = end
    return without_commands("".join([*pieces, text[at:]]))


def visible(text: str) -> str:
    """Return what readers see words in: compatibility forms folded, invisible characters and LaTeX commands removed."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if not folded.isascii():
        for hidden in (c for c in set(folded) if not c.isascii() and unicodedata.category(c) == "Cf"):
            folded = folded.replace(hidden, "")
    return without_commands(folded)


def blank(text: str) -> bool:
    """Whether nothing in ``text`` can be seen: only white space and invisible format characters."""
    return not text[:1].isalnum() and all(c.isspace() or unicodedata.category(c) == "Cf" for c in text)


def has_content(text: str) -> bool:
    """Whether ``text`` holds a letter, a digit or a masked formula."""
    return text[:1].isalnum() or any(c.isalnum() or c == MASK for c in text)


def edit_boxes(text: str) -> str:
    """Return ``text`` without the white space inside its boxes, so that cutting at white space keeps them whole."""
    pieces, at = [], 0
    for start, end in boxed_spans(text):
        pieces += [text[at:start], "".join(text[start:end].split())]
        at = end
    return "".join([*pieces, text[at:]])
