"""Look for answers that crash the verifier, go unscored, or whose verdict depends on the rest of their batch.

    python bench/fuzz_verdicts.py --seconds 600 --seed 0

Gold answers are cheap and can be read; so every verdict has to be a score, and the same one in every order and company.
Answers are random forms, hostile ones and mutations of both. Exit status 1 where something is found.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from adhere.rewards.engine import Engine
from adhere.rewards.math import check_gold, verify_batch

GOLDS = (
    "5", "x+1", r"\frac{\pi}{2}", r"\sqrt{51}", r"\frac{x^2+1}{x-1}", r"1+\sqrt{2}+\sqrt{3}", "2x+3y=7", "(1,2)",
    r"\{1,2,3\}", "[0,1)", r"\text{(C)}", "0.25", r"\begin{pmatrix} 1 & x \\ 3 & 4 \end{pmatrix}", "x^2<4", "3+4i",
)  # fmt: skip
NUMBERS = (
    "0", "2", "7", "12", "100", "999983", "0.5", "3.14159265358979", "10^{50}", "123456789123456789", "9" * 90,
    "9" * 3_000, "10^9", "0." + "123456789" * 8,
)  # fmt: skip
HOSTILE = (
    r"\binom{10^9}{5\cdot 10^8}", "9^{9^{9^9}}", "(10^9)!", "((5!)!)!", r"\sqrt[10^9]{2}", r"\prod_{k=1}^{10^9} k",
    r"\exp(\exp(\exp(\exp(9))))", "(" * 3_000, "9" * 50_000, r"\frac{1}{1+" * 30 + "x" + "}" * 30, r"\mod \mod",
    r"\begin{pmatrix} x & y \\ z & w \end{pmatrix}^{999}", "\x00", "\ud83d", "}{", r"\left(", "$" * 99, "e^{e^{e^{9}}}",
)  # fmt: skip
FUNCTIONS = ("sin", "cos", "tan", "ln", "log", "exp", "arctan", "arcsin", "sinh", "sec")


def form(draw: random.Random, depth: int) -> str:
    """Return a random LaTeX form of at most ``depth`` levels."""
    if depth <= 0:
        return draw.choice((*NUMBERS, "x", "y", r"\pi", "e", "i", "n", r"\theta"))

    def part() -> str:
        return form(draw, depth - 1 - draw.randrange(2))

    power = draw.choice(("2", "{16}", "{99}", "{-1}", "{1/7}", r"{\frac{99}{98}}", "{x}", "{0.37}", f"{{{part()}}}"))
    return draw.choice((
        f"{part()}+{part()}", f"{part()}-{part()}", f"{part()} \\cdot {part()}", f"\\frac{{{part()}}}{{{part()}}}",
        f"\\sqrt{{{part()}}}", f"\\sqrt[{draw.choice('357n')}]{{{part()}}}", f"({part()})^{power}",
        f"\\{draw.choice(FUNCTIONS)}({part()})", f"\\binom{{{part()}}}{{{part()}}}", f"({part()})!", f"|{part()}|",
        f"\\begin{{pmatrix}} {part()} & {part()} \\\\ {part()} & {part()} \\end{{pmatrix}}^{power}",
        f"{part()} \\mod {part()}", f"e^{{i {part()}}}", f"{part()} = {part()}", f"{part()} < {part()}",
        f"({part()}, {part()})", f"\\{{{part()}, {part()}\\}}", f"\\sum_{{k=1}}^{{{part()}}} {part()}",
        f"\\lfloor {part()} \\rfloor", f"\\log_{{{part()}}}{{{part()}}}", f"\\text{{{part()}}}",
        f"{part()} \\pm {part()}",
    ))  # fmt: skip


def answer(draw: random.Random) -> str:
    """Return a random response that commits to an answer."""
    text = draw.choice(HOSTILE) if draw.random() < 0.15 else form(draw, draw.randrange(1, 5))
    for _ in range(draw.choice((0, 0, 1, 3))):
        at, other = draw.randrange(len(text) + 1), draw.choice((*HOSTILE[:6], "\\", "{", "}", "^", "_", "&", "!", ","))
        text = text[:at] + draw.choice(("", other)) + text[at + draw.randrange(3) :]
    return f"So the answer is \\boxed{{{text}}}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deadline", type=float, default=10.0, help="the engine's, in seconds of processor time")
    arguments = parser.parse_args()
    draw, end = random.Random(arguments.seed), time.monotonic() + arguments.seconds
    counts: Counter[str] = Counter()
    found = []
    with Engine(workers=1, deadline=arguments.deadline) as engine, Engine(1, arguments.deadline) as other:
        assert all(check_gold(gold, engine).passed for gold in GOLDS)
        while time.monotonic() < end and len(found) < 20:
            pairs = [(draw.choice(GOLDS), answer(draw)) for _ in range(8)]
            verdicts = verify_batch(pairs, engine)
            order = draw.sample(range(8), draw.randrange(1, 9))
            again = verify_batch([pairs[i] for i in order], other)
            for pair, verdict in zip(pairs, verdicts, strict=True):
                counts["pairs"] += 1
                counts["right"] += verdict.passed
                counts["by the guard"] += "processor time" in verdict.detail
                if verdict.score is None:
                    found.append(("unscored", pair, verdict))
            for i, verdict in zip(order, again, strict=True):
                if (verdict.score, verdict.status) != (verdicts[i].score, verdicts[i].status):
                    found.append(("another verdict in other company", pairs[i], verdicts[i], verdict))
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    for one in found:
        print(*(repr(part)[:400] for part in one), sep="\n  ")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
