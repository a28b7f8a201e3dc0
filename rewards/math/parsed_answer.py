"""Read a canonical answer into a value that can be compared exactly, as far as that goes without algebra."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from adhere.rewards.math.number_words import in_digits
from adhere.rewards.math.units import read_unit

Kind = Literal["list", "set", "bracket", "union", "matrix", "row"]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number and the canonical name of its unit (empty where it has none).

    ``places`` counts the decimals of a number that was written with a decimal point, else it is ``None``.
    """

    value: Fraction
    unit: str = ""
    places: int | None = field(default=None, compare=False)

    @property
    def latex(self) -> str:
        """The number as LaTeX, without its unit."""
        if self.places is not None:
            return format(Decimal(self.value.numerator) / Decimal(self.value.denominator), "f")
        sign, value = "-" if self.value < 0 else "", abs(self.value)
        if value.denominator == 1:
            return f"{sign}{value.numerator}"
        return f"{sign}\\frac{{{value.numerator}}}{{{value.denominator}}}"


@dataclass(frozen=True, slots=True)
class Based:
    """A numeral written in a base, as ``2516_8``; numerals of different bases never compare equal."""

    digits: str
    base: int

    @property
    def latex(self) -> str:
        """The numeral as LaTeX."""
        return f"{self.digits}_{{{self.base}}}"


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words (``\\text{Evelyn}``, ``(C)``), case folded."""

    text: str

    @property
    def latex(self) -> str:
        """The words as they stand."""
        return self.text


@dataclass(frozen=True, slots=True)
class Group:
    """Several values: a bare list, a set, a pair of brackets (tuple or interval), a union or a matrix."""

    kind: Kind
    items: tuple[Value, ...]
    latex: str
    brackets: str = ""


@dataclass(frozen=True, slots=True)
class Expression:
    """Anything that needs algebra to be compared."""

    latex: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What is not one number, with a unit behind it: ``3\\sqrt{5}\\text{ cm}``."""

    value: Value
    unit: str

    @property
    def latex(self) -> str:
        """The value as LaTeX, without its unit."""
        return self.value.latex


@dataclass(frozen=True, slots=True)
class Option:
    """A choice with its text: ``\\text{(C)} 12``. Either may stand for both."""

    label: Words
    value: Value

    @property
    def latex(self) -> str:
        """The text of the choice as LaTeX."""
        return self.value.latex


