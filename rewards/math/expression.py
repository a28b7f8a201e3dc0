r"""Read a plain LaTeX expression into a tree, within fixed bounds, or not at all.

The grammar holds what answers are made of (sums, products, powers, fractions, roots, a few functions) and leaves out
everything that can be read in two ways: ``1/2x``, ``\sin 2x``, mixed numbers, words. Such text is for math-verify.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

Term: TypeAlias = tuple[str, tuple["Term", ...], object]
"""``(kind, children, payload)``; kinds: number, symbol, infinity, +, *, /, ^, neg, root, call, sum, prod.

The children of the last two are where the index starts and ends, and what is added or multiplied; the payload is the
name of the index. ``infinity`` is the end of a series only.
"""

MAX_TOKENS = 400
MAX_DEPTH = 60
MAX_DIGITS = 60
MAX_SERIES = 40
MAX_NODES = 2_000
INDEX = "bound index"
"""How the name of the index of every sum and product begins in a tree; a number says how deep it is nested."""

FUNCTIONS = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "ln", "arcsin", "arccos", "arctan"})
_GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu", "phi", "rho", "sigma", "tau",
    "omega", "psi", "xi", "eta", "zeta", "kappa", "pi",
})  # fmt: skip
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|\\(?P<command>[A-Za-z]+)|(?P<letters>[A-Za-z]+)|(?P<sign>[-+*/^_(){}\[\]!|])|(?P<relation>=))"
)
_SUBSCRIPT = re.compile(r"_(?:\{([A-Za-z0-9]{1,3})\}|([A-Za-z0-9]))")
_FACTORS = frozenset({"frac", "sqrt", "binom", "sum", "prod", "exp"})
_APPLIED = frozenset("fghFGHPQ")
_NOT_PRODUCTS = frozenset({
    "am", "pm", "cm", "mm", "km", "kg", "mg", "ft", "in", "yd", "mi", "mph", "lb", "oz", "hr", "ml", "pi", "ln",
    "or", "an", "is", "of", "to", "no", "and", "rad", "deg", "sec", "min",
})  # fmt: skip


class UnreadableError(ValueError):
    """The text is outside the grammar or its bounds."""


@lru_cache(maxsize=2_048)
def read_term(latex: str) -> Term | None:
    """Return the tree of ``latex`` (canonical), or ``None`` where it is outside the grammar or its bounds."""
    try:
        reader = _Reader(_tokens(latex))
        term = reader.sum()
        return term if reader.peek() == ("", "") else None
    except UnreadableError:
        return None


def _tokens(latex: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at, end = 0, len(latex.rstrip())
    while at < end:
        match = _TOKEN.match(latex, at)
        if match is None or len(tokens) >= MAX_TOKENS:
            raise UnreadableError
        at, kind = match.end(), str(match.lastgroup)
        text = match[kind]
        if kind == "number" and len(text) > MAX_DIGITS:
            raise UnreadableError
        if kind == "letters":
            if len(text) > 2 or text.lower() in _NOT_PRODUCTS:
                raise UnreadableError
            tokens.extend(("letter", letter) for letter in text[:-1])
            text = text[-1]
        if kind == "letters" or (kind == "command" and text in _GREEK):
            index = _SUBSCRIPT.match(latex, at)
            if index:
                at, text = index.end(), f"{text}_{index[1] or index[2]}"
            tokens.append(("letter", text))
        else:
            tokens.append((kind, text))
    return tokens


def substitute(term: Term, name: str, by: Term) -> Term:
    """Return ``term`` with ``by`` in place of the symbol ``name``."""
    kind, children, payload = term
    if kind == "symbol":
        return by if payload == name else term
    return kind, tuple(substitute(child, name, by) for child in children), payload


def rational(value: Fraction | int) -> Term:
    """Return the term of a rational number."""
    positive: Term = ("number", (), abs(Fraction(value)))
    return positive if value >= 0 else ("neg", (positive,), None)


def binomial_term(above: Term, below: Term) -> Term:
    """Return the term of a binomial: of two numbers a call, else its factorials."""
    if above[0] == below[0] == "number":
        return ("call", (above, below), "binom")
    rest: Term = ("+", (above, ("neg", (below,), None)), None)
    factorials: list[Term] = [("call", (one,), "!") for one in (above, below, rest)]
    return ("/", (factorials[0], ("*", tuple(factorials[1:]), None)), None)


class _Reader:
    """Recursive descent over tokens; the depth is bounded, so the interpreter's stack never decides."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [*tokens, ("", "")]
        self._at = 0
        self._depth = 0
        self._series_depth = 0

    def peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        kind, found = self.peek()
        if kind == "sign" and found == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise UnreadableError

    def sum(self) -> Term:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError
        if self._take("-"):
            parts: list[Term] = [("neg", (self._product(),), None)]
        else:
            self._take("+")
            parts = [self._product()]
        while self.peek() in (("sign", "+"), ("sign", "-")):
            negative = self.peek()[1] == "-"
            self._at += 1
            part = self._product()
            parts.append(("neg", (part,), None) if negative else part)
        self._depth -= 1
        return parts[0] if len(parts) == 1 else ("+", tuple(parts), None)

    def _product(self) -> Term:
        parts = [self._power()]
        divided = False
        while True:
            kind, text = self.peek()
            if kind == "sign" and text == "/":
                if divided:
                    raise UnreadableError
                self._at += 1
                parts = [("/", (_times(parts), self._power()), None)]
                divided = True
            elif (kind, text) in (("sign", "*"), ("command", "cdot"), ("command", "times")):
                self._at += 1
                parts.append(self._power())
            elif (
                kind in ("number", "letter")
                or (kind == "sign" and text in "({")
                or (kind == "command" and (text in _FACTORS or text in FUNCTIONS))
            ):
                # A number behind another factor is one where it has an exponent of its own, as in k2^k.
                fraction = parts[-1][0] == "/" and parts[-1][1][0][2] != "!"  # and not a binomial
                lone = kind == "number" and (
                    parts[-1][0] == "number" or fraction or self._tokens[self._at + 1] != ("sign", "^")
                )
                if divided or lone or (_is_call(parts[-1]) and text not in FUNCTIONS):
                    raise UnreadableError
                if parts[-1][0] == "number" and (kind, text) == ("command", "frac"):
                    factor = self._power()
                    if factor[0] == "/" and all(child[0] == "number" for child in factor[1]):
                        raise UnreadableError  # a mixed number
                    parts.append(factor)
                else:
                    parts.append(self._power())
            else:
                return _times(parts)

    def _power(self) -> Term:
        base = self._atom()
        if self._take("!"):
            base = ("call", (base,), "!")
        if not self._take("^"):
            return base
        exponent = self._argument()
        if self.peek() in (("sign", "^"), ("sign", "!")):
            raise UnreadableError
        return ("^", (base, exponent), None)

    def _argument(self) -> Term:
        """Read a group in braces, or one digit or symbol."""
        if self._take("{"):
            inner = self.sum()
            self._expect("}")
            return inner
        kind, text = self.peek()
        if kind == "number" and len(text) > 1:
            raise UnreadableError
        if kind in ("number", "letter"):
            return self._atom()
        raise UnreadableError

    def _atom(self) -> Term:
        kind, text = self.peek()
        self._at += 1
        if kind == "number":
            return ("number", (), Fraction(text))
        if kind == "letter":
            if text in _APPLIED and self.peek() == ("sign", "("):
                raise UnreadableError
            return ("symbol", (), text)
        if kind == "sign" and text in "({":
            inner = self.sum()
            self._expect(")" if text == "(" else "}")
            return inner
        if kind == "sign" and text == "|":
            inner = self.sum()
            self._expect("|")
            return ("call", (inner,), "abs")
        if kind == "command" and text == "frac":
            top = self._argument()
            return ("/", (top, self._argument()), None)
        if kind == "command" and text == "binom":
            above = self._argument()
            below = self._argument()
            return binomial_term(above, below)
        if kind == "command" and text in ("sum", "prod"):
            return self._series(text)
        if kind == "command" and text == "sqrt":
            degree = Fraction(2)
            if self._take("["):
                kind, text = self.peek()
                if kind != "number" or text not in tuple("23456789"):
                    raise UnreadableError
                self._at += 1
                self._expect("]")
                degree = Fraction(text)
            return ("root", (self._argument(),), degree)
        if kind == "command" and (text in FUNCTIONS or text == "exp"):
            return self._call(text)
        raise UnreadableError

    def _series(self, name: str) -> Term:
        """Read ``\\sum_{k=1}^{n}`` and the product behind it; few terms are written out."""
        self._expect("_")
        self._expect("{")
        kind, index = self.peek()
        self._at += 1
        if kind != "letter":
            raise UnreadableError
        if self.peek() != ("relation", "="):
            raise UnreadableError
        self._at += 1
        start = self.sum()
        self._expect("}")
        self._expect("^")
        at = self._at
        braced = self._take("{")
        self._take("+")
        if self.peek() == ("command", "infty"):
            self._at += 1
            if braced:
                self._expect("}")
            end: Term = ("infinity", (), None)
        else:
            self._at = at
            end = self._argument()
        self._series_depth += 1
        bound = f"{INDEX} {self._series_depth}"
        body = substitute(self._product(), index, ("symbol", (), bound))
        self._series_depth -= 1
        first, last = (side[2] if side[0] == "number" else None for side in (start, end))
        if isinstance(first, Fraction) and isinstance(last, Fraction):
            if first.denominator != 1 or last.denominator != 1 or last < first:
                raise UnreadableError
            if last - first < MAX_SERIES and (last - first + 1) * _size(body) <= MAX_NODES:
                terms = tuple(substitute(body, bound, rational(k)) for k in range(int(first), int(last) + 1))
                return ("+" if name == "sum" else "*", terms, None)
        return (name, (start, end, body), bound)

    def _call(self, name: str) -> Term:
        power = self._argument() if self._take("^") else None
        if power is not None and (power[0] != "number" or not isinstance(power[2], Fraction) or power[2] < 1):
            raise UnreadableError
        kind, text = self.peek()
        if not (kind == "letter" or (kind, text) == ("command", "frac") or (kind == "sign" and text in "({")):
            raise UnreadableError
        if name == "exp" and power is not None:
            raise UnreadableError
        argument = self._atom()
        call: Term = ("call", (argument,), name) if name != "exp" else ("^", (("symbol", (), "e"), argument), None)
        if self.peek() == ("sign", "^"):
            raise UnreadableError
        return call if power is None else ("^", (call, power), None)


def _size(term: Term) -> int:
    return 1 + sum(map(_size, term[1]))


def _is_call(term: Term) -> bool:
    kind, children, name = term
    return (kind == "call" and name != "!") or (kind == "^" and children[0][0] == "call")


def _times(parts: list[Term]) -> Term:
    return parts[0] if len(parts) == 1 else ("*", tuple(parts), None)
