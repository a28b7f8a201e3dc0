r"""What each form of answer costs the verifier at its bound, against the guard that cuts it off.

    python bench/math_cost.py [--guard 10]

Every bound of ``rewards/math/limits.py`` has forms that just meet it, and every form is compared with every gold
answer of a list. What is measured is the processor time of one comparison in a warmed process. Exit status 1 where a
form that is let through costs more than a tenth of the guard (``rewards.components.math.timeout``).
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from adhere.rewards.math import limits
from adhere.rewards.math.symbolic import compare
from adhere.rewards.math.verify import decide_here
from adhere.rewards.verdict import Verdict

GOLDS = (
    "5", r"\frac{\pi}{2}", r"\sqrt{51}", "x+1", r"\frac{x^2+1}{x-1}", "(x+1)^5", "3+4i", "e^{x}", r"\sin x",
    r"\begin{pmatrix} 1 & x \\ 3 & 4 \end{pmatrix}", "2x+3y=7",
)  # fmt: skip
"""Cheap gold answers of the kinds that make sympy work."""


def nested(opened: str, inner: str, closed: str, depth: int) -> str:
    """Return ``inner`` within ``depth`` pairs of ``opened`` and ``closed``."""
    return opened * depth + inner + closed * depth


def forms() -> dict[str, list[str]]:
    """Return the forms at their bounds, by what is bounded."""
    top, group = limits.MAX_EXPONENT, limits.MAX_GROUP_EXPONENT
    nine, fraction = "9" * limits.MAX_NUMERAL, r"\frac{1}{1+"
    names = "abcdfghjklmnpqrstuvwxyz"
    roots = [f"\\sqrt{{{n}}}" for n in (2, 3, 5, 7, 11, 13, 17, 19)[: limits.MAX_ROOTS]]
    functions = [f"\\{name}" for name in ("sin", "cos", "tan", "ln", "arctan", "sec")]
    return {
        "characters": [
            "+".join(names * 20)[: limits.MAX_ALGEBRA_CHARS].rstrip("+"),
            "x+" * 240 + "x",
            "x" * 400,
            "".join(f"({n}+1)" for n in names * 4)[:498],
        ],
        "numeral": [nine, f"{nine}x", f"\\frac{{{nine}}}{{{nine[:-1]}7}}", f"\\sqrt{{{nine}}}", f"x+{nine}"],
        "exponent": [f"2^{{{top}}}", f"x^{{{top}}}", f"7^{{{top}}}+x", f"\\pi^{{{top}}}", f"e^{{{top}x}}"],
        "exponent of a group": [
            f"(x+y)^{{{group}}}",
            f"(x+y+z+w)^{{{group}}}",
            f"(1+\\sqrt{{2}})^{{{group}}}",
            f"(x+1)^{{-{group}}}",
            f"(\\sqrt{{2}}+\\sqrt{{3}}+\\sqrt{{5}})^{{{group}}}",
            f"(1+i)^{{{group}}}",
            f"(\\sin x + \\cos x)^{{{group}}}",
            f"(x+\\frac{{1}}{{x}}+y)^{{{group}}}",
            f"(x^3+2x^2+3x+4)^{{{group}}}-(x+1)^{{{group}}}",
        ],
        "exponents of exponents": [
            f"x^{{x^{limits.MAX_INNER_EXPONENT}}}",
            f"2^{{2^{limits.MAX_INNER_EXPONENT}}}",
            f"(x+1)^{{x^{limits.MAX_INNER_EXPONENT}}}",
        ],
        "stacked exponents": ["((x+1)^4)^4", "((1+\\sqrt{2})^{4})^{4}", "((2^{10})^{10})^{10}", "((x^{4})^{2})^{2}"],
        "rational exponents": [
            "(x+1)^{\\frac{99}{98}}",
            "2^{\\frac{99}{98}}",
            "(1+\\sqrt{2})^{\\frac{7}{5}}",
            "x^{0.37}",
            "7^{1/7}",
            "(x^2+1)^{\\frac{16}{15}}",
        ],
        "factorial": [
            f"{limits.MAX_FACTORIAL}!",
            f"\\frac{{{limits.MAX_FACTORIAL}!}}{{50!50!}}",
            "n!",
            "\\frac{99!}{98!}",
        ],
        "binomial": [
            f"\\binom{{{limits.MAX_FACTORIAL}}}{{50}}",
            "\\binom{99}{49}+\\binom{98}{48}",
            "{100 \\choose 50}",
        ],
        "root": [
            f"\\sqrt[{limits.MAX_ROOT}]{{2}}",
            f"\\sqrt[{limits.MAX_ROOT}]{{x+1}}",
            "\\sqrt[99]{10^{99}+1}",
            "\\sqrt[3]{2+\\sqrt{5}}-\\sqrt[3]{\\sqrt{5}-2}",
            "\\sqrt[7]{2}+\\sqrt[5]{3}",
            "\\sqrt[n]{x}",
        ],
        "roots": [
            "+".join(roots),
            " ".join(roots),
            "\\frac{1}{" + "+".join(roots) + "}",
            "\\frac{1}{x+" + "+".join(roots) + "}",
            nested("\\sqrt{1+", "x", "}", limits.MAX_ROOTS),
            nested("\\sqrt{2+", "3", "}", limits.MAX_ROOTS),
            "(" + "+".join(roots[:4]) + ")^{2}",
        ],
        "nesting": [
            nested(fraction, "x", "}", limits.MAX_NESTED),
            nested(fraction, "\\sqrt{2}", "}", limits.MAX_NESTED - 1),
            nested("\\frac{x}{y+", "z", "}", limits.MAX_NESTED),
            nested("(1+", "x", ")", 30),
        ],
        "functions": [
            "+".join(f"{functions[i % 6]}({i + 1}x)" for i in range(limits.MAX_FUNCTIONS)),
            " ".join(f"{functions[i % 3]}({i + 1})" for i in range(limits.MAX_FUNCTIONS)),
            "+".join(f"\\sin({i}\\pi/7)" for i in range(1, limits.MAX_FUNCTIONS + 1)),
            " ".join(f"\\cos(\\frac{{{i}\\pi}}{{37}})" for i in range(1, limits.MAX_FUNCTIONS + 1)),
            "\\log_{" + "2" * 40 + "}{" + "3" * 40 + "}",
            "\\ln(10^{100})",
        ],
        "functions of functions": [
            nested(f"\\{name}(", "x", ")", limits.MAX_NESTED_FUNCTIONS)
            for name in ("sin", "ln", "exp", "arctan", "tan", "arcsin", "cos")
        ]
        + [nested(f"\\{name}(", "2", ")", limits.MAX_NESTED_FUNCTIONS) for name in ("exp", "tan")],
        "powers of functions": [
            f"\\sin^{{{group}}} x + \\cos^{{{group}}} x",
            f"\\tan^{{{group}}}(x+1)",
            "\\sin(x+y+z)^{4}",
            f"(e^{{x}}+e^{{-x}})^{{{group}}}",
            f"\\ln(x^{{{top}}}+1)",
        ],
        "matrix": [
            f"\\begin{{pmatrix}} x & y \\\\ z & w \\end{{pmatrix}}^{limits.MAX_MATRIX_EXPONENT}",
            "\\begin{pmatrix} x & y \\\\ z & w \\end{pmatrix}^{-1}",
            "\\begin{pmatrix} "
            + " \\\\ ".join(" & ".join("abcdef"[i:] + "abcdef"[:i]) for i in range(6))
            + " \\end{pmatrix}",
            "\\begin{pmatrix} "
            + " \\\\ ".join(" & ".join("xyz"[i:] + "xyz"[:i]) for i in range(3))
            + f" \\end{{pmatrix}}^{limits.MAX_MATRIX_EXPONENT}",
            "\\begin{pmatrix} \\sqrt{2} & \\pi \\\\ \\sin 1 & e \\end{pmatrix}^{-1}",
        ],
        "signs": [
            "\\pm 1" * limits.MAX_SIGNS,
            "x \\pm y \\mp z \\pm w \\pm 1",
            "\\sqrt{2 \\pm \\sqrt{3 \\pm \\sqrt{5}}}",
        ],
        "digits of powers": ["9" * 50 + "^{10}", "(" + "9" * 31 + "x+1)^{16}", "99999^{99}"],
        "remainders": ["10^{99} \\mod 7", "9" * 90 + " \\mod 97", "x \\mod 3"],
        "sums and products": [
            "\\sum_{k=1}^{40} \\frac{1}{k^7}",
            "\\sum_{k=1}^{40} \\frac{1}{k+x}",
            "\\prod_{k=1}^{40} (x+k)",
            "\\sum_{k=1}^{40} k^{64}",
            "\\sum_{k=1}^{n} k^{12}",
            "\\prod_{k=1}^{n} (k^2+k+1)^{4}",
            "\\sum_{k=1}^{40} \\sin(k)",
            "\\sum_{k=1}^{40} \\sqrt{k}",
            "\\sum_{k=0}^{n} 999983^k",
            "\\sum_{i=1}^{40} \\sum_{j=1}^{40} ij",
            "\\sum_{i=1}^{9} \\sum_{j=1}^{9} \\sum_{k=1}^{9} ijk",
            "\\sum_{i=1}^{40} \\sum_{j=1}^{40} \\sum_{k=1}^{40} x^{ijk}",
            "\\sum_{k=1}^{n} \\frac{1}{(k+1)(k+2)(k+3)(k+4)}",
            "\\prod_{k=1}^{n+12} \\frac{k+x}{k+y}",
        ],
        "complex": [
            f"(2+3i)^{{{group}}}",
            "e^{i\\pi/7}",
            "\\frac{1}{1+2i}+\\frac{1}{3-i}",
            f"i^{{{top}}}",
            "(1+i)^{i}",
        ],
        "equations": ["x^{16}+y^{16}=1", "(x+y)^{8}=x^{8}+y^{8}", "y=(x+1)^{16}", "\\sin x=\\cos y", "x^2+y^2+z^2=1"],
        "lists and sets": [
            ",".join(f"\\sqrt{{{n}}}" for n in range(2, 8)),
            "\\{" + ",".join("abcdefgh") + "\\}",
            ",".join(str(n) for n in range(150)),
            "(" + ",".join(f"x^{n}" for n in range(60)) + ")",
        ],
        "absolute values, floors": [
            "|x+|y+|z|||",
            "\\lfloor \\pi^{10} \\rfloor",
            "\\lfloor 10^{50}\\sqrt{2} \\rfloor",
            "|3+4i|^{16}",
            "\\max(x,y,z)",
        ],
    }


class Late(BaseException):
    """The guard's time is used up."""