Value = Number | Based | Words | Group | Expression | Measured | Option

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:[ ]\d{3})+|\d+)(?:\.\d*)?|\.\d+"
_NUMBER = re.compile(
    rf"""
    (?P<sign>[+-]?)\s*(?P<currency>[$€£¥]?)\s*(?P<sign2>[+-]?)\s*
    (?:
        (?:(?P<whole>\d+)\s*)?\\frac\s*\{{\s*(?P<top>-?\d+)\s*\}}\s*\{{\s*(?P<bottom>-?\d+)\s*\}}
      | (?P<whole2>\d+)\s+(?P<top2>\d+)\s*/\s*(?P<bottom2>\d+)
      | (?P<left>{_DIGITS})\s*/\s*(?P<right>{_DIGITS})
      | (?P<power>\d+)\s*\^\s*(?:\{{\s*(?P<exponent>\d{{1,4}})\s*\}}|(?P<exponent2>\d))
      | (?P<plain>{_DIGITS})
        (?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{{\s*(?P<ten>[+-]?\d{{1,3}})\s*\}}|(?P<ten2>-?\d{{1,3}}))
          |[eE](?P<ten3>[+-]?\d{{1,3}}))?
    )
    (?P<tail>.*)
    """,
    re.VERBOSE,
)
_MAX_POWER_BITS = 8_192
_BASED = re.compile(r"([0-9A-Z]+)\s*_\s*(?:\{\s*(\d{1,9})\s*\}|(\d{1,9}))")
_CHOICE = re.compile(r"\(?\s*(?:\\text\s*\{\s*)?(?:(?i:option|choice|answer)\s+)?\(?\s*([A-Za-z])\s*\)?\s*\}?\s*\)?")
# "\\text{(C)} 12", "(C) 12" and "C: 12"; "(a)(b)" and "(a) - b" are products and differences.
_OPTION = re.compile(
    r"(?:\\text\s*\{\s*\(?\s*([A-Ha-h])\s*[.):]?\s*\}[\s.:)~]*"
    r"|\(\s*([A-Ha-h])\s*\)\s*(?![-+=^_])(?:\s|(?=\d|\\text))|([A-Ha-h])\s*[:.)]\s*)"
    r"(?=[^\s.:,;])([^=^_<>,;].*)"
)
# An option's own text may say "at least 5" or "cannot be determined"; this is the answerer's doubt.
_DOUBTED = re.compile(
    r"\?|(?i:\b(?:maybe|perhaps|possibly|probably|likely|guess|guessing|unsure|not sure|wrong|incorrect|i think)\b"
    r"|\bnot\s*\}?\s*(?=[-\d\\]))"
)
_NEXT_OPTION = re.compile(r"\(\s*[A-Ha-h]\s*\)|(?<![A-Za-z\\])[A-Ha-h]\s*[:.)]|\\text\s*\{\s*\(?[A-Ha-h]\s*[.):]?\s*\}")
_SHORT = """yes no odd even tie all none one two six ten red blue sun mon tue wed thu fri sat may jun jul
nein ja oui non sí si sim не да нет"""
_SHORT_WORDS = frozenset(_SHORT.split())
_NAMED_WORD = re.compile(r"[A-Z][a-z]{2}|[A-Z]{3,}")
_WRAPPED = re.compile(r"\\text\s*\{([^{}]*)\}")
_WORD = re.compile(r"[^\W\d_]{2,}[ '-]+[^\W\d_]{2,}|[^\W\d_]{3,}")
_NOT_WORDS = re.compile(
    r"[=^_\\+*/<>,;|(\[{]|\b(?:sin|cos|tan|cot|sec|csc|log|ln|sqrt|exp|pi|theta|infty|frac)\b|^[^\W\d_]{1,3}$"
)
_REALS = re.compile(
    r"(?:\\mathbb\s*(?:R|\{\s*R\s*\})|\\text\s*\{\s*(?i:(?:all\s+|the\s+)*(?:real numbers|reals))\s*\}"
    r"|(?i:all real numbers))"
    r"(?:\s*(?:\\setminus|\\backslash|-)\s*\\\{(?P<holes>[^{}]*)\\\})?"
)
_EMPTY_SETS = (r"\varnothing", r"\emptyset", r"\{\}")
_NO_SOLUTION = re.compile(
    r"(?:there\s+(?:is|are)\s+)?no\s+(?:real\s+|such\s+)?(?:solutions?|roots?|values?)(?:\s+exists?)?|none|(?:the\s+)?(?:empty|null)\s+set",
    re.IGNORECASE,
)
"""What says in words that nothing solves the problem."""
_REPEATING = re.compile(r"(?P<sign>-?)(?P<whole>\d*)\.(?P<once>\d*)\\overline\s*\{(?P<again>\d+)\}(?P<tail>.*)")
_ARTICLE = re.compile(r"^(?:a|an|the|ein|eine|der|die|das)\s+")
_MATHS = re.compile(r"[\d\\^+-]|^\w$")
_MATRIX = re.compile(r"\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_TEXT_UNIT = r"\\text\s*\{[^{}\d]*\}\s*(?:\^\s*\{?\s*-?\d\s*\}?)?"
_TRAILING_UNIT = re.compile(
    rf"(?:\s*{_TEXT_UNIT}(?:\s*(?:/|\\cdot)?\s*{_TEXT_UNIT}){{0,3}}|\s*\\frac\s*\{{\s*{_TEXT_UNIT}\}}\s*\{{\s*{_TEXT_UNIT}\}}"
    r"|\s+(?:square|sq\.?|cubic|cu\.?)?\s*(?:mm|cm|km|inches|feet|ft|meters?|centimeters?|units?|kg|degrees|radians|miles|hours|minutes|seconds)"
    r"(?:\s*\^\s*\{?\d\}?)?|\s*\^\\circ)\s*$"
)
_NAME = r"(?:[A-Za-z]|\\(?!sum|prod|int|lim|frac|sqrt)[a-z]+)(?:_\{?\w+\}?)?(?:\(\s*[A-Za-z]\s*\))?"
_ASSIGNMENT = re.compile(rf"({_NAME})\s*=\s*([^=<>]+)")
_REVERSED = re.compile(rf"([-+.\d\s]*|[-+]?\s*\\(?:frac|sqrt)\s*[^a-zA-Z=<>]+)=\s*({_NAME})")
_MEMBERSHIP = re.compile(rf"({_NAME})\s*\\in(?![a-z])\s*(.+)")


def split_name(text: str) -> tuple[str, str]:
    """Cut ``x = 5`` or ``x \\in [0, 1]`` into name and value; the name is empty where there is none."""
    match = _ASSIGNMENT.fullmatch(text) or _MEMBERSHIP.fullmatch(text)
    if match is None and (reverse := _REVERSED.fullmatch(text)):
        return reverse[2], reverse[1].strip()
    return (match[1], match[2].strip()) if match and not re.search(r"\\(?:le|ge|ne)(?![a-z])", match[2]) else ("", text)


@lru_cache(maxsize=16_384)
def read(text: str) -> Value:
    """Read ``text``, an answer in canonical form."""
    reals = _REALS.fullmatch(text)
    value = _read_reals(text, reals["holes"]) if reals else _read_scalar(text)
    if value is not None:
        return value
    matrix = _MATRIX.fullmatch(text)
    if matrix:
        rows = [row.split("&") for row in matrix[2].split(r"\\") if row.strip()]
        if not rows or any(len(row) != len(rows[0]) for row in rows):
            return Expression(text)
        return Group(
            "matrix", tuple(Group("row", tuple(read(c.strip()) for c in row), "&".join(row)) for row in rows), text
        )
    unions = split_top(text, r"\cup")
    if len(unions) > 1:
        return Group("union", tuple(read(part) for part in unions), text)
    parts = split_top(text, ",")
    if len(parts) > 1 and all(parts):
        return Group("list", _items(parts), text)
    group = _read_brackets(text)
    if group is not None:
        return group
    if text.count(r"\pm") == 1 and r"\mp" not in text:
        left, right = (part.strip() for part in text.split(r"\pm"))
        return Group("list", _items([f"{left} + {right}".lstrip(" +"), f"{left} - {right}".strip()]), text)
    return Expression(text.lstrip("+$€£ ") or text)


def _read_reals(text: str, holes: str | None) -> Value:
    """Read all real numbers, or all but those in ``holes``, as one interval or a union of them."""
    values = [read(hole) for hole in split_top(holes, ",")] if holes is not None else []
    if not all(isinstance(value, Number) for value in values):
        return Expression(text)
    ordered = sorted((value for value in values if isinstance(value, Number)), key=lambda value: value.value)
    ends: list[Value] = [Words(r"-\infty"), *(end for value in ordered for end in (value, value)), Words(r"\infty")]
    parts = tuple(Group("bracket", pair, text, "()") for pair in zip(ends[::2], ends[1::2], strict=True))
    return parts[0] if len(parts) == 1 else Group("union", parts, text)


def algebraic_parts(value: Value) -> list[str]:
    """Return the LaTeX of each part of ``value`` that can be compared only by algebra."""
    if isinstance(value, Measured | Option):
        return algebraic_parts(value.value)
    if isinstance(value, Expression):
        return [value.latex]
    return [part for item in value.items for part in algebraic_parts(item)] if isinstance(value, Group) else []


def read_number(text: str) -> Number | None:
    """Read ``text`` as one exact rational number with an optional unit, or return ``None``."""
    repeating = _REPEATING.fullmatch(text)
    if repeating:
        unit = read_unit(repeating["tail"])
        if unit is None:
            return None
        once, again = repeating["once"], repeating["again"]
        start = Fraction(int((repeating["whole"] + once) or 0), 10 ** len(once))
        exact = start + Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(once))
        return Number(-exact if repeating["sign"] else exact, unit)
    match = _NUMBER.fullmatch(text)
    unit = read_unit(match["tail"]) if match else None
    if match is None or unit is None:
        return None
    value = _number_value(match)
    if value is None:
        return None
    if match["currency"] and not unit:
        unit = str(read_unit(match["currency"]))
    negative = (match["sign"] == "-") != (match["sign2"] == "-")
    places = None
    if "." in text[: match.start("tail")]:
        decimals = match["plain"].partition(".")[2] if match["plain"] else ""
        places = max(0, len(decimals) - int(match["ten"] or match["ten2"] or match["ten3"] or 0))
    return Number(-value if negative else value, unit, places)


