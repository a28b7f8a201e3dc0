r"""Speed of the maths verifier against TRL's ``accuracy_reward``: same rows, same run, printed as ratios.

    python bench/math_speed.py --gsm8k GSM8K/test.jsonl --math MATH500/test.jsonl [--rows 2000] [--hostile 5000]

Rows of the files hold ``answer`` and, for MATH, ``solution``. Each question gives four completions: the worked
solution with the gold answer in two dresses and with two plausible wrong answers. Ours runs through ``verify_batch``
with a fresh engine, the path of training; the engine's start and both sides' imports are warmed up first. The third
part replaces 1 % of a clean batch by hostile answers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Pair = tuple[str, str]

HOSTILE: tuple[Callable[[int], str], ...] = (
    lambda n: f"9^{{9^{{9^{{{n}}}}}}}",
    lambda n: "(" * 100_000 + str(n) + ")" * 100_000,
    lambda n: "1" * 1_000_000 + str(n),
    lambda n: "\\frac{1}{1+" * 38 + str(n) + "}" * 38,
    lambda n: "\\sqrt{2+" * 38 + str(n) + "}" * 38,
    lambda n: f"(({n + 20}!)!)!",
    lambda n: f"\\int_0^{{{n}}} \\frac{{\\sin(x^{{17}})e^{{x^9}}}}{{\\ln(1+x^{{{n}}})}} dx",
    lambda n: f"(x+y+z+w)^{{{n + 60}}}",
    lambda n: f"\\sum_{{k=1}}^{{10^{{{n}}}}} \\frac{{1}}{{k^7}}",
    lambda n: f"\\binom{{10^{{{n + 9}}}}}{{10^8}}",
)
_NUMBER = re.compile(r"\d+")


def wrong(gold: str, rng: random.Random) -> str:
    """Return ``gold`` with one of its numbers changed, or with a term added where it holds none."""
    numbers = list(_NUMBER.finditer(gold))
    if not numbers and "\\text" in gold:
        return f"\\text{{{rng.choice('GHJK')}}}" if "(" in gold else "\\text{none}"
    if not numbers:
        return f"{gold} + {rng.randint(1, 9)}"
    at = rng.choice(numbers)
    return f"{gold[: at.start()]}{int(at[0]) + rng.randint(1, 9)}{gold[at.end() :]}"


def dressed(gold: str, rng: random.Random) -> str:
    """Return another spelling of ``gold`` as a model would write it."""
    dresses = [
        gold.replace("\\frac", "\\dfrac"),
        gold.replace("(", "\\left(").replace(")", "\\right)"),
        gold.replace(",", ", ").replace("+", " + "),
        f"{gold}\\,",
    ]
    return rng.choice(dresses)


def pairs(rows: list[dict[str, Any]], count: int, text: str, seed: int = 0) -> list[Pair]:
    """Return ``count`` pairs of gold answer and completion, four to a question; ``text`` names the worked solution."""

    def stream() -> Iterator[Pair]:
        rng = random.Random(seed)
        while True:
            for row in rows:
                gold = str(row["answer"]).rpartition("####")[2].strip().replace(",", "" if text == "answer" else ",")
                work = re.sub(r"\\boxed|<<.*?>>|####.*", "", str(row[text]))
                for answer in (gold, dressed(gold, rng), wrong(gold, rng), wrong(gold, rng)):
                    yield gold, f"{work}\nSo the final answer is $\\boxed{{{answer}}}$."

    made = stream()
    return [next(made) for _ in range(count)]


def ours(batch: list[Pair], workers: int) -> tuple[float, list[float | None]]:
    """Return seconds and scores of this project's verifier with an engine that holds nothing of ``batch`` yet."""
    from adhere.rewards.engine import Engine
    from adhere.rewards.math import verify_batch
    from adhere.rewards.math.verify import COMPARE

    with Engine(workers=workers) as engine:
        engine.map(COMPARE, [(f"x_1 + {i}", f"\\sqrt{{x^2}} + {i}") for i in range(8 * workers)])
        start = time.perf_counter()
        verdicts = verify_batch(batch, engine)
        return time.perf_counter() - start, [verdict.score for verdict in verdicts]


def trl(batch: list[Pair]) -> tuple[float, list[float | None]]:
    """Return seconds and scores of TRL's ``accuracy_reward``, the gold answer in dollars as its documentation asks."""
    from trl.rewards import accuracy_reward

    accuracy_reward([[{"role": "assistant", "content": "\\boxed{1}"}]], ["$1$"])
    completions = [[{"role": "assistant", "content": response}] for _, response in batch]
    start = time.perf_counter()
    scores: list[float | None] = accuracy_reward(completions, [f"${gold}$" for gold, _ in batch])
    return time.perf_counter() - start, scores


def compare(name: str, batch: list[Pair], workers: int, target: float) -> None:
    """Print items a second of both, and how many scores differ from what the pairs were made to be."""
    seconds, scores = ours(batch, workers)
    their_seconds, their_scores = trl(batch)
    made = [1.0, 1.0, 0.0, 0.0] * (len(batch) // 4 + 1)
    mistakes = [sum(s != m for s, m in zip(column, made, strict=False)) for column in (scores, their_scores)]
    print(
        f"{name:8} {len(batch):5} items: adhere {len(batch) / seconds:8.0f}/s ({mistakes[0]} unlike made), "
        f"TRL {len(batch) / their_seconds:6.0f}/s ({mistakes[1]} unlike made), "
        f"ratio {their_seconds / seconds:5.1f}x (target {target:g}x)"
    )


def hostile(batch: list[Pair], workers: int) -> None:
    """Print the time of a batch with 1 % hostile answers against the clean one's, and what became of them."""
    clean, _ = ours(batch, workers)
    mixed = list(batch)
    places = range(50, len(mixed), 100)
    for i, place in enumerate(places):
        mixed[place] = (mixed[place][0], f"So \\boxed{{{HOSTILE[i % len(HOSTILE)](i)}}}.")
    seconds, scores = ours(mixed, workers)
    fates = [scores[place] for place in places]
    print(
        f"hostile  {len(mixed):5} items, {len(fates)} hostile: {seconds:.2f} s against {clean:.2f} s clean, "
        f"{seconds / clean:.2f}x (target 2x); hostile answers: {fates.count(0.0)} wrong, "
        f"{fates.count(None)} not scored, {fates.count(1.0)} right"
    )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--math", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--hostile", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, {arguments.workers} workers"
    )
    gsm8k, math500 = read_rows(arguments.gsm8k), read_rows(arguments.math)
    compare("GSM8K", pairs(gsm8k, arguments.rows, "answer"), arguments.workers, 10)
    compare("MATH", pairs(math500, arguments.rows, "solution"), arguments.workers, 4)
    hostile(pairs(gsm8k, arguments.hostile, "answer"), arguments.workers)


if __name__ == "__main__":
    main()
