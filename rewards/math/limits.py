r"""What an answer would cost to compare, from its text only: no clock decides what a hostile answer earns.

Every rule is a count over the text, in linear time, so the same answer gets the same verdict on every machine. The
bounds are far above what data sets hold: all gold answers of GSM8K, MATH and MathIF stay below them. What gets past
them is cut off by the processor time of the worker that compares (:class:`rewards.engine.Engine`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

MAX_ALGEBRA_CHARS = 500
MAX_NUMERAL = 100
MAX_EXPONENT = 100
MAX_INNER_EXPONENT = 4
MAX_GROUP_EXPONENT = 16
MAX_STACKED_EXPONENT = 1_000
MAX_FACTORIAL = 100
MAX_ROOT = 100
MAX_ROOTS = 6
MAX_HIGHER_ROOTS = 2
MAX_NESTED = 6
MAX_NESTED_FUNCTIONS = 3
MAX_FUNCTIONS = 12
MAX_SIGNS = 4
MAX_POWER_DIGITS = 500
MAX_GROUP_DIGITS = 120
MAX_MATRIX_EXPONENT = 4
MAX_EXPANDED = 2_000
MAX_EXPANDED_INSIDE = 6
MAX_MEMBERS = 16
MAX_NAMES = 12

_NUMERAL = re.compile(r"\d+")
_POWER = re.compile(r"(?:\^|\*\*)\s*[-+]?\s*(?:[{(]|(\d+)|(\\[A-Za-z]+\s*(?:\{[^{}]*\}\s*|\[[^\[\]]*\]\s*)*))")
_CHAINED = re.compile(r"[})]?\s*(?:\^|\*\*)\s*[{(\d]")
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
_WORK_LEFT = re.compile(r"\\(?:i*int|oint|sum|prod|lim|bigcup|bigcap|bigoplus|coprod|partial|nabla)(?![a-z])")
_BINOMIAL = re.compile(r"\\(?:[td]?binom|choose|brack|brace)(?![a-z])")
_GROUP = re.compile(r"\s*(?:\{([^{}]*)\}|(\w))")
_SMALL = re.compile(r"\s*(?:\d{1,5}|\d?\d?\s*[A-Za-z]\w?(?:\s*[-+]\s*\d{1,2})?|[A-Za-z]\s*[-+]\s*[A-Za-z])\s*")
_LETTER_BINOMIAL = re.compile(
    r"\\[td]?binom\s*(?:\{[^{}]*\}|\w)?\s*\{?[^{}]*[A-Za-z]|\\(?:choose|brack|brace)(?![a-z])"
)
_FACTORIAL = re.compile(r"([\d,.\s]*)([)}\]!|]?)\s*!")
_SMALL_GROUP = re.compile(rf"(?<!\^)[({{]{_SMALL.pattern}[)}}]$|[A-Za-z]!$")
_FUNCTION = re.compile(
    r"\\(?:sin|cos|tan|cot|sec|csc|log|ln|lg|exp|arc\w+|sinh|cosh|tanh|coth|det|gcd|lcm|mod|bmod|pmod|max|min|Gamma"
    r"|lfloor|lceil|operatorname\s*\{\w*\})(?![A-Za-z])"
)
_APPLICATION = re.compile(
    rf"(?P<function>{_FUNCTION.pattern})|(?P<power>\\(?:left|right)|[\^_]\s*(?:\{{-?\d+\}}|-?\d))|[(){{}}\[\]]|[^\s]"
)
_FUNCTION_OF_GROUP = re.compile(rf"{_FUNCTION.pattern}\s*(?:\^\s*(?:\{{-?\d+\}}|\d)\s*)?[({{]")
_NUMBERED_GROUP = re.compile(r"\(([^()]*[A-Za-z][^()]*)\)\s*\^\s*(?:\{\s*-?(\d{1,3})\s*\}|(\d))")
_WHOLE_POWER = re.compile(r"\s*\^\s*(?:\{\s*-?(\d{1,3})\s*\}|(\d))")
_ROOT = re.compile(r"\\sqrt(?![a-z])\s*(?:\[\s*([^\[\]]*?)\s*\])?")
_MODULUS = re.compile(r"\\[pb]?mod(?![a-z])")
_APPLIED = re.compile(r"\\(?!frac|cdot|times|quad|[pb]?mod|text|equiv)[A-Za-z]+|\^")
_MATRIX_POWER = re.compile(r"\\end\{\w*matrix\}\s*[)}\]]*\s*(?:\^|\*\*)\s*(?:\{\s*)?([^{}\s]*)")
_SIGNS = re.compile(r"\\(?:pm|mp)(?![a-z])")
_NESTING = re.compile(r"\\(?:[dtc]?frac|sqrt)(?![a-z])|[{}]")


def too_expensive(text: str) -> str:
    """Return why ``text`` (canonical) is over a bound of what algebra may cost, or an empty string."""
    if len(text) > MAX_ALGEBRA_CHARS:
        return f"over {MAX_ALGEBRA_CHARS} characters"
    if explosive := explodes(text):
        return explosive
    if any(match[2] for match in _FACTORIAL.finditer(text)):
        return f"a factorial over {MAX_FACTORIAL}! or of an expression"
    if _LETTER_BINOMIAL.search(text):
        return f"a binomial over {MAX_FACTORIAL} or of expressions"
    work = _WORK_LEFT.search(text)
    if work:
        return f"{work[0]} is left to be worked out"
    if _nested(text) > MAX_NESTED:
        return f"fractions and roots nested deeper than {MAX_NESTED}"
    if len(_ROOT.findall(text)) > MAX_ROOTS:
        return f"over {MAX_ROOTS} roots"
    if sum(degree != "" for degree in _ROOT.findall(text)) > MAX_HIGHER_ROOTS:
        return f"over {MAX_HIGHER_ROOTS} roots of higher degree"
    if len(_FUNCTION.findall(text)) > MAX_FUNCTIONS:
        return f"over {MAX_FUNCTIONS} functions"
    if _nested_functions(text) > MAX_NESTED_FUNCTIONS:
        return f"functions nested deeper than {MAX_NESTED_FUNCTIONS}"
    if _MODULUS.search(text) and _APPLIED.search(text):
        return "a remainder of an expression"
    for power in _MATRIX_POWER.findall(text):
        if power not in ("T", "-1", "\\top", "\\dagger") and not (
            power.isdecimal() and not _large(power, MAX_MATRIX_EXPONENT)
        ):
            return f"a matrix to a power over {MAX_MATRIX_EXPONENT}"
    if len(set(re.sub(r"\\text\s*\{[^{}]*\}|\\[A-Za-z]+|[^A-Za-z]", "", text))) > MAX_NAMES:
        return f"over {MAX_NAMES} symbols"
    if text.count(",") >= MAX_MEMBERS:
        return f"over {MAX_MEMBERS} members"
    if _expanded(text) > MAX_EXPANDED:
        return f"products and powers of sums with over {MAX_EXPANDED} terms"
    if any(_expanded(inside) > MAX_EXPANDED_INSIDE for inside in _insides(text)):
        return f"a power of a sum with over {MAX_EXPANDED_INSIDE} terms in a function or an exponent"
    longest = max((len(match[0]) for match in _NUMERAL.finditer(text)), default=0)
    exponents = [int(match[1]) for match in re.finditer(r"\^\s*\{?\s*-?\s*(\d{1,4})", text)]
    if longest * max(exponents, default=1) > MAX_POWER_DIGITS:
        return f"a power of over {MAX_POWER_DIGITS} digits"
    for inside, braced, bare in _NUMBERED_GROUP.findall(text):
        digits = max((len(found) for found in _NUMERAL.findall(inside)), default=0)
        if digits * int(braced or bare) > MAX_GROUP_DIGITS:
            return f"a power of a sum of over {MAX_GROUP_DIGITS} digits"
    if len(_SIGNS.findall(text)) > MAX_SIGNS:
        return f"over {MAX_SIGNS} signs ±"
    return ""


def explodes(text: str, leeway: int = 1) -> str:
    """Return why ``text`` (canonical) may stand for a number too large to write down, or an empty string.

    The bounds on numbers are ``leeway`` times as wide: a gold answer may cost more than an answer, for nobody chose it
    to be costly.
    """
    if any(len(match[0]) > MAX_NUMERAL * leeway for match in _NUMERAL.finditer(text)):
        return f"a numeral of over {MAX_NUMERAL} digits"
    if _tower(text, leeway):
        return f"a power tower or an exponent over {MAX_EXPONENT}"
    for match in _FACTORIAL.finditer(text):
        digits = re.sub(r"[,.\s]", "", match[1])
        before = text[: match.start(1)].rstrip()
        small = bool(_SMALL_GROUP.search(text[: match.end(2)])) if match[2] else not before.endswith(("^", "**", "_"))
        if not small or _large(digits, MAX_FACTORIAL * leeway):
            return f"a factorial over {MAX_FACTORIAL}! or of an expression"
    if any(_large_binomial(text, match, leeway) for match in _BINOMIAL.finditer(text)):
        return f"a binomial over {MAX_FACTORIAL} or of expressions"
    for match in _ROOT.finditer(text):
        degree = match[1]
        if degree is not None and not re.fullmatch(r"[A-Za-z]|\d+", degree):
            return "a root whose degree is an expression"
        if degree is not None and degree.isdecimal() and _large(degree, MAX_ROOT * leeway):
            return f"a root of a degree over {MAX_ROOT}"
    return ""


def _large(digits: str, bound: int) -> bool:
    return len(digits) > 8 or int(digits or 0) > bound


def _large_binomial(text: str, match: re.Match[str], leeway: int) -> bool:
    if "binom" not in match[0]:  # {n \choose k}
        left = re.search(r"(?:^|\{)([^{}]*)$", text[: match.start()])
        right = re.match(r"([^{}]*)(?:\}|$)", text[match.end() :])
        parts = [left[1] if left else "", right[1] if right else ""]
    else:
        first = _GROUP.match(text, match.end())
        second = _GROUP.match(text, first.end()) if first else None
        if first is None or second is None:
            return True
        parts = [group[1] if group[1] is not None else group[2] for group in (first, second)]
    return not all(_SMALL.fullmatch(part) for part in parts) or any(
        part.strip().isdecimal() and _large(part.strip(), MAX_FACTORIAL * leeway) for part in parts
    )


def _tower(text: str, leeway: int) -> bool:
    """Whether an exponent is large, is itself built with powers or factorials, or stacks up with others."""
    stacked = 1
    for match in _POWER.finditer(text):
        bare = match[1] or match[2]
        end = match.end() if bare else _group_end(text, match.end())
        exponent = bare or text[match.end() : end]
        if "!" in exponent or exponent.count("^") > 1 or _CHAINED.match(text, end):
            return True
        grouped = text[: match.start()].rstrip().endswith((")", "}", "]", "!"))
        bound = MAX_INNER_EXPONENT if "^" in exponent else MAX_EXPONENT * leeway
        of_letters = grouped and _LETTER.search(text[: match.start()])
        if of_letters:
            bound = min(bound, MAX_GROUP_EXPONENT * leeway)
        size = 1
        for digits in _NUMERAL.findall(exponent):
            if _large(digits, bound):
                return True
            size *= max(1, int(digits))
        stacked *= size if grouped else 1
        if max(size, stacked) > leeway * (MAX_GROUP_EXPONENT if of_letters else MAX_STACKED_EXPONENT):
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


def _expanded(text: str) -> int:
    """Return about how many terms ``text`` has when all products and powers of bracketed sums are multiplied out."""
    names = len(set(_LETTER.findall(text))) + len(_ROOT.findall(text)) + len(_FUNCTION.findall(text))
    total, product, degree, depth = 0, 1, 0, 0
    opened: list[tuple[int, int]] = []
    terms = 1
    for at, char in enumerate(text):
        if char in "([{":
            opened.append((terms, at))
            terms, depth = 1, depth + 1
        elif char in ")]}" and opened:
            inner, (terms, start), depth = terms, opened.pop(), depth - 1
            power = _WHOLE_POWER.match(text, at + 1)
            if inner > 1 and text[start] == "(":
                exponent = int(power[1] or power[2]) if power else 1
                degree += exponent
                product *= math.comb(exponent + inner - 1, inner - 1)
        elif char in "+-" and not text[:at].rstrip().endswith(("(", "[", "{", "^", "=", ",")) and text[:at].strip():
            terms += 1
            if depth == 0:
                total, product, degree = total + min(product, math.comb(degree + names, names)), 1, 0
    return total + min(product, math.comb(degree + names, names))


def _insides(text: str) -> Iterator[str]:
    """Yield what stands in exponents, and what functions are applied to, each with its own exponent."""
    for match in _POWER.finditer(text):
        if not match[1] and not match[2]:
            yield text[match.end() : _group_end(text, match.end())]
    for match in _FUNCTION_OF_GROUP.finditer(text):
        end = _group_end(text, match.end()) + 1
        power = _WHOLE_POWER.match(text, end)
        yield f"({text[match.end() : end]}{power[0] if power else ''}"


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


def _nested_functions(text: str) -> int:
    """Return how deep functions stand in each other's arguments, with brackets (``\\sin(\\ln(x))``) or without."""
    deepest = depth = pending = 0
    opened: list[int] = []
    for match in _APPLICATION.finditer(text):
        if match["function"]:
            pending += 1
            deepest = max(deepest, depth + pending)
        elif match[0] in "({[":
            opened.append(pending)
            depth += pending
            pending = 0
        elif match[0] in ")}]":
            depth -= opened.pop() if opened else 0
            pending = 0
        elif not match["power"]:
            pending = 0
    return deepest
