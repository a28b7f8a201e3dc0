"""MathIF's own judgement of an answer, for ``accuracy_official``: how its runner reads one out of a text and compares.

It is not a good judge: it reads only boxes and what follows a few phrases, takes answers that are wrong by a factor of
100, and drops units. Figures that stand beside published ones need it; everything else uses ``rewards.math``. Nothing
of a model's text is executed here: where the official code evaluates expressions with a computer algebra system, they
are parsed by a small grammar and compared at fixed points, in bounded time.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping

LONGEST = 1000
_AFTER = ("answer:", "answer is", "answers are")
_BEFORE = ("is answer", "is the answer", "are answers", "are the answers")
_LEAD = ("be ", "is ", "are ", "=", ": ", "get ", "be\n", "is\n", "are\n", ":\n", "get\n")


def official_correct(text: str, gold: str) -> bool:
    """Whether MathIF's runner takes ``text``, as `official_cut` leaves it, for a right answer."""
    answer = official_answer(text)
    if _alike(answer, gold):
        return True
    pis = (repr(math.pi), "3.14") if "\\pi" in answer or "\\pi" in gold else ("",)
    try:
        return any(_equal(answer, gold, pi) for pi in pis)
    except (ArithmeticError, ValueError, RecursionError):
        return False


def official_answer(text: str) -> str:
    """Return what the runner takes for the answer.

    It is cut after "answer:" and its like, before "is the answer", to the last box, before the last full stop, and
    then, also inside a box, after the last ``=``, ``:``, "is", "are", "be" and "get".
    """
    for phrase in _AFTER:
        at = text.lower().rfind(phrase)
        text = text[at + len(phrase) :].strip() if at >= 0 else text
    for phrase in _BEFORE:
        at = text.lower().rfind(phrase)
        text = text[:at].strip() if at >= 0 else text
    text = _last_box(text) or text
    if ". " in text:
        text = text[: text.rfind(". ")].strip()
    for phrase in _LEAD:
        at = text.lower().rfind(phrase)
        text = text[at + len(phrase) :].strip() if at >= 0 else text
    return text


def _last_box(text: str) -> str:
    at = text.rfind("\\boxed")
    at = at if at >= 0 else text.rfind("\\fbox")
    depth, begin = 0, -1
    for brace in re.finditer(r"[{}]", text[at:]) if at >= 0 else ():
        depth += 1 if brace.group() == "{" else -1
        if begin < 0 and brace.group() == "{":
            begin = at + brace.end()
        if depth == 0 and brace.group() == "}":
            return text[begin : at + brace.start()].strip() if begin >= 0 else ""
    return ""


# The first comparison: texts, normalised in two ways, and expressions of at most two letters.

_WHOLE_TEXT = re.compile(r"\\text\{(.+?)\}")
_UNITS = (
    *(
        "degree",
        "cm",
        "centimeter",
        "meter",
        "mile",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "year",
        "foot",
    ),
    *("feet", "inch", "yard", "liter"),
)
_UNIT = [re.compile(rf"{unit}(?:es)?s? *(?:\^[0-9]+)?") for unit in _UNITS]
_GROUPED = re.compile(r"(\d),(\d\d\d)(?=$|\D)")
_FRACTION = re.compile(r"-?[0-9]+.?/0*[1-9][0-9]*.?")
_BRACKETS = "()[]"


def _alike(answer: str, gold: str) -> bool:
    if _string_form(answer) == _string_form(gold):
        return True
    found, wanted = _value_form(answer), _value_form(gold)
    if found == wanted:
        return True
    if not found:
        return False
    ours, theirs = _parts(found), _parts(wanted)
    brackets = len(theirs) > 1 and (wanted[0] != found[0] or wanted[-1] != found[-1])
    if brackets or len(ours) != len(theirs) or not theirs:
        return False
    for mine, other in zip(ours, theirs, strict=True):
        if _FRACTION.fullmatch(mine) and _FRACTION.fullmatch(other):
            same = mine == other
        elif (_whole(mine) is None) != (_whole(other) is None):
            same = False
        else:
            same = _readable(f"({other})-({mine})") and _same_value(mine, other)
        if not same:
            return False
    return True