def split_top(text: str, separator: str) -> list[str]:
    """Split ``text`` at each ``separator`` that stands outside all brackets."""
    parts, depth, start, i = [], 0, 0, 0
    while i < len(text):
        if depth == 0 and text.startswith(separator, i):
            parts.append(text[start:i].strip())
            i += len(separator)
            start = i
            continue
        depth += (text[i] in "([{") - (text[i] in ")]}")
        i += 1
    return [*parts, text[start:].strip()]


def _read_scalar(text: str) -> Value | None:
    number = read_number(text)
    if number is not None:
        return number
    plain = _WRAPPED.sub(r" \1 ", text).strip()
    if text[:1].isalpha() or text.startswith(r"\text"):
        spoken = in_digits(plain)
        number = read_number(spoken) if spoken is not None else None
        if number is not None:
            return number
    if text in _EMPTY_SETS or _NO_SOLUTION.fullmatch(" ".join(plain.split()).rstrip(".")):
        return Group("set", (), _EMPTY_SETS[0])
    based = _BASED.fullmatch(text)
    if based:
        base = int(based[2] or based[3])
        if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in based[1]):
            return Words(text)  # not a numeral of any base: equal to the same text only
        return Number(Fraction(int(based[1]))) if base == 10 else Based(based[1], base)
    choice = _CHOICE.fullmatch(text)
    if choice:
        return Words(choice[1].casefold())
    option = _OPTION.fullmatch(text)
    if option and not _NEXT_OPTION.search(option[4]) and not _DOUBTED.search(option[4]):
        return Option(Words((option[1] or option[2] or option[3]).casefold()), read(option[4].strip()))
    if text.casefold() in _SHORT_WORDS or _NAMED_WORD.fullmatch(text):
        return Words(text.casefold())
    if text.lstrip("+-") == r"\infty":
        return Words(text.lstrip("+"))
    measured = _TRAILING_UNIT.search(text) if len(split_top(text, ",")) == 1 else None
    if measured:
        bare, unit = text[: measured.start()].strip(), read_unit(measured[0])
        if unit is not None and _MATHS.search(bare):
            value = read(bare)
            return Measured(value, unit) if unit and not isinstance(value, Measured) else value if not unit else None
    if plain != text and read_number(plain) is not None:
        return read_number(plain)
    if _WRAPPED.fullmatch(text) or (_WORD.search(plain) and not _NOT_WORDS.search(plain)):
        return Words(_ARTICLE.sub("", " ".join(plain.split()).strip("().").casefold()))
    return None


