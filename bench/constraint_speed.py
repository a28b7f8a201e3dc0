"""How fast the constraint checkers are, beside those of ``if-verifiable`` (IFEval's official checkers, repackaged).

    python3.11 -m venv peer
    peer/bin/pip install --no-deps if-verifiable==0.1.2
    peer/bin/pip install datasets nltk langdetect immutabledict emoji syllapy
    pip install langdetect
    python bench/constraint_speed.py --peer peer/bin/python [--rows ifeval_gpt4_verdicts.jsonl.gz] [--repeat 7]

The peer runs in its own interpreter on the same responses in the same run, the two taking turns. The first figures are
one strict check: the peer builds its checker from the arguments and calls ``check_following``, as it does for every
response; ours calls a checker that was prepared when the data was loaded, as training and evaluation do. ``check``
is the same with the arguments validated each time. The figures after the bar are strict and loose verdicts of one
response and constraint: the peer's public ``evaluate_output_for_sample``, our ``follow`` with a checker. The last lines
are the batch that training scores: ``score_batch`` on all responses with their whole checklists, for each check.
Language is left out, since both spend their time in langdetect. NLTK's Punkt runs in the peer without its trained
tables, so that nothing has to be downloaded: the work is the same, the verdicts are not compared here. Processor
time counts, the least of the repeats, on both sides: what else runs on the machine only adds. No verdict is kept from
one repeat to the next.
Needs the verdicts file of the tests, or any file of its form: ``{response, constraints: [{id, kwargs}]}`` a line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from adhere.rewards.checklist import Requirement, RuleCheck, score_batch
from adhere.rewards.constraints import check, follow, prepare
from adhere.rewards.constraints.core.constraint import MODES, Mode

DEFAULT = Path(__file__).parents[1] / "../shared/oracle/ifeval_gpt4_verdicts.jsonl.gz"
LANGUAGE = ("language:response_language", "change_case:english_capital", "change_case:english_lowercase")
NLTK = ("change_case:capital_word_frequency", "length_constraints:number_sentences")

LEAST_S = 50e-6
"""Shorter work is repeated until a measurement takes so long."""

PEER = """
import json, sys, time
import nltk
from nltk.tokenize.punkt import PunktSentenceTokenizer
untrained = PunktSentenceTokenizer()
nltk.data.load = lambda *given, **more: untrained
nltk.tokenize._get_punkt_tokenizer = lambda language="english": untrained
from if_verifiable.common import evaluate_instructions
from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as KNOWN
def strict(key, kwargs, response):
    checker = KNOWN[key](key)
    checker.build_description(**kwargs)
    return checker.check_following(response)
def both(key, kwargs, response, prompt):
    return evaluate_instructions(response, [key], [kwargs], prompt, KNOWN)
for line in sys.stdin:
    key, kwargs, response, prompt, repeat, least = json.loads(line)
    strict(key, kwargs, response)
    seconds = []
    for work in (lambda: strict(key, kwargs, response), lambda: both(key, kwargs, response, prompt)):
        begun = time.thread_time()
        work()
        number = 1 + int(least / (time.thread_time() - begun))
        times = []
        for _ in range(repeat):
            begun = time.thread_time()
            for _ in range(number):
                work()
            times.append((time.thread_time() - begun) / number)
        seconds.append(min(times))
    print(json.dumps(seconds), flush=True)
"""


def fastest_seconds(work: Callable[[], Any], repeat: int) -> float:
    """Return the processor time of one ``work``, the smallest of ``repeat`` measurements after one to warm up."""
    begun = time.thread_time()
    work()
    number = 1 + int(LEAST_S / (time.thread_time() - begun))
    times = []
    for _ in range(repeat):
        begun = time.thread_time()
        for _ in range(number):
            work()
        times.append((time.thread_time() - begun) / number)
    return min(times)


def measure(rows: list[dict[str, Any]], peer: str, repeat: int) -> tuple[dict[str, list[list[float]]], dict[str, int]]:
    """Return seconds per check by constraint, (peer strict, peer both, compat, hardened, check, both) each, and what
    was left out."""
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
                other.stdin.write(json.dumps([key, kwargs, response, row.get("prompt", ""), repeat, LEAST_S]) + "\n")
                other.stdin.flush()
                theirs = json.loads(other.stdout.readline())
                checker = prepare(key, kwargs)
                ours = [fastest_seconds(partial(checker, response, mode), repeat) for mode in MODES]
                single = fastest_seconds(partial(check, key, response, kwargs, "compat"), repeat)
                both = fastest_seconds(partial(follow, response, [checker]), repeat)
                seconds[key].append([*theirs, *ours, single, both])
        other.stdin.close()
    return seconds, left_out


def measure_batch(rows: list[dict[str, Any]], repeat: int) -> dict[Mode, float]:
    """Return seconds per check of ``score_batch`` on the responses with their checklists, by mode."""
    texts = [row["response"] for row in rows]
    checklists = [
        tuple(
            Requirement(str(i), constraint["id"], RuleCheck(constraint["id"], constraint["kwargs"]))
            for i, constraint in enumerate(row["constraints"])
            if constraint["id"] not in LANGUAGE
        )
        for row in rows
    ]
    count = sum(map(len, checklists))
    prompts = [row.get("prompt", "") for row in rows]
    return {
        mode: fastest_seconds(partial(score_batch, texts, checklists, prompts, "mean", mode), repeat) / count
        for mode in MODES
    }


def main() -> int:
    """Print one line a constraint and the overall ratios; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer", required=True, help="the interpreter that has if-verifiable")
    parser.add_argument("--rows", type=Path, default=DEFAULT)
    parser.add_argument("--repeat", type=int, default=7)
    given = parser.parse_args()
    with gzip.open(given.rows, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    seconds, left_out = measure(rows, given.peer, given.repeat)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, Python {platform.python_version()}, {len(rows)} responses")
    heads = ("constraint, microseconds a check", "n", "peer", "compat", "hardened", "check", "x", "x", "x")
    print("{:44} {:>4} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6}".format(*heads), end="")
    print(f" | {'peer s+l':>9} {'ours':>8} {'x':>6}")
    totals, plain = [0.0] * 6, [0.0] * 6
    for key, found in sorted(seconds.items()):
        sums = [sum(column) * 1e6 for column in zip(*found, strict=True)]
        totals = [a + b for a, b in zip(totals, sums, strict=True)]
        if key not in NLTK:
            plain = [a + b for a, b in zip(plain, sums, strict=True)]
        _line(key, len(found), [total / len(found) for total in sums])
    _line("sums without what calls NLTK", sum(len(f) for key, f in seconds.items() if key not in NLTK), plain)
    _line("sums", sum(map(len, seconds.values())), totals)
    checks = sum(map(len, seconds.values()))
    for mode, each in measure_batch(rows, given.repeat).items():
        print(f"score_batch, {mode}: {each * 1e6:.1f} us a check, {totals[0] / checks / (each * 1e6):.1f} x strict")
    print(f"left out: {dict(left_out)}")
    return 0


def _line(name: str, count: int, values: list[float]) -> None:
    strict, both, compat, hardened, single, ours = values
    print(f"{name:44} {count:4} {strict:8.1f} {compat:8.1f} {hardened:8.1f} {single:8.1f}", end="")
    print("".join(f" {strict / mine:6.1f}" for mine in (compat, hardened, single)), end="")
    print(f" | {both:9.1f} {ours:8.1f} {both / ours:6.1f}")


if __name__ == "__main__":
    sys.exit(main())
