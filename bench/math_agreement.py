"""Agreement of maths verifiers with labelled cases, and which gold answers do not verify against themselves.

Compares adhere, TRL's ``accuracy_reward`` and plain math-verify on the same rows in the same run:

    python bench/math_agreement.py CASES.jsonl.gz [--golds FILE.jsonl ...]

``CASES`` has rows ``{family, gold, response, label}``; each file of ``--golds`` has rows with an ``answer``.
Prints accuracy, false positives and false negatives per family, wall seconds, then the failing gold answers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Score = Callable[[list[str], list[str]], list[float | None]]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file, plain or gzipped."""
    raw = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()]


def adhere(golds: list[str], responses: list[str]) -> list[float | None]:
    """Score with this project's verifier."""
    from adhere.rewards.engine import default_engine
    from adhere.rewards.math import verify_batch

    return [v.score for v in verify_batch(list(zip(golds, responses, strict=True)), default_engine())]


def trl(golds: list[str], responses: list[str]) -> list[float | None]:
    """Score with TRL's ``accuracy_reward``, the gold answer in dollars as its documentation asks."""
    from trl.rewards import accuracy_reward

    completions = [[{"role": "assistant", "content": response}] for response in responses]
    scores: list[float | None] = accuracy_reward(completions, [f"${gold}$" for gold in golds])
    return scores


def math_verify(golds: list[str], responses: list[str]) -> list[float | None]:
    """Score with math-verify as its README shows it."""
    from math_verify import parse, verify

    return [float(verify(parse(f"${g}$"), parse(r))) for g, r in zip(golds, responses, strict=True)]


VERIFIERS: dict[str, Score] = {"adhere": adhere, "TRL accuracy_reward": trl, "math-verify": math_verify}


def compare(rows: list[dict[str, Any]]) -> None:
    """Print the table of families against verifiers."""
    golds, responses = [row["gold"] for row in rows], [row["response"] for row in rows]
    sizes = Counter(row["family"] for row in rows)
    mistakes: dict[str, Counter[tuple[str, bool]]] = {}
    seconds = {}
    for name, score in VERIFIERS.items():
        score(golds[:2], responses[:2])  # imports are not what is compared
        start = time.perf_counter()
        scores = score(golds, responses)
        seconds[name] = time.perf_counter() - start
        wrong = (row for row, s in zip(rows, scores, strict=True) if (s == 1.0) is not row["label"])
        mistakes[name] = Counter((row["family"], row["label"]) for row in wrong)
    print(f"{'family':20} {'rows':>5}  " + "  ".join(f"{name:>22}" for name in VERIFIERS))
    for family in sorted(sizes):
        cells = (_cell(sizes[family], m[family, False], m[family, True]) for m in mistakes.values())
        print(f"{family:20} {sizes[family]:5}  " + "  ".join(cells))
    totals = (_cell(len(rows), _count(m, False), _count(m, True)) for m in mistakes.values())
    print(f"{'all':20} {len(rows):5}  " + "  ".join(totals))
    print(f"{'seconds':27}" + "  ".join(f"{seconds[name]:22.3f}" for name in VERIFIERS))


def _count(mistakes: Counter[tuple[str, bool]], label: bool) -> int:
    return sum(n for (_, of), n in mistakes.items() if of is label)


def _cell(rows: int, false_positives: int, false_negatives: int) -> str:
    right = 100 * (rows - false_positives - false_negatives) / rows
    return f"{right:7.2f} % {false_positives:3} FP {false_negatives:3} FN"


def self_check(paths: Iterable[Path]) -> None:
    """Print the gold answers of each file that do not verify against themselves."""
    from adhere.rewards.math import check_gold

    for path in paths:
        checked = [(str(row["answer"]), check_gold(str(row["answer"]))) for row in read_rows(path)]
        failing = [(line, gold, v) for line, (gold, v) in enumerate(checked, 1) if not v.passed]
        print(f"{path.parent.name}/{path.name}: {len(checked)} gold answers, {len(failing)} fail on themselves")
        for line, gold, verdict in failing:
            print(f"  line {line}: {gold[-60:]!r}: {verdict.detail}")


def main() -> None:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--golds", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs")
    compare(read_rows(arguments.cases))
    self_check(arguments.golds)


if __name__ == "__main__":
    main()
