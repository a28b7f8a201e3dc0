"""Seconds that scoring one GRPO batch takes: 1,024 completions x 4 components, as the trainer calls it.

    python bench/reward_batch.py --gsm8k GSM8K/test.jsonl --math MATH500/test.jsonl [--batches 5]

Half the prompts have GSM8K-type gold answers, half MATH-type ones; 8 completions to a prompt, half of them right; three
rule constraints to a prompt, drawn from the registry. The components are ``math``, ``checklist`` (gated), ``format``
and ``length``. Every batch has new completions, so no cache of verdicts helps; the workers of the engine are warm, as
they are from the second step of training on. Also prints CPU seconds, which do not
depend on what else the machine does, and memory by worker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from pathlib import Path
from typing import Any

from math_speed import dressed, read_rows, wrong

from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.constraints import registry, sample
from adhere.rewards.engine import Engine
from adhere.rewards.functions import RewardFunctions

GROUP = 8
COMPONENTS: dict[str, Any] = {
    "math": {"kind": "math"},
    "checklist": {"kind": "checklist", "gate": "math"},
    "format": {"kind": "format", "weight": 0.0},
    "length": {"kind": "length", "weight": 0.0},
}


def batch(rows: list[dict[str, Any]], size: int, rng: random.Random) -> dict[str, Any]:
    """Return what TRL passes to a reward function: ``size`` completions of about 150 words, eight to a prompt."""
    columns: dict[str, list[Any]] = {
        key: [] for key in ("prompts", "completions", "completion_ids", "answer", "checklist")
    }
    for row in rng.sample(rows, size // GROUP):
        gold = str(row["answer"]).rpartition("####")[2].strip()
        work = str(row.get("solution") or row["answer"]).replace("\\boxed", "").partition("####")[0]
        checks = []
        for i, constraint in enumerate(rng.sample(list(registry()), 3)):
            kwargs = sample(constraint, rng, question="What is 2 + 2?")
            checks.append({"id": str(i), "text": constraint, "check": {"constraint": constraint, "kwargs": kwargs}})
        for i in range(GROUP):
            answer = dressed(gold, rng) if i % 2 else wrong(gold, rng)
            text = f"Attempt {rng.random()}.\n{work}\nSo the final answer is $\\boxed{{{answer}}}$."
            columns["prompts"].append([{"role": "user", "content": "Solve it."}])
            columns["completions"].append([{"role": "assistant", "content": text}])
            columns["completion_ids"].append(list(range(len(text) // 4)))
            columns["answer"].append(gold)
            columns["checklist"].append(json.dumps(checks))
    return columns


def resident_mb(pid: int) -> float:
    """Return the peak resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used, to the kernel's tick of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Score the batches and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--math", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    rows = read_rows(arguments.gsm8k)[:500] + read_rows(arguments.math)[:500]
    rng = random.Random(0)
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, {arguments.workers} workers"
    )
    with Engine(workers=arguments.workers) as engine:
        composite = Composite(RewardConfig.model_validate({"components": COMPONENTS}), engine)
        rewards = RewardFunctions(composite)
        totals, parts, own, helped = [], [], [], []
        for number in range(arguments.batches + 1):
            given = batch(rows, arguments.size, rng)
            workers_before = sum(map(cpu_seconds, engine.worker_pids()))
            start, start_cpu = time.perf_counter(), time.process_time()
            for function in rewards.as_list():
                function(**given)
            if number:
                totals.append(time.perf_counter() - start)
                own.append(time.process_time() - start_cpu)
                helped.append(sum(map(cpu_seconds, engine.worker_pids())) - workers_before)
                assert rewards.scores is not None
                parts.append(rewards.scores.seconds)
        shown = ", ".join(f"{name} {statistics.median(p[name] for p in parts):.3f}" for name in COMPONENTS)
        print(
            f"{arguments.size} completions x {len(COMPONENTS)} components: median {statistics.median(totals):.3f} s, "
            f"largest {max(totals):.3f} s (target 0.5 s); by component: {shown}"
        )
        print(f"CPU seconds, median: {statistics.median(own):.3f} here, {statistics.median(helped):.3f} in all workers")
        print(f"items that needed a worker: {engine.stats.items - engine.stats.cache_hits}; {engine.stats}")
        memory = [f"{resident_mb(pid):.0f}" for pid in engine.worker_pids()]
        print(f"peak resident memory by worker: {', '.join(memory)} MiB (target 300)")


if __name__ == "__main__":
    main()
