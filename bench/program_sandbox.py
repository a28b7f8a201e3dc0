"""What the sandbox of generated programs costs: milliseconds per text, by layer of isolation and number of workers.

    python bench/program_sandbox.py [--texts 256]

One program on many texts, each in a fork of its own; wall time is the best of three passes, CPU time the mean (of the
sandbox's processes, whatever else the machine does). For comparison a fresh interpreter for each text, which is what
isolation without a kept process would cost at least.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from adhere.rewards.checklist import ProgramCall, Sandbox, SandboxLimits
from adhere.rewards.checklist.sandbox import Layer

CODE = """
import re

def verify_requirement(text):
    sentences = [s for s in re.split(r"[.!?]+\\s", text) if s.strip()]
    return len(sentences) >= 3 and all(len(s.split()) < 30 for s in sentences)
"""

LAYERS: tuple[tuple[Layer, ...], ...] = (("namespaces", "seccomp"), ("seccomp",), ("namespaces",))


def best(passes: int, work: Callable[[int], None]) -> float:
    """Return the seconds of the fastest of some passes; ``work`` gets the number of the pass."""
    seconds = []
    for number in range(passes):
        started = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def cpu_seconds() -> float:
    """Return the CPU time so far of the processes below this one, and of those that they have waited for."""
    parents, spent = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            parents[int(entry.parent.name)] = int(fields[1])
            spent[int(entry.parent.name)] = sum(int(ticks) for ticks in fields[11:15])
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(spent[pid] for pid in below - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def calls(count: int, number: int) -> list[ProgramCall]:
    """Return calls on texts of about 1,500 characters, all different."""
    return [
        ProgramCall(CODE, f"Answer {i} of pass {number}. " + "It is so because it is so. " * 55) for i in range(count)
    ]


def main() -> None:
    """Print one line per setting."""
    parser = argparse.ArgumentParser(description="What the sandbox of generated programs costs.")
    parser.add_argument("--texts", type=int, default=256, help="texts per pass")
    count: int = parser.parse_args().texts
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f}, Python {platform.python_version()}")
    started = time.perf_counter()
    with Sandbox() as sandbox:
        state = sandbox.isolation()
    print(f"start and trial of all layers: {1000 * (time.perf_counter() - started):.0f} ms ({state})")
    for layers in LAYERS:
        for workers in (1, 2):
            with Sandbox(SandboxLimits(), workers=workers, layers=layers) as sandbox:

                def work(number: int, sandbox: Sandbox = sandbox) -> None:
                    verdicts = sandbox.run(calls(count, number))
                    assert all(verdict.score == 1.0 for verdict in verdicts), verdicts[0]

                sandbox.run(calls(2, -1))
                before = cpu_seconds()
                wall = 1000 * best(3, work) / count
                cpu = 1000 * (cpu_seconds() - before) / (3 * count)
            print(f"{'+'.join(layers):<20} {workers} workers: {wall:6.2f} ms wall, {cpu:5.2f} ms CPU per text")
    fresh = best(3, lambda number: subprocess.run([sys.executable, "-I", "-S", "-c", CODE], check=True) and None)
    print(f"{'a fresh interpreter':<20} 1 process: {1000 * fresh:6.2f} ms wall, without any isolation")


if __name__ == "__main__":
    main()
