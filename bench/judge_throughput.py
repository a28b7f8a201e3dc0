"""How many judge calls a second the client makes, and what a second pass over the same questions costs.

The server is scripted, on loopback, and answers every request after 50 ms; it shares the CPUs with the client.

    python bench/judge_throughput.py [--calls 1600] [--latency 0.05]

Prints for each concurrency the calls a second next to the bound concurrency / latency, then seconds and cache hits of
a second pass: through a cache file, and by another judge that opens the same file.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from adhere.rewards.checklist.judge_protocol import JudgeQuestion
from adhere.rewards.judge import JudgeConfig, load_judge

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from judge_server import ScriptedServer


def measure(url: str, concurrency: int, calls: int, latency: float, cache: str) -> None:
    """Ask ``calls`` questions three times: cold, again, and by a new judge; print one row."""
    config = JudgeConfig(base_url=url, model="m", concurrency=concurrency, cache=cache)
    questions = [
        JudgeQuestion("What is 2 + 2?", f"Is it item {i % 5}?", f"Answer {i // 5}. " * 40) for i in range(calls)
    ]
    with load_judge(config) as judge, load_judge(config) as other:
        judge.probe()
        seconds = []
        for one in (judge, judge, other):
            started = time.perf_counter()
            verdicts = one.decide(questions)
            seconds.append(time.perf_counter() - started)
            assert all(verdict.score == 0.75 for verdict in verdicts)
        hits = judge.usage.cache_hits / calls, other.usage.cache_hits / calls
    rate, bound = calls / seconds[0], concurrency / latency
    print(
        f"{concurrency:>11} {calls:>6} {rate:>8.0f} {bound:>7.0f} {rate / bound:>6.0%}   "
        f"{seconds[1]:>7.3f} s {hits[0]:>5.0%}   {seconds[2]:>7.3f} s {hits[1]:>5.0%}"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1600, help="questions for concurrency 64; fewer for less")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that the server takes")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f} at the start")
    print("concurrency  calls  calls/s   bound  share   second pass       another judge")
    with (
        ScriptedServer(lambda message, body: "75", arguments.latency) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        for concurrency in (1, 16, 64):
            calls = max(50, arguments.calls * concurrency // 64)
            measure(server.url, concurrency, calls, arguments.latency, str(Path(folder) / f"{concurrency}.sqlite3"))


if __name__ == "__main__":
    main()
