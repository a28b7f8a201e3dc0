"""One spelling for an answer: LaTeX without decoration, ASCII digits, lower-case commands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from decimal import Decimal

from adhere.rewards.math.number_words import HUNDRED_AND

MAX_CHARS = 2_000
MAX_DEPTH = 40

_UNICODE = {
    "−": "-", "–": "-", "﹣": "-", "－": "-", "＋": "+", "＝": "=", "，": ",", "．": ".", "（": "(",
    "）": ")", "［": "[", "］": "]", "％": "%", "：": ":", "。": ".", "×": r"\times ", "·": r"\cdot ",
    "⋅": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "π": r"\pi ", "∞": r"\infty ", "θ": r"\theta ",
    "°": r"^\circ ", "±": r"\pm ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ",
    "∩": r"\cap ", "∈": r"\in ", "≈": r"\approx ", "ℤ": r"\mathbb{Z}", "∨": r"\lor ", "∧": r"\land ",
    "＞": ">", "＜": "<", "⩽": r"\le ", "⩾": r"\ge ", "√": r"\sqrt ", "∛": r"\sqrt[3] ", "\u00a0": " ",
    "\u2009": " ", "\u202f": " ", "“": '"', "”": '"', "„": '"',
    "‘": "'", "’": "'", "\u200b": "", "\ufeff": "",
}  # fmt: skip
_TABLE = str.maketrans(_UNICODE)

_JOINERS = r"and/or|and|or|und|oder|et|ou|или|и|和|或者|或|と|または|그리고|또는|và|hoặc"
_FUNCTIONS = r"sin|cos|tan|cot|sec|csc"

# Pattern and replacement, in order, and a text without which the pattern cannot match: most answers hold few of them.
_STEPS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str], str], ...] = tuple(
    (re.compile(pattern), replacement, *(needle or ("",)))
    for pattern, replacement, *needle in (
        (r"\\(?:boxed|fbox)(?=\s*\{)", "", "box"),
        (r"</?answer>", "", "answer>"),
        (
            r"\\(?:displaystyle|textstyle|left|right|[bB]igg?[lrm]?|limits"
            r"|(?:bf|rm|it|sf|tt)(?!\s*\{)|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])",
            "",
        ),
        (r"^(?:\\therefore|\\Rightarrow|\\implies|=)\s*(?=[^\s=])", ""),
        # {x | 1 < x < 3}: what is said of x
        (
            r"^\\\{\s*[a-zA-Z]\s*(?:\\in\s*(?:\\mathbb\s*\{?\s*R\s*\}?|R)\s*)?(?:\\mid(?![a-zA-Z])|[:|])"
            r"(?=.*(?:[<>]|\\[lgn]eq?(?![a-z])))(.+)\\\}$",
            r"\1",
            r"\{",
        ),
        (
            r"(?:^|(?<=\\cup)\s*)([\[\]])([^\[\](){},]+,[^\[\](){},]+)([\[\]])(?=\s*(?:$|\\cup))",
            lambda m: _interval(m),
            ",",
        ),
        (
            r"\\(?:mbox|mathrm|textbf|textit|textrm|textnormal|textup|emph|mathbf|mathit|mathsf|textsf|texttt|mathtt|operatorname\*?|bf|rm)\s*(?=\{)",
            r"\\text",
        ),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", "frac"),
        (r"\\lbrace(?![a-zA-Z])", r"\\{", "lbrace"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}", "rbrace"),
        (r"\\langle(?![a-zA-Z])", "(", "langle"),
        (r"\\rangle(?![a-zA-Z])", ")", "rangle"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])", r"\\le", "leq"),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])", r"\\ge", "geq"),
        (r"\\neq(?![a-zA-Z])", r"\\ne", "neq"),
        (r"\\simeq(?![a-zA-Z])", r"\\approx", "simeq"),
        (r"\\log\s*_\s*(?:e(?![a-z])|\{\s*e\s*\})", r"\\ln ", "log"),
        (r"\\[lr]vert(?![a-zA-Z])|\\mathopen\s*\||\\mathclose\s*\|", "|", "v"),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z])|\\degree)|\\degrees?(?![a-zA-Z])", r"^\\circ "),
        (r"(?<=[\d)}])\s*\\text\s*\{\s+e\s+\}\s*(?=[-\d(\\])", ",", "text"),
        (r"\\text\s*\{\s*(e|i|\\pi)\s*\}", r"\1 ", "text"),
        (rf"\\text\s*\{{\s*({_FUNCTIONS}|ln|log)\s*\}}", r"\\\1 ", "text"),
        (r"\\text\s*\{\s*([0-9A-F]+)\s*\}(?=\s*_)", r"\1", "text"),
        (r"^\\text\s*\{\s*exactly\s*\}\s*(?=[^\s])", "", "exactly"),
        (
            r"(?<![\w.\\])(\d+(?:\.\d+)?)\s*(\\text\s*\{)?\s*(thousand|million|billion)(?![a-z])",
            lambda m: _scaled(m),
            "n",
        ),
        (r"\\text\s*\{\s*,\s*\}", ",", "text"),
        (
            r"\\text\s*\{\s*(?i:(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+)?ans(?:wer)?\s*(?:is|:|=)?\s*:?)\s*\}"
            r"\s*[=:]?\s*(?=.)",
            "",
            "text",
        ),
        (r"^(\\text\s*\{)?\s*(?i:(?:the\s+)?(?:final\s+)?answer\s*(?:is\b|:|=))\s*:?\s*(?=.)", r"\1", "nswer"),
        (rf"\\text\s*\{{\s*,?\s*(?:{_JOINERS}|y|o|e)\s*,?\s*\}}", ",", "text"),
        (HUNDRED_AND.pattern, r"\1 ", "and"),
        (rf"(?<=[\w)}}$,\s])(?:\s|\\q?quad|\\[,;: ])+(?:{_JOINERS})(?:\s|\\q?quad|\\[,;: ])+(?=[\w({{\\$-])", ", "),
        (r",(?:\s|\\q?quad(?![a-zA-Z])|\\[;: ])*,", ",", ","),
        (r"_\s*\{\s*([a-z])\s*=\s*", r"_{\1=", "="),
        (r"\{,\}", ",", ","),
        (r",\s*\\!\s*", ",", "!"),
        (r"\\!", "", "!"),
        (r"(?<!\\)\\(?:[,;: ]|q?quad(?![a-zA-Z]))|~", " "),
        (r";", ",", ";"),
        (r"\\%", "%", "%"),
        (r"\\[dt]binom(?![a-zA-Z])", r"\\binom", "binom"),
        (r"\{\s*([^{}]+?)\s*\\choose(?![a-zA-Z])\s*([^{}]+?)\s*\}", r"\\binom{\1}{\2}", "choose"),
        (r"^([^{}\\]+?)\s*\\choose(?![a-zA-Z])\s*([^{}\\]+)$", r"\\binom{\1}{\2}", "choose"),
        (r"\\sqrt\s*(\d+|[a-zA-Z])(?![\d.])", r"\\sqrt{\1}", "sqrt"),
        (r"\\sqrt\s*\(([^()]*)\)(?!\s*[\^{])", r"\\sqrt{\1}", "sqrt"),
        (r"(\\sqrt\[3\])\s*(\d+|[a-zA-Z])", r"\1{\2}", "sqrt[3"),
        # One matrix: an array, or a matrix without brackets, inside a pair of round or square ones.
        (
            r"(?:\(\s*\\begin\{(array|matrix|smallmatrix)\}(?:\s*\{(?:[lcr|\s]|@\{[^{}]*\})*\})?(?P<a>(?:(?!\\begin|\\end).)*)\\end\{\1\}\s*\)"
            r"|\[\s*\\begin\{(array|matrix|smallmatrix)\}(?:\s*\{(?:[lcr|\s]|@\{[^{}]*\})*\})?(?P<b>(?:(?!\\begin|\\end).)*)\\end\{\3\}\s*\])",
            r"\\begin{pmatrix}\g<a>\g<b>\\end{pmatrix}",
            "begin",
        ),
        (r"^\\text\s*\{\s*([A-Z](?:\s*,\s*(?:and\s+)?[A-Z])+)\s*\}$", r"\1", "text"),
        (r"\\hline(?![a-zA-Z])", "", "hline"),
        (r"\\\\\s*\[-?[\d.]+\s*(?:pt|em|ex|mm|cm)\]", r"\\\\", "begin"),
        # 15 degrees inside a function are an angle, not a number with a unit.
        (
            rf"\\({_FUNCTIONS})\s*(\^\s*\{{?\s*-?\d+\s*\}}?)?\s*(?:\(\s*(\d+(?:\.\d+)?)\s*\^\\circ\s*\)"
            rf"|\{{\s*(\d+(?:\.\d+)?)\s*\^\\circ\s*\}}|(\d+(?:\.\d+)?)\s*\^\\circ)",
            r"\\\1\2(\\frac{\3\4\5 \\pi}{180})",
            "circ",
        ),
        # Repeating decimals: dots over the first and the last digit, a bar, round brackets.
        (r"\.(\d*)\\dot\s*\{?\s*(\d)\s*\}?(\d*)\\dot\s*\{?\s*(\d)\s*\}?", r".\1\\overline{\2\3\4}", "dot"),
        (r"\.(\d*)\\dot\s*(?:\{\s*(\d+)\s*\}|(\d))", r".\1\\overline{\2\3}", "dot"),
        (r"\.(\d*)\\(?:bar|overline)\s*(?:\{\s*(\d+)\s*\}|(\d))", r".\1\\overline{\2\3}"),
        (r"(\d\.\d*)\((\d+)\)", r"\1\\overline{\2}", "."),
        # A base in words, in brackets or behind the numeral.
        (r"(?<=[0-9A-F)])\s*_\s*\{?\s*\\text\s*\{\s*(?:base\s*)?([a-z]+)\s*\}\s*\}?", lambda m: _base(m), "text"),
        (r"(?<=[0-9A-F)])\s*_\s*\{\s*(?:base\s*)?([a-z]{3,})\s*\}", lambda m: _base(m), "_"),
        (
            r"_\s*\{\s*(?:\\text\s*\{\s*base\s*\}\s*|base\s*|\(\s*)(\d+)\s*\)?\s*\}|_\s*\{?\s*\\text\s*\{\s*(?:base\s*)?(\d+)\s*\}\s*\}?",
            r"_{\1\2}",
            "_",
        ),
        (r"\\text\s*\{\s*([0-9A-F]+\s*_\s*(?:\{\s*\d+\s*\}|\d))\s*\}", r"\1", "text"),
        (
            r"^\(?([0-9A-F]+)\)?\s*\(?\s*(?:\\text\s*\{\s*(?:in\s+|\()?\s*base\s*\}|(?:in\s+)?base)\s*(\d+)\s*\)?$",
            r"\1_{\2}",
            "base",
        ),
        (r"^\(?([0-9A-F]+)\)?\s*\\text\s*\{\s*(?:in\s+|\()?base\s*-?\s*(\d+)\s*\)?\s*\}$", r"\1_{\2}", "base"),
        (r"^\(([0-9A-F]+)\)\s*_", r"\1_", "_"),
        # Residue classes, and the number of combinations.
        (
            r"\s*\(?\s*(?:\\p?mod(?![a-zA-Z])|\\text\s*\{\s*mod\s*\}|(?<=\()mod\b)"
            r"\s*(?:\{\s*(\w+)\s*\}|(\w+))\s*\)?$",
            r" \\pmod{\1\2}",
            "mod",
        ),
        (
            r"(?<![\w}])(?:\{\s*\}\s*)?[_^]\s*(?:\{\s*(\w+)\s*\}|(\w))\s*(?:C|\\text\s*\{\s*C\s*\})"
            r"\s*_\s*(?:\{\s*(\w+)\s*\}|(\w))",
            r"\\binom{\1\2}{\3\4}",
            "C",
        ),
        # Repeating decimals with dots: one digit, not 0, three times, or a longer block twice; 2.718281828... is e.
        (
            r"(?<![\d.])(?!2\.71828)(\d*\.\d*?)(?:([1-9])\2{2,}|(?=\d*[1-9])(\d{2,}?)\3+)\s*(?:\\[lc]?dots(?![a-zA-Z])|\.{3})",
            r"\1\\overline{\2\3}",
            ".",
        ),
        (r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", "frac"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", "frac"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}", "frac"),
        (r"\s+", " "),
    )
)
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip
_JOINER_BETWEEN = re.compile(r"(?<=[\d)}])\s*(?:和|或者|或|と|または|그리고|또는)\s*(?=[\d({\\-])")
_SUPERSCRIPTS = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|[ⁿⁱ]")
_SUBSCRIPTS = re.compile("[₀₁₂₃₄₅₆₇₈₉]+|[ₙₖ]")
# Commands that only dress what they hold; a struck or hidden text (cancel, phantom) is not dressed but taken away.
_DRESS = re.compile(
    r"\\(?:(?:textcolor|color|colorbox)\s*(?:\[\w*\]\s*)?\{[^{}]*\}|underline|framebox|boldsymbol|bm|mathbin|mathord|ensuremath)(?![a-zA-Z])\s*",
)
_INEQUALITY = re.compile(r"[<>≤≥]|\\(?:leq?|geq?|leqslant|geqslant|lt|gt)(?![a-zA-Z])")
_OR_AND = re.compile(
    r"(?:(?:\\(?:text|mbox|textrm|mathrm)\s*\{[\s,;]*(?:(or|oder|ou|или|and/or)|(and|und|et|и))[\s,;]*\})"
    r"|(?<![\w\\])(?:(or|oder|ou|или)|(and|und|et|и))(?!\w)|\\(?:(lor|vee)|(land|wedge))(?![a-zA-Z]))"
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
    text = answer if answer.isascii() else _ascii(answer)
    text = undo_capitals(text.translate(_TABLE))
    text = re.sub(r"(?:\.\s?){2,}$|…", r"\\ldots ", text.strip())
    text = _undress(_unwrap(text.strip()))
    if _INEQUALITY.search(text):
        # "x < 1 or x > 3" and "x > 1 and x < 3" are different sets, so the words stay apart.
        text = _OR_AND.sub(lambda m: r" \lor " if m[1] or m[3] or m[5] else r" \land ", text)
    for pattern, replacement, needle in _STEPS:
        if needle in text:
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


def _ascii(text: str) -> str:
    """Return ``text`` with ASCII digits, and with small digits and fractions as LaTeX."""
    text = _JOINER_BETWEEN.sub(", ", text)
    text = _SUPERSCRIPTS.sub(lambda m: f"^{{{unicodedata.normalize('NFKC', m[0]).replace('−', '-')}}}", text)
    text = _SUBSCRIPTS.sub(lambda m: f"_{{{unicodedata.normalize('NFKC', m[0])}}}", text)
    chars = []
    for char in text:
        digit = None if char.isascii() else unicodedata.decimal(char, None)
        if digit is None and unicodedata.decomposition(char).startswith("<fraction>"):
            top, _, bottom = unicodedata.normalize("NFKC", char).partition("\u2044")
            char = f"\\frac{{{top}}}{{{bottom}}}" if bottom else char
        chars.append(char if digit is None else str(digit))
    return "".join(chars)


def _undress(text: str) -> str:
    """Return ``text`` without colours and underlines; braces stay where an exponent or an index needs them."""
    if "\\" not in text:
        return text
    while match := _DRESS.search(text):
        start, end = match.span()
        inner = text[end:]
        close = _closing(text, end) if inner.startswith("{") else -1
        if close >= 0 and not text[:start].rstrip().endswith(("^", "_", "}")):
            inner = text[end + 1 : close] + " " * text[close + 1 : close + 2].isalnum() + text[close + 1 :]
        text = text[:start] + inner
        if start == 0:
            text = _unwrap(text)
    return text


def _base(match: re.Match[str]) -> str:
    return f"_{{{_BASES[match[1]]}}}" if match[1] in _BASES else match[0]


def _scaled(match: re.Match[str]) -> str:
    """Return ``1.5 million`` in digits; text behind it stays."""
    value = Decimal(match[1]) * 10 ** {"thousand": 3, "million": 6, "billion": 9}[match[3]]
    return f"{value.normalize():f} {match[2] or ''}"


def _interval(match: re.Match[str]) -> str:
    """Return ``]1, 3]`` as ``(1, 3]``; brackets that open and close as usual stay."""
    if (match[1], match[3]) == ("[", "]"):
        return match[0]
    return ("(" if match[1] == "]" else "[") + match[2] + (")" if match[3] == "[" else "]")


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