def _string_form(answer: str) -> str:
    """Return LaTeX in one spelling; where a spelling cannot be read, the text as it stands."""
    text = answer.strip()
    whole = _WHOLE_TEXT.fullmatch(text)
    if whole is not None:
        text = whole.group(1).strip()
    given = text
    for old, new in (("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""),
                     ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", "")):  # fmt: skip
        text = text.replace(old, new)
    pieces = text.split("\\text{ ")
    if len(pieces) > 2:
        return given
    text = pieces[0].replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = f"0{text}" if text[0] == "." else text
    sides = text.split("=")
    text = sides[1] if len(sides) == 2 and len(sides[0]) <= 2 else text
    roots = text.split("\\sqrt")
    fractions = text.split("\\frac")
    if not all(roots[1:]) or not all(fractions[1:]):
        return given
    text = "\\sqrt".join([roots[0], *(r if r[0] == "{" else f"{{{r[0]}}}{r[1:]}" for r in roots[1:])]).replace(" ", "")
    fractions = text.split("\\frac")
    if not all(fractions[1:]):
        return given
    if all(f[0] == "{" or len(f) >= 2 for f in fractions[1:]):
        text = "\\frac".join([fractions[0], *map(_braced, fractions[1:])])
    if text == "0.5":
        text = "\\frac{1}{2}"
    ratio = re.fullmatch(r"(0|-?[1-9]\d*)/(0|-?[1-9]\d*)", text)
    return f"\\frac{{{ratio[1]}}}{{{ratio[2]}}}" if ratio else text


def _braced(tail: str) -> str:
    if tail[0] == "{":
        return tail
    return f"{{{tail[0]}}}{tail[1:]}" if tail[1] == "{" else f"{{{tail[0]}}}{{{tail[1]}}}{tail[2:]}"


def _value_form(answer: str) -> str:
    """Return an answer without units, signs of money and LaTeX, in lower case, a whole number as its digits."""
    whole = _WHOLE_TEXT.fullmatch(answer)
    text = whole.group(1) if whole is not None else answer
    for old, new in (("\\%", "%"), ("\\$", "$"), ("$", ""), ("%", ""), (" or ", " , "), (" and ", " , "),
                     ("million", "*10^6"), ("billion", "*10^9"), ("trillion", "*10^12")):  # fmt: skip
        text = text.replace(old, new)
    for unit in _UNIT:
        text = unit.sub("", text)
    text = re.sub(r"\^ *\\circ", "", text)
    if text[:1] == "{" and text[-1:] == "}":
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    number = _float(text)
    if number is not None and math.isfinite(number) and abs(number - round(number)) <= 1e-7:
        text = str(round(number))
    if "\\" in text:
        text = _plain(text)
    text = re.sub(r"- *", "-", text)
    text = re.sub(r"([0-9]) +([0-9])", r"\1+\2", text).lower()
    count = _whole(text)
    return text if count is None else str(count)


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    number = _float(_ungrouped(text))
    if number is None or not math.isfinite(number) or abs(number - round(number)) > 1e-7:
        return None
    return int(number)


def _ungrouped(text: str) -> str:
    while (shorter := _GROUPED.sub(r"\1\2", text)) != text:
        text = shorter
    return text


def _parts(text: str) -> list[str]:
    text = _ungrouped(text)
    inner = text[1:-1]
    closed = len(text) > 2 and text[0] in _BRACKETS and text[-1] in _BRACKETS
    if closed and not any(bracket in inner for bracket in _BRACKETS):
        return [part.strip() for part in inner.split(",")]
    return [text] if text else []


def _readable(expression: str) -> bool:
    """Whether the runner hands an expression to its computer algebra system."""
    letters = {char for char in expression.replace("sqrt", "").replace("frac", "") if char.isalpha()}
    if len(letters) > 2 or "^{" in expression or "^(" in expression:
        return False
    return re.search(r"\^[0-9]+\^|\^[0-9][0-9]+", expression) is None


# LaTeX as plain text, as far as answers go.

_SYMBOLS = {
    "pi": "pi", "infty": "inf", "cup": "U", "cdot": "*", "times": "*", "circ": "∘", "le": "≤", "leq": "≤", "ge": "≥",
    "geq": "≥", "neq": "≠", "ne": "≠", "pm": "±", "div": "÷", "cap": "∩", "in": "∈", "to": "→", "alpha": "α",
    "beta": "β", "gamma": "γ", "theta": "θ", "lambda": "λ", "mu": "μ", "omega": "ω", "phi": "ϕ", "sigma": "σ",
    "rho": "ρ", "epsilon": "ϵ", "delta": "δ", "tau": "τ", "sin": "sin", "cos": "cos", "tan": "tan", "log": "log",
    "ln": "ln", "exp": "exp", "emptyset": "∅", "sec": "sec", "csc": "csc", "cot": "cot", "arcsin": "arcsin",
    "arccos": "arccos", "arctan": "arctan", "approx": "≈", "ldots": "…", "dots": "…", "cdots": "⋯", "mid": "|",
    "quad": "  ", "qquad": "    ", "hbar": "ħ", "Omega": "Ω", "Delta": "Δ", "Phi": "Φ", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "setminus": "∖", "langle": "⟨", "rangle": "⟩", "max": "max", "min": "min",
}  # fmt: skip
_PIECE = re.compile(r"\\([A-Za-z]+)\s*|\\(.)|(.)", re.DOTALL)


def _plain(latex: str) -> str:
    for old, new in (("\\tfrac", "\\frac"), ("\\dfrac", "\\frac"), ("\\frac", " \\frac")):
        latex = latex.replace(old, new)
    if len(latex) > LONGEST:
        return latex
    text, _ = _read(latex, 0, closed=False, depth=0)
    for old, new in (("√", "sqrt"), ("π", "pi"), ("∞", "inf"), ("∪", "U"), ("·", "*"), ("×", "*")):
        text = text.replace(old, new)
    return text.strip()


def _read(latex: str, at: int, *, closed: bool, depth: int) -> tuple[str, int]:
    """Return the plain text from ``at`` to the end of the group (``closed``) or of the text, and where that is."""
    if depth > 40:
        raise RecursionError("the groups of an answer nest too deep")
    out: list[str] = []
    while at < len(latex):
        if latex[at] == "}" and closed:
            return "".join(out), at + 1
        piece, at = _one(latex, at, depth)
        out.append(piece)
    return "".join(out), at


def _one(latex: str, at: int, depth: int) -> tuple[str, int]:
    match = _PIECE.match(latex, at)
    assert match is not None
    name, sign, char = match.groups()
    at = match.end()
    if char is not None:
        if char == "{":
            return _read(latex, at, closed=True, depth=depth + 1)
        return {"~": " ", "}": "", "&": " "}.get(char, char), at
    if sign is not None:
        return {",": " ", ";": " ", ":": " ", "!": "", "\\": "\n", " ": " "}.get(sign, sign), at
    if name in ("frac", "sqrt", "text", "mathrm", "textbf", "mathbf", "boxed", "mbox", "operatorname", "mathbb", "fbox",
                "textit", "textrm", "overline", "mathit", "mathcal", "cfrac"):  # fmt: skip
        if name == "sqrt" and latex[at : at + 1] == "[":
            at = latex.find("]", at) + 1 or at
        one, at = _argument(latex, at, depth)
        if name in ("frac", "cfrac"):
            two, at = _argument(latex, at, depth)
            return f"{one}/{two}", at
        return (f"√({one})" if name == "sqrt" else one), at
    if name in ("left", "right", "big", "Big", "bigg", "displaystyle", "begin", "end"):
        return "", at
    after = latex[match.end(1) : match.end()]
    return _SYMBOLS.get(name, "") + ("" if name in ("quad", "qquad") else after), at


def _argument(latex: str, at: int, depth: int) -> tuple[str, int]:
    while latex[at : at + 1].isspace():
        at += 1
    return _one(latex, at, depth + 1) if at < len(latex) else ("", at)


# The second comparison: numbers to a ten-thousandth, also times and over 100; lists; expressions.


def _equal(answer: str, gold: str, pi: str) -> bool:
    found, wanted = _number_form(answer, pi), _number_form(gold, pi)
    if isinstance(found, str):
        found = found[:LONGEST]
    texts = isinstance(found, str) and isinstance(wanted, str)
    if texts and any(form(str(found)) == form(str(wanted)) for form in (_folded, _spaceless)):
        return True
    mine, other = _digits(found), _digits(wanted)
    if mine is not None and other is not None:
        return any(math.isclose(value, mine, rel_tol=1e-4) for value in (other / 100, other, other * 100))
    ours, theirs = str(found).strip(), str(wanted).strip()
    if not str(found):
        return False
    left, right = ours, theirs
    square = ours.startswith("[") and ours.endswith("]") and not theirs.startswith("(")
    if square or (ours.startswith("(") and ours.endswith(")") and not theirs.startswith("[")):
        left, right = left.strip("[]()"), right.strip("[]()")
    drop = str.maketrans("", "", "{}()")
    if left.translate(drop) == right.translate(drop):
        return True
    if ours and theirs and ours[0] in "([" and ours[-1] in ")]" and (ours[0], ours[-1]) == (theirs[0], theirs[-1]):
        pairs = list(zip(ours[1:-1].split(","), theirs[1:-1].split(","), strict=False))
        if ours.count(",") == theirs.count(",") and all(_equal(a, b, repr(math.pi)) for a, b in pairs):
            return True
    if "," in ours and "," in theirs and ours.count(",") == theirs.count(","):
        pairs = list(zip(ours.split(","), theirs.split(","), strict=True))
        return all(_equal(a.strip(), b.strip(), repr(math.pi)) for a, b in pairs)
    return _same_value(ours, theirs, implicit=False)


def _folded(text: str) -> str:
    return text.strip().lower()


def _spaceless(text: str) -> str:
    return text.replace(" ", "")


def _number_form(text: str, pi: str) -> str | int | float:
    """Return a text as the runner's comparison of numbers begins with it.

    Raises:
        ValueError: what stands before an underscore is not a number; the runner then says wrong.
    """
    if re.match(r"\$\d+(\.\d+)?", text):
        return text[1:]
    if re.fullmatch(r"\d+(\.\d+)?\\?%\n?", text):
        return text.replace("\\%", "").replace("%", "")
    if "_" in text:
        return int(float(text.split("_")[0]))
    if "\\pi" in text:
        text = re.sub(r"(\d?)\\pi", lambda m: f"{m[1]}*{pi}" if m[1] else f"1*{pi}", text)
        value = _value(text, {}, implicit=False)
        if value is not None and value.imag == 0:
            return value.real
    return text


def _digits(value: str | float) -> float | None:
    text = str(value)
    return _float(text.replace("{,}", "")) if "{,}" in text else _float(text.replace(",", ""))


# Expressions: parsed by recursive descent, valued at fixed points.

_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([^\W\d_]\w*|_\w+)|(\*\*|[-+*/^()!]))")
_POINTS = (0.7390851332, 1.6180339887, 2.2360679775, 0.5772156649)
_NAMED: Mapping[str, complex] = {"pi": math.pi, "E": math.e, "I": 1j}
_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sqrt": cmath.sqrt, "ln": cmath.log, "log": cmath.log, "exp": cmath.exp, "sin": cmath.sin, "cos": cmath.cos,
    "tan": cmath.tan,
}  # fmt: skip


