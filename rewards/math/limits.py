r"""What an answer would cost to compare, from its text only: no clock decides what a hostile answer earns.

Every rule is a count over the text, in linear time, so the same answer gets the same verdict on every machine. The
bounds are far above what data sets hold: all gold answers of GSM8K, MATH and MathIF stay below them.
"""

from __future__ import annotations

import re

MAX_ALGEBRA_CHARS = 500
MAX_NUMERAL = 100
MAX_EXPONENT = 100
MAX_INNER_EXPONENT = 4
MAX_GROUP_EXPONENT = 16
MAX_STACKED_EXPONENT = 1_000
MAX_FACTORIAL = 100
MAX_NESTED = 6
MAX_FUNCTIONS = 12
MAX_SIGNS = 4

_NUMERAL = re.compile(r"\d+")
_POWER = re.compile(r"(?:\^|\*\*)\s*(?:[{(]|(\d+))")
_CHAINED = re.compile(r"[})]?\s*(?:\^|\*\*)\s*[{(\d]")
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_WORK_LEFT = re.compile(r"\\(?:i*int|oint|sum|prod|lim|bigcup|bigcap|bigoplus|coprod|partial|nabla)(?![a-z])")
_BINOMIAL = re.compile(r"\\[td]?binom\s*\{\s*(\d*)[^{}]*\}\s*\{\s*(\d*)[^{}]*\}|\\(?:[td]?binom|choose)(?![a-z])")
_FACTORIAL = re.compile(r"(\d*)\s*([)}\]!]?)\s*!")
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc|log|ln|exp|arc\w+|sinh|cosh|tanh|det|gcd|mod|bmod|pmod)(?![a-z])")
_SIGNS = re.compile(r"\\(?:pm|mp)(?![a-z])")
_NESTING = re.compile(r"\\(?:frac|sqrt)(?![a-z])|[{}]")


def too_expensive(text: str) -> str:
    """Return why ``text`` (canonical) is over a bound of what algebra may cost, or an empty string."""
    if len(text) > MAX_ALGEBRA_CHARS:
        return f"over {MAX_ALGEBRA_CHARS} characters"
    if any(len(match[0]) > MAX_NUMERAL for match in _NUMERAL.finditer(text)):
        return f"a numeral of over {MAX_NUMERAL} digits"
    work = _WORK_LEFT.search(text)
    if work:
        return f"{work[0]} is left to be worked out"
    if _tower(text):
        return f"a power tower or an exponent over {MAX_EXPONENT}"
    if any(_large(match[1], MAX_FACTORIAL) or match[2] for match in _FACTORIAL.finditer(text)):
        return f"a factorial over {MAX_FACTORIAL}! or of an expression"
    if any(_large_binomial(match) for match in _BINOMIAL.finditer(text)):
        return f"a binomial over {MAX_FACTORIAL} or of expressions"
    if _nested(text) > MAX_NESTED:
        return f"fractions and roots nested deeper than {MAX_NESTED}"
    if len(_FUNCTION.findall(text)) > MAX_FUNCTIONS:
        return f"over {MAX_FUNCTIONS} functions"
    if len(_SIGNS.findall(text)) > MAX_SIGNS:
        return f"over {MAX_SIGNS} signs ±"
    return ""


def _large(digits: str, bound: int) -> bool:
    return len(digits) > 8 or int(digits or 0) > bound


def _large_binomial(match: re.Match[str]) -> bool:
    numbers = (match[1], match[2])
    return not all(numbers) or any(_large(digits, MAX_FACTORIAL) for digits in numbers)


def _tower(text: str) -> bool:
    """Whether an exponent is large, is itself built with powers or factorials, or stacks up with others."""
    stacked = 1
    for match in _POWER.finditer(text):
        end = match.end() if match[1] else _group_end(text, match.end())
        exponent = match[1] or text[match.end() : end]
        if "!" in exponent or exponent.count("^") > 1 or _CHAINED.match(text, end):
            return True
        grouped = text[: match.start()].rstrip().endswith((")", "}", "]", "!"))
        bound = MAX_INNER_EXPONENT if "^" in exponent else MAX_EXPONENT
        if grouped and _LETTER.search(text[: match.start()]):
            bound = min(bound, MAX_GROUP_EXPONENT)
        size = 1
        for digits in _NUMERAL.findall(exponent):
            if _large(digits, bound):
                return True
            size *= max(1, int(digits))
        stacked *= size if grouped else 1
        if max(size, stacked) > MAX_STACKED_EXPONENT:
            return True
    return False


def _group_end(text: str, start: int) -> int:
    """Return where the group that was opened before ``start`` closes, or the end of ``text``."""
    depth = 1
    for i in range(start, len(text)):
        depth += (text[i] in "{(") - (text[i] in "})")
        if depth == 0:
            return i
    return len(text)


def _nested(text: str) -> int:
    """Return how deep fractions and roots stand within each other's braces."""
    deepest = depth = 0
    pending = 0
    counted: list[int] = []
    for match in _NESTING.finditer(text):
        if match[0] == "{":
            counted.append(1 if pending else 0)
            depth += counted[-1]
            pending = max(0, pending - 1)
        elif match[0] == "}":
            depth -= counted.pop() if counted else 0
        else:
            pending = 2 if "frac" in match[0] else 1
        deepest = max(deepest, depth)
    return deepest