def _number_value(match: re.Match[str]) -> Fraction | None:
    group = match.groupdict()
    top, bottom = group["top"] or group["top2"], group["bottom"] or group["bottom2"]
    whole = group["whole"] or group["whole2"]
    if top:
        if int(bottom) == 0 or (whole and int(top) < 0):
            return None
        return Fraction(int(whole or 0)) + Fraction(int(top), int(bottom))
    if group["left"]:
        divisor = _decimal(group["right"])
        return _decimal(group["left"]) / divisor if divisor else None
    if group["power"]:
        exponent = int(group["exponent"] or group["exponent2"])
        small = int(group["power"]).bit_length() * exponent <= _MAX_POWER_BITS
        return Fraction(int(group["power"]) ** exponent) if small else None
    ten = group["ten"] or group["ten2"] or group["ten3"]
    return _decimal(group["plain"]) * Fraction(10) ** int(ten or 0)


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _items(parts: list[str]) -> tuple[Value, ...]:
    """Read the members of a list or set; a member such as ``1 \\pm 2`` adds both of its values."""
    values: list[Value] = []
    for part in parts:
        value = read(split_name(part)[1])
        values.extend(value.items if isinstance(value, Group) and value.kind == "list" else [value])
    return tuple(values)


def _read_brackets(text: str) -> Group | Value | None:
    if text.startswith(r"\{") and text.endswith(r"\}"):
        parts = split_top(text[2:-2], ",")
        return Group("set", _items(parts) if parts != [""] else (), text)
    if len(text) < 3 or text[0] not in "([" or text[-1] not in ")]" or not _one_pair(text):
        return None
    parts = split_top(text[1:-1], ",")
    if len(parts) == 1:
        return read(parts[0]) if text[0] == "(" and text[-1] == ")" else None
    return Group("bracket", tuple(read(split_name(part)[1]) for part in parts), text, text[0] + text[-1])


def _one_pair(text: str) -> bool:
    """Whether the first bracket is closed by the last character."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if depth == 0:
            return i == len(text) - 1
    return False
