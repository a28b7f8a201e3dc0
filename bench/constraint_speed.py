"""How fast the constraint checkers are, beside those of ``if-verifiable`` (IFEval's official checkers, repackaged).

    python3.11 -m venv peer
    peer/bin/pip install --no-deps if-verifiable==0.1.2
    peer/bin/pip install datasets nltk langdetect immutabledict emoji syllapy
    pip install langdetect
    python bench/constraint_speed.py --peer peer/bin/python [--rows ifeval_gpt4_verdicts.jsonl.gz] [--repeat 5]

The peer runs in its own interpreter on the same responses in the same run, the two taking turns. Its time is that of
its public ``evaluate_output_for_sample``: strict and loose verdicts of one response and constraint. Ours is the same
work, ``follow``: ``check`` strict, then the eight loose variants; ``strict only`` compares one ``check_following`` of
the peer, its checker built for it, with one ``check``. Language is left out, since both spend their time in
langdetect; so is what the peer cannot do offline, because NLTK's models are missing. The median of the repeats counts.
Needs the verdicts file of the tests, or any file of its form: ``{response, constraints: [{id, kwargs}]}`` a line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rewards.constraints import check, follow
from rewards.constraints.base import Mode

DEFAULT = Path(__file__).parents[1] / "../shared/oracle/ifeval_gpt4_verdicts.jsonl.gz"
LANGUAGE = ("language:response_language", "change_case:english_capital", "change_case:english_lowercase")

PEER = """
import json, sys, time
from if_verifiable.common import evaluate_instructions
from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as KNOWN
def strict(key, kwargs, response):
    checker = KNOWN[key](key)
    checker.build_description(**kwargs)
    return checker.check_following(response)
def both(key, kwargs, response, prompt):
    return evaluate_instructions(response, [key], [kwargs], prompt, KNOWN)
for line in sys.stdin:
    key, kwargs, response, prompt, repeat = json.loads(line)
    try:
        strict(key, kwargs, response)
    except LookupError as error:
        print(json.dumps(None), flush=True)
        continue
    seconds = []
    for work in (lambda: strict(key, kwargs, response), lambda: both(key, kwargs, response, prompt)):
        times = []
        for _ in range(repeat):
            begun = time.perf_counter()
            work()
            times.append(time.perf_counter() - begun)
        seconds.append(sorted(times)[len(times) // 2])
    print(json.dumps(seconds), flush=True)
"""


def median_seconds(work: Callable[[], Any], repeat: int) -> float:
    """Return the median wall time of ``work`` over ``repeat`` calls, after one to warm up."""
    work()
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def measure(rows: list[dict[str, Any]], peer: str, repeat: int) -> tuple[dict[str, list[list[float]]], dict[str, int]]:
    """Return seconds per check by constraint, (peer strict, peer both, compat, hardened, follow) each, and what was
    left out."""
    seconds: dict[str, list[list[float]]] = defaultdict(list)
    left_out: dict[str, int] = defaultdict(int)
    with subprocess.Popen([peer, "-c", PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin and other.stdout
        for row in rows:
            for constraint in row["constraints"]:
                key, kwargs, response = constraint["id"], constraint["kwargs"], row["response"]
                if key in LANGUAGE:
                    left_out[key] += 1
                    continue
                other.stdin.write(json.dumps([key, kwargs, response, row.get("prompt", ""), repeat]) + "\n")
                other.stdin.flush()
                theirs = json.loads(other.stdout.readline())
                if theirs is None:
                    left_out[key] += 1
                    theirs = [float("nan")] * 2
                ours = [median_seconds(lambda m=m: check(key, response, kwargs, m), repeat) for m in _modes()]  # type: ignore[misc]
                both = median_seconds(lambda: follow(response, [(key, kwargs)]), repeat)
                seconds[key].append([*theirs, *ours, both])
        other.stdin.close()
    return seconds, left_out


def _modes() -> tuple[Mode, Mode]:
    return ("compat", "hardened")


def main() -> int:
    """Print one line a constraint and the overall ratios; the exit code is 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer", required=True, help="the interpreter that has if-verifiable")
    parser.add_argument("--rows", type=Path, default=DEFAULT)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with gzip.open(given.rows, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    seconds, left_out = measure(rows, given.peer, given.repeat)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {len(rows)} responses")
    print(f"{'constraint, microseconds a check':44} {'n':>4} {'peer':>8} {'compat':>8} {'hardened':>8} {'x':>6} {'x':>6}", end="")
    print(f" | {'peer s+l':>9} {'ours':>8} {'x':>6}")
    totals = [0.0] * 5
    for key, found in sorted(seconds.items()):
        means = [statistics.fmean(column) * 1e6 for column in zip(*found, strict=True)]
        if means[0] == means[0]:
            totals = [a + sum(column) for a, column in zip(totals, zip(*found, strict=True), strict=True)]
        _line(key, len(found), means)
    _line("all that both decide", sum(map(len, seconds.values())), [t * 1e6 for t in totals])
    print(f"left out: {dict(left_out)}")
    return 0


def _line(name: str, count: int, values: list[float]) -> None:
    strict, both, compat, hardened, ours = values
    print(f"{name:44} {count:4} {strict:8.1f} {compat:8.1f} {hardened:8.1f} {strict / compat:6.1f} {strict / hardened:6.1f}", end="")
    print(f" | {both:9.1f} {ours:8.1f} {both / ours:6.1f}")


if __name__ == "__main__":
    sys.exit(main())
