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
    "nanometre": "nm nanometer nanometers nanometre nanometres",
    "millimetre": "mm millimeter millimeters millimetre millimetres",
    "centimetre": "cm centimeter centimeters centimetre centimetres",
    "metre": "m meter meters metre metres",
    "kilometre": "km kilometer kilometers kilometre kilometres",
    "inch": "in inch inches",
    "foot": "ft foot feet",
    "yard": "yd yard yards",
    "mile": "mi mile miles",
    "millisecond": "ms millisecond milliseconds",
    "second": "s sec secs second seconds sekunde sekunden",
    "minute": "min mins minute minutes minuten",
    "hour": "h hr hrs hour hours stunde stunden",
    "day": "day days tag tage",
    "week": "week weeks woche wochen",
    "month": "month months monat monate",
    "year": "yr yrs year years jahr jahre",
    "milligram": "mg milligram milligrams milligramm",
    "gram": "g gram grams gramm",
    "kilogram": "kg kilogram kilograms kilogramm",
    "ton": "ton tons",
    "tonne": "tonne tonnes",
    "ounce": "oz ounce ounces",
    "weight pound": "lb lbs pound pounds",
    "litre": "l liter liters litre litres",
    "millilitre": "ml milliliter milliliters millilitre millilitres",
    "gallon": "gal gallon gallons",
    "quart": "qt quart quarts",
    "pint": "pint pints",
    "acre": "acre acres",
    "hectare": "ha hectare hectares",
    "newton": "n newton newtons",
    "joule": "j joule joules",
    "watt": "w watt watts",
    "kilowatt": "kw kilowatt kilowatts",
    "volt": "v volt volts",
    "ampere": "ampere amperes amp amps",
    "ohm": "ohm ohms",
    "hertz": "hz hertz",
    "pascal": "pascal pascals",
    "kelvin": "k kelvin kelvins",
    "celsius": "celsius",
    "fahrenheit": "fahrenheit",
    "mole": "mol mole moles",
    "unit": "unit units",
    "point": "pt pts point points punkt punkte",
    "person": "person persons people",
    "child": "child children",
    "man": "man men",
    "woman": "woman women",
    "mile per hour": "mph",
    "kilometre per hour": "kph kmh",
}
_CANONICAL = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_COMPOUNDS = {"mile per hour": (("mile", 1), ("hour", -1)), "kilometre per hour": (("kilometre", 1), ("hour", -1))}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWERS_AFTER = {"squared": 2, "cubed": 3}
_HARMLESS = {"total", "altogether", "overall", "exactly", "each", "precisely"}

PERCENT = "percent"
_PERCENT = ("%", "percent", "percentage", "pct", "prozent")

_HEDGES = """
    or not maybe perhaps possibly probably likely unlikely approximately approx about around roughly nearly almost
    circa ca unsure uncertain unknown unclear guess guessing guessed estimate estimated assume assuming suppose
    supposedly wrong incorrect false invalid untrue mistaken mistake error incorrectly rejected impossible
    doubtful dubious questionable alternatively otherwise either neither nor unless least most more less fewer greater
    smaller larger below above under over than beyond within between minimum maximum min. max. might may could would
    should if but except without hmm oder nicht vielleicht falsch ungefähr etwa circa mindestens höchstens ou peut-être
    faux quizás tal vez o или может 或 或者 can't cannot isn't wait actually ish so-ish placeholder todo tbd
    nope nah fails failed excluded excluding disproved refuted extraneous discarded upper lower bound bounds max maximal
    minimal optional conjectured expected versus vs
"""
HEDGES = frozenset(_HEDGES.split())
"""Words that take a commitment back, bound it or offer another answer."""

_VALUE_WORDS = """
    and to und et from until through is are was were be no none nothing never pi sqrt sin cos tan cot sec csc log
    ln exp infty mod modulo div times a.m p.m am pm bc ad bce ce minus plus squared cubed doubled tripled halved
    one two three four five six seven eight nine ten eleven twelve twenty half halves third thirds quarter quarters
    fourth fifth tenth tenths hundredth hundredths thousandth dozen dozens score hundred hundreds thousand thousands
    million millions billion billions trillion trillions k bn mn negative positive inverse reciprocal root power base
    factorial remainder correct answer it this that these those there here yes i we you he she they my your our
    what which who how why when where as at by for with true real imaginary complex undefined infinite infinity prime
    rounded up down off upward upwards downward downwards too also instead th st nd rd unverified unconfirmed unproven
    untested contradiction contradictions contradicts contradicted nonsense dne na
    tentative est etc typo oops sorry lol thousandths millionth millionths
    nein falsch inkorrekt falso errado erróneo incorrecto sbagliato
    incorretto erroné incertain peut non no не нет неверно неправильно около примерно
    only just twice thrice double triple hypothetically
"""
_NEVER = HEDGES | frozenset(_VALUE_WORDS.split())
_TEXT = re.compile(r"\\text\s*\{([^{}\d\\]*)\}")
_FRACTION = re.compile(r"\\frac\s*\{\s*(\\text\s*\{[^{}\d\\]*\})\s*\}\s*\{\s*(\\text\s*\{[^{}\d\\]*\})\s*\}")
_UNIT_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|\d))?"
_WORD = r"[^\W\d_](?:[^\W\d_]|['’])*"
_PHRASE = re.compile(rf"{_WORD}{_UNIT_POWER}(?:(?:\s*[./-]\s*|\s*\\cdot\s*|\s+){_WORD}{_UNIT_POWER})*\s*\.?")
_PART = re.compile(rf"(/)|({_WORD})(?:\s*\^\s*\{{?\s*(-?\d)\s*\}}?)?")
_DOTTED = re.compile(r"\(?(?:a\.\s?m|p\.\s?m|b\.\s?c|a\.\s?d|i\.\s?e|e\.\s?g)\.?\)?", re.IGNORECASE)
_NOT_IN_HAN = re.compile("[错誤误不否非或约約无無以]")
_NOT_ADVERBS = {"family", "jelly", "lily", "belly"}
_MAX_WORDS = 6