def _same_value(one: str, two: str, *, implicit: bool = True) -> bool:
    """Whether two expressions have the same value; ``implicit`` reads ``2x`` as a product and ``^`` as a power.

    Without it, two numbers are the same to a ten-thousandth.
    """
    for shift in range(3):
        letters = sorted(set(re.findall(r"[^\W\d_]\w*" if not implicit else r"[^\W\d_]", f"{one} {two}")))
        names = {name: complex(_POINTS[(i + shift) % 4] + 0.37 * (i + 3 * shift)) for i, name in enumerate(letters)}
        a, b = _value(one, names, implicit=implicit), _value(two, names, implicit=implicit)
        if a is None or b is None or not abs(a - b) <= (1e-12 if implicit else 1e-4) * max(abs(a), abs(b)):
            return False
    return True


def _value(text: str, names: Mapping[str, complex], *, implicit: bool) -> complex | None:
    """Return the value of an expression, ``None`` where it cannot be read or has none."""
    tokens: list[tuple[str, str]] = []
    at, text = 0, text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or len(tokens) > LONGEST or (not implicit and match.group(3) == "^"):
            return None
        number, name, sign = match.groups()
        if name is not None and implicit:
            tokens += [("name", part) for part in re.findall(r"sqrt|pi|ln|[^\W\d_]|\d+", name)]
        else:
            tokens.append(("number", number) if number else ("name", name) if name else ("sign", sign))
        at = match.end()
    try:
        return _Expression(tokens, names, implicit=implicit).whole()
    except (ArithmeticError, ValueError, IndexError, RecursionError):
        return None


