"""One spelling for an answer: LaTeX without decoration, ASCII digits, lower-case commands."""

from __future__ import annotations

import re
import unicodedata

MAX_CHARS = 2_000
MAX_DEPTH = 40

_UNICODE = {
    "−": "-", "–": "-", "﹣": "-", "－": "-", "＋": "+", "＝": "=", "，": ",", "．": ".", "（": "(",
    "）": ")", "［": "[", "］": "]", "％": "%", "：": ":", "。": ".", "×": r"\times ", "·": r"\cdot ",
    "⋅": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "π": r"\pi ", "∞": r"\infty ", "θ": r"\theta ",
    "°": r"^\circ ", "±": r"\pm ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "“": '"', "”": '"', "„": '"',
    "‘": "'", "’": "'", "\u200b": "", "\ufeff": "",
}  # fmt: skip
_TABLE = str.maketrans(_UNICODE)

_STEPS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:boxed|fbox)(?=\s*\{)", ""),
        (r"\\(?:displaystyle|textstyle|left|right|[bB]igg?[lrm]?|limits)(?![a-zA-Z])", ""),
        (
            r"\\(?:mbox|mathrm|textbf|textit|textrm|mathbf|mathit|textsf|operatorname|bf|rm)\s*(?=\{)",
            r"\\text",
        ),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\langle(?![a-zA-Z])", "("),
        (r"\\rangle(?![a-zA-Z])", ")"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le"),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge"),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z])|\\degree)|\\degrees?(?![a-zA-Z])", r"^\\circ "),
        (r"\\text\s*\{\s*,?\s*(?:and|or|und|oder)\s*\}", ","),
        (r"(?<=[\w)}$])\s+(?:and|or|und|oder)\s+(?=[\w({\\$-])", ", "),
        (r",\s*,", ","),
        (r"\{,\}", ","),
        (r",\s*\\!\s*", ","),
        (r"\\!", ""),
        (r"(?<!\\)\\(?:[,;: ]|quad|qquad)(?![a-zA-Z])|~", " "),
        (r"\\%", "%"),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\s+", " "),
    )
)
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:,[0-9]+)*(?:\.[0-9]+)?")
_CAPITAL_COMMAND = re.compile(r"\\([A-Z]{2,})(?![a-z])")
_CAPITAL_ENVIRONMENT = re.compile(r"\\(begin|end)\{([A-Z]+)\}")
_WRAPPERS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    ("**", "**"),
    ("*", "*"),
    ('"', '"'),
    ("`", "`"),
    ("'", "'"),
)
_OPENERS = "$\\*\"`'{"


def undo_capitals(text: str) -> str:
    """Return ``text`` with upper-cased LaTeX commands in lower case: ``\\FRAC{1}{2}`` → ``\\frac{1}{2}``.

    Commands of one letter and mixed ones (``\\Delta``) stay. An all-capitals response cannot tell ``\\Pi``
    from ``\\pi``; the lower-case command is the one that answers use.
    """
    text = _CAPITAL_COMMAND.sub(lambda match: "\\" + match[1].lower(), text)
    return _CAPITAL_ENVIRONMENT.sub(lambda match: f"\\{match[1]}{{{match[2].lower()}}}", text)


def canonical(answer: str) -> str:
    """Return the one spelling of ``answer``: no math delimiters, sizes, quotes, thin spaces, final full stop.

    Digits of every script become ASCII (arXiv 2505.14810 asks for answers in many languages). A dollar sign
    is kept where it is a currency. The value is not touched: ``0.50`` and ``\\frac{2}{4}`` stay what they
    are.
    """
    if _PLAIN_NUMBER.fullmatch(answer):
        return answer
    text = "".join(_ascii_digit(char) for char in answer) if not answer.isascii() else answer
    text = undo_capitals(text.translate(_TABLE))
    text = _unwrap(text.strip())
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return _unwrap(_drop_math_dollars(text).strip())


def nesting(text: str) -> int:
    """Return how deep brackets of any kind are nested in ``text``."""
    deepest = depth = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def _ascii_digit(char: str) -> str:
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)


def _unwrap(text: str) -> str:
    while True:
        before = text
        kept = text.rstrip(" .,;:")
        spaced = kept != text and kept.endswith("\\") and not kept.endswith("\\\\")
        text = (kept[:-1] if spaced else kept).strip()
        if text[:1] not in _OPENERS:
            return text
        for start, end in _WRAPPERS:
            inner = text[len(start) : -len(end)]
            if (
                text.startswith(start)
                and text.endswith(end)
                and len(text) >= len(start) + len(end)
                and start not in inner
            ):
                text = inner.strip()
        if text.startswith("{") and _closing(text, 0) == len(text) - 1:
            text = text[1:-1].strip()
        if text == before:
            return text


def _closing(text: str, start: int) -> int:
    """Return the index of the bracket that closes the one at ``start``, or -1."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i
    return -1


def _drop_math_dollars(text: str) -> str:
    text = text.replace(r"\$", "\0")
    if text.count("$") % 2:
        text = text.replace("$", "\0", 1)
    return text.replace("$", "").replace("\0", "$")
