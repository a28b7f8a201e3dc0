"""Units that answers carry: which spellings mean the same, so that 5 dollars is not 5 cents."""

from __future__ import annotations

import re
import string

_SPELLINGS = {
    "dollar": "$ usd dollar dollars buck bucks",
    "cent": "¢ cent cents penny pennies",
    "euro": "€ eur euro euros",
    "pound": "£ gbp",
    "yen": "¥ yen",
    "degree": r"^\circ degree degrees deg grad",
    "radian": "rad radian radians",
    "millimetre": "mm millimeter millimeters millimetre millimetres",
    "centimetre": "cm centimeter centimeters centimetre centimetres",
    "metre": "m meter meters metre metres",
    "kilometre": "km kilometer kilometers kilometre kilometres",
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "yard": "yd yard yards",
    "mile": "mi mile miles",
    "second": "s sec second seconds sekunde sekunden",
    "minute": "min minute minutes minuten",
    "hour": "h hr hrs hour hours stunde stunden",
    "day": "day days tag tage",
    "week": "week weeks woche wochen",
    "month": "month months monat monate",
    "year": "yr year years jahr jahre",
    "gram": "g gram grams gramm",
    "kilogram": "kg kilogram kilograms kilogramm",
    "ounce": "oz ounce ounces",
    "weight pound": "lb lbs pound pounds",
    "litre": "l liter liters litre litres",
    "millilitre": "ml milliliter milliliters millilitre millilitres",
    "mile per hour": "mph",
}
_CANONICAL = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}

PERCENT = "percent"
_PERCENT = ("%", "percent", "percentage", "pct", "prozent")
_NEVER = {
    "or", "and", "not", "to", "oder", "und", "pi", "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log",
    "ln", "exp", "infty", "mod", "div", "times", "a.m", "p.m", "am", "pm", "bc", "ad", "minus", "plus", "over",
    "squared", "cubed", "less", "than", "is", "no", "one", "two", "half", "dozen", "hundred", "thousand",
    "million", "billion", "trillion",
}  # fmt: skip
_INSIDE_TEXT = re.compile(r"\\text\s*\{([^{}\d\\]*)\}\s*(?:\^\s*\{?(\d)\}?)?")
_PLAIN = re.compile(r"([A-Za-z]+(?:[ ./-]+[A-Za-z]+)*)\s*(?:\^\s*\{?(\d)\}?)?")


def read_unit(tail: str) -> str | None:
    """Return the unit that ``tail``, the text after a number, names, or ``None`` where it is not a unit.

    The result is empty where there is none or where it is a word that this table does not know (``apples``):
    such a word says nothing against an answer. Outside ``\\text``, a single letter and letters that touch the
    number (``2abc``) are variables. A word that changes the value (``million``, ``minus``) is not a unit.
    """
    apart, tail = tail[:1].isspace(), tail.strip()
    if not tail:
        return ""
    if tail.lower() in _PERCENT:
        return PERCENT
    if tail in _CANONICAL and not tail.isalpha():
        return _CANONICAL[tail]
    inside = _INSIDE_TEXT.fullmatch(tail)
    named = inside or _PLAIN.fullmatch(tail)
    words = named[1].lower().strip(" .-").split() if named else []
    if named is None or _NEVER.intersection(words) or len(words) > 4:
        return None
    if not inside and not (words[0] in _CANONICAL and len(words[0]) > 1) and not (apart and _is_word(words[0])):
        return None
    if words and words[0] in _PERCENT:
        return PERCENT
    unit = _CANONICAL.get(words[0], "") if len(words) == 1 else ""
    return f"{unit}^{named[2]}" if unit and named[2] else unit


def _is_word(text: str) -> bool:
    """Whether letters form a word; ``abc`` and ``p-q`` are products of variables."""
    return len(re.split(r"[^a-z]", text)[0]) > 2 and text not in string.ascii_lowercase