class _Expression:
    """A list of tokens that is read once, from left to right; each method returns a value."""

    def __init__(self, tokens: list[tuple[str, str]], names: Mapping[str, complex], *, implicit: bool) -> None:
        self.tokens, self.names, self.implicit, self.at, self.depth = [*tokens, ("end", "")], names, implicit, 0, 0

    def whole(self) -> complex:
        value = self.sum()
        if self.tokens[self.at][0] != "end" or not cmath.isfinite(value):
            raise ValueError("not an expression")
        return value

    def taken(self, *signs: str) -> str:
        kind, text = self.tokens[self.at]
        if kind == "sign" and text in signs:
            self.at += 1
            return text
        return ""

    def sum(self) -> complex:
        value = self.product()
        while sign := self.taken("+", "-"):
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> complex:
        value = self.signed()
        while True:
            kind, text = self.tokens[self.at]
            if sign := self.taken("*", "/"):
                value = value * self.signed() if sign == "*" else value / self.signed()
            elif self.implicit and (kind in ("number", "name") or (kind, text) == ("sign", "(")):
                value *= self.power()
            else:
                return value

    def signed(self) -> complex:
        if sign := self.taken("+", "-"):
            self.depth += 1
            if self.depth > 200:
                raise RecursionError("too deep")
            return self.signed() if sign == "+" else -self.signed()
        return self.power()

    def power(self) -> complex:
        base = self.atom()
        while self.taken("!"):
            if base.imag or base.real != int(base.real) or not 0 <= base.real <= 170:
                raise ValueError("not a factorial")
            base = complex(math.factorial(int(base.real)))
        if self.taken("^", "**"):
            return complex(base ** self.signed())
        return base

    def atom(self) -> complex:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number" or (kind == "name" and text.isdigit()):
            return complex(float(text))
        if kind == "name" and text in _FUNCTIONS:
            if self.implicit or self.tokens[self.at] == ("sign", "("):
                return _FUNCTIONS[text](self.power())
            raise ValueError("a function without brackets")
        if kind == "name":
            if text not in _NAMED and text not in self.names:
                raise ValueError(f"a name without a value: {text}")
            return _NAMED[text] if text in _NAMED else self.names[text]
        if (kind, text) == ("sign", "("):
            self.depth += 1
            if self.depth > 200:
                raise RecursionError("too deep")
            value = self.sum()
            if not self.taken(")"):
                raise ValueError("an open bracket")
            return value
        raise ValueError("not an expression")