def cost(gold: str, answer: str, guard: float) -> tuple[float, str]:
    """Return the seconds of processor time that one comparison takes, and who decides it."""

    def end(*_: Any) -> None:
        raise Late

    signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, guard)
    start = time.process_time()
    by = "here"
    try:
        found = decide_here(gold, f"\\boxed{{{answer}}}")
        if isinstance(found, Verdict):
            by = "bounds" if "too expensive" in found.detail else "here"
        else:
            by = "algebra"
            compare(*found)
    except Late:
        by = "the guard"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return time.process_time() - start, by


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guard", type=float, default=10.0, help="seconds of processor time")
    arguments = parser.parse_args()
    compare("x", "y+1")  # imports and tables are not what is measured
    slow: list[str] = []
    print(f"{'bound':26} {'slowest':>9}  {'decided by':11} form, gold answer")
    measure: Callable[[str, str], tuple[float, str]] = lambda gold, answer: cost(gold, answer, arguments.guard)  # noqa: E731
    for bound, texts in forms().items():
        found = [(*measure(gold, text), text, gold) for text in texts for gold in GOLDS]
        seconds, by, text, gold = max(found)
        print(f"{bound:26} {seconds:7.3f} s  {by:11} {text[:60]}, {gold[:30]}", flush=True)
        slow += [f"{one[0]:.2f} s {one[2][:80]} against {one[3]}" for one in found if one[0] > arguments.guard / 10]
    print(f"{len(slow)} comparisons take more than a tenth of the guard, {arguments.guard:g} s")
    for line in slow:
        print(f"  {line}")
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
