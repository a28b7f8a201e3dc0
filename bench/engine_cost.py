"""What the engine itself costs: start, items a second, memory by worker, and the time that a kill takes.

    python bench/engine_cost.py [--math MATH500/test.jsonl] [--workers 2]

Memory is the peak resident size of each worker after comparing MATH-type answers by algebra and after checking
languages, then after an item that asks for more memory than a worker may have.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

from math_speed import pairs, read_rows
from reward_batch import resident_mb

from adhere.rewards.engine import Engine
from adhere.rewards.math.canonical import canonical
from adhere.rewards.math.verify import COMPARE
from adhere.rewards.verdict import Status, Verdict, passed

GREEDY = "engine_cost:greedy"
NOTHING = "engine_cost:nothing"
LANGUAGE = "adhere.rewards.constraints.core.batch_worker:check_call"


def nothing(_: int) -> Verdict:
    """The cheapest task there is."""
    return passed()


def greedy(megabytes: int) -> Verdict:
    """Touch ``megabytes`` MiB of memory."""
    return passed(str(len(bytearray(megabytes * 2**20))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--math", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, {workers} workers")
    with Engine(workers=workers) as engine:
        start = time.perf_counter()
        engine.map(NOTHING, [(-i,) for i in range(1, workers + 1)])
        print(f"start to first answers: {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        engine.map(NOTHING, [(i,) for i in range(10_000)])
        print(f"empty items: {10_000 / (time.perf_counter() - start):.0f} a second")
        start = time.perf_counter()
        engine.map(NOTHING, [(i,) for i in range(10_000)])
        print(f"the same again, from the cache: {10_000 / (time.perf_counter() - start):.0f} a second")
        if file := parser.parse_args().math:
            batch = pairs(read_rows(file), 600, "solution")
            answers = [(canonical(gold), canonical(text.rpartition("boxed{")[2][:-3])) for gold, text in batch]
            engine.map(COMPARE, answers)
        engine.map(LANGUAGE, [("language:response_language", f"Wir rechnen {i} Schritte. " * 20, '{"language": "de"}',
                            "hardened") for i in range(40)])  # fmt: skip
        print(f"peak memory: {', '.join(f'{resident_mb(pid):.0f}' for pid in engine.worker_pids())} MiB (target 300)")
        (verdict,) = engine.map(GREEDY, [(4 * engine.memory_mb,)])
        assert verdict.status is Status.ERROR, verdict
        print(f"an item of {4 * engine.memory_mb} MiB: {verdict.status.value}, {verdict.detail}")
        start = time.perf_counter()
        (verdict,) = engine.map("time:sleep", [(600,)], deadline=0.5)
        print(
            f"an item that never ends, deadline 0.5 s: {verdict.status.value} after {time.perf_counter() - start:.2f} s"
        )


if __name__ == "__main__":
    main()