def read_unit(tail: str) -> str | None:
    """Return the unit that ``tail``, the text after a value, names, or ``None`` where it is not a unit.

    Known units come out in one spelling (``km/h``, ``kilometers per hour``); a word that the tables do not know
    (``apples``) stands for itself, without a plural ending. The result is empty where nothing is left that could
    differ. Outside ``\\text``, a single letter and letters that touch the number (``2abc``) are variables. Words that
    change the value (``million``), bound it (``at most``) or take it back (``incorrect``) are not units.
    """
    apart, tail = tail[:1].isspace(), tail.strip()
    if not tail:
        return ""
    if tail.lower() in _PERCENT:
        return PERCENT
    if tail in _CANONICAL and not tail.isalpha():
        return _CANONICAL[tail]
    flat = _TEXT.sub(r" \1 ", _FRACTION.sub(r"\1/\2", tail)).strip()
    inside = flat != tail
    if _DOTTED.fullmatch(flat):
        return None
    temperature = re.fullmatch(r"\^\\circ\s*\(?([CFcf])\)?", flat)
    if temperature:
        return {"c": "celsius", "f": "fahrenheit"}[temperature[1].lower()]
    if inside and flat in _CANONICAL and not flat.isalpha():
        return _CANONICAL[flat]
    bracketed = flat.startswith("(") and flat.endswith(")")
    flat = flat[1:-1].strip() if bracketed else flat.strip(" .,-")
    if not flat or not _PHRASE.fullmatch(flat):
        return "" if inside and not flat else None
    parts = [(slash, word, power) for slash, word, power in _PART.findall(flat.replace(r"\cdot", " "))]
    words = [word.lower() for _, word, _ in parts if word]
    if words[:1] in (["degree"], ["degrees"]) and words[1:] in (["celsius"], ["fahrenheit"]):
        return words[1]
    kept = [word for word in words if word not in _HARMLESS]
    known = all(word in _CANONICAL or word == "per" or word in _POWERS or word in _POWERS_AFTER for word in kept)
    if len(words) > _MAX_WORDS or (bracketed and not (known and inside)):
        return None
    if any(len(word) == 1 and word.lower() not in _CANONICAL for _, word, _ in parts):
        return None
    # Small k is a thousand, and a capital one is a kelvin.
    if any(word == "k" for _, word, _ in parts) or _NOT_IN_HAN.search(flat):
        return None
    if not known and any(_changes_value(words, at) for at in range(len(words))):
        return None
    if words[0] in _POWERS_AFTER or words[-1] == "per":
        return None
    if not inside and not (words[0] in _CANONICAL and len(words[0]) > 1) and not (apart and _is_word(words[0])):
        return None
    if kept and kept[0] in _PERCENT:
        return PERCENT
    return _one_spelling(parts, known)


def _changes_value(words: list[str], at: int) -> bool:
    word = words[at]
    if word in _CANONICAL:
        return False
    if word in _POWERS_AFTER:
        return at == 0 or words[at - 1] not in _CANONICAL
    return (
        word in _NEVER
        or word.replace("’", "'").endswith("n't")
        or (word.endswith("ly") and word not in _NOT_ADVERBS and word not in _HARMLESS)
    )


def _one_spelling(parts: list[tuple[str, str, str]], known: bool) -> str:
    """Return the factors of a unit with their powers: sorted where all are known, in order otherwise."""
    powers: dict[str, int] = {}
    sign, divide, ahead, last = 1, False, 1, ""
    for slash, written, exponent in parts:
        word = written.lower()
        if slash:
            divide = True
        elif word == "per":
            sign = -1
        elif word in _POWERS:
            ahead = _POWERS[word]
        elif word in _POWERS_AFTER and last:
            powers[last] *= _POWERS_AFTER[word]
        elif word not in _HARMLESS and not (word == "in" and not known):
            power = (-1 if divide else sign) * ahead * int(exponent or 1)
            name = _CANONICAL.get(word, "")
            if not name:
                # The plural of a word is the same word; the case of a short symbol tells mW from MW.
                singular = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
                name = f"'{singular}" if len(word) > 3 else f"'{written}"
            for factor, times in _COMPOUNDS.get(name, ((name, 1),)):
                powers[factor] = powers.get(factor, 0) + times * power
                last = factor
            divide, ahead = False, 1
    named = [name if power == 1 else f"{name}^{power}" for name, power in powers.items() if power]
    return " ".join(sorted(named) if known else named)


def _is_word(text: str) -> bool:
    """Whether letters form a word; ``abc`` and ``p-q`` are products of variables."""
    return len(text) > 2 and text not in string.ascii_lowercase
