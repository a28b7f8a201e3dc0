"""The tables of docs/results.md that rest on committed results, made anew from them: `make evidence`.

    python bench/evidence.py            # rewrites the tables between their marks
    python bench/evidence.py --check    # exits 1 where a table is not that of the files

A folder below docs/evidence holds the results of one experiment as its run wrote them, less what no table shows: one
file a model, ``differences.json`` (paired, by prompt), ``rehearsal.json``, and the steps of the arms.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from adhere.evaluation.table import cell

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
EVIDENCE = ROOT / "docs" / "evidence"
METRICS = {"accuracy": "accuracy", "hacc": "HAcc", "sacc": "SAcc", "joint": "joint"}
MARK = re.compile(r"(<!-- evidence: ([\w/]+) -->\n\n).*?(\n<!-- end -->)", re.DOTALL)


def read(name: str) -> Any:
    """Return a file of an experiment, such as ``smollm2_words/sft``."""
    return json.loads((EVIDENCE / f"{name}.json").read_text(encoding="utf-8"))


def row(*cells: object) -> str:
    """Return one row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def models(folder: str, names: list[str]) -> str:
    """Return models × metrics in percent with intervals, then the paired differences in points."""
    lines = [row("", *METRICS.values()), row("---", *["---:"] * len(METRICS))]
    for name in names:
        metrics = read(f"{folder}/{name}")["metrics"]
        lines.append(row(name, *(cell(metrics[metric]) for metric in METRICS)))
    for name, found in read(f"{folder}/differences").items():
        values = [[100 * found[metric][part] for part in ("mean", "low", "high")] for metric in METRICS]
        lines.append(row(f"*{name}, paired*", *(f"{v:+.1f} [{low:+.1f}, {high:+.1f}]" for v, low, high in values)))
    return "\n".join(lines)


def constraints(folder: str, names: list[str]) -> str:
    """Return how often each kind of constraint is met, in percent: in the rehearsal's rollouts, then by each model."""
    found = {name: read(f"{folder}/{name}")["metrics"]["by_constraint"] for name in names}
    rehearsed = read(f"{folder}/rehearsal")["kinds"]
    lines = [row("constraint", "prompts", "rehearsed", *names), row("---", *["---:"] * (len(names) + 2))]
    for kind, last in sorted(found[names[-1]].items(), key=lambda pair: -pair[1]["mean"]):
        rates = [f"{100 * found[name][kind]['mean']:.0f}" for name in names]
        lines.append(row(f"`{kind}`", last["n"], f"{100 * rehearsed[kind]['rate']:.0f}", *rates))
    return "\n".join(lines)


def course(folder: str, arm: str, ungated: int) -> str:
    """Return the means over the steps of ``arm`` with the checklist ungated, then gated; ``ungated`` is how many."""
    shown = {
        "rates/accuracy": "accuracy, %", "rates/hacc": "HAcc, %", "monitors/live_groups": "live groups of 8",
        "components/checklist/advantage_share": "checklist's share of the advantage, %", "monitors/clipped": "cut, %",
        "completions/mean_length": "tokens", "step_time": "seconds",
    }  # fmt: skip
    steps = read(f"{folder}/{arm}_steps")
    lines = [row("steps", *shown.values()), row("---", *["---:"] * len(shown))]
    for part in (steps[:ungated], steps[ungated:]):
        means = [mean(step[key] for step in part) * (100 if title.endswith("%") else 1) for key, title in shown.items()]
        lines.append(row(f"{part[0]['step']}–{part[-1]['step']}", *(f"{value:.1f}" for value in means)))
    return "\n".join(lines)


TABLES = {
    "smollm2_words/models": lambda: models("smollm2_words", ["base", "sft", "composite"]),
    "smollm2_words/constraints": lambda: constraints("smollm2_words", ["sft", "composite"]),
    "smollm2_words/course": lambda: course("smollm2_words", "composite", ungated=20),
}


def rebuilt(page: str) -> str:
    """Return the page with each table between marks made anew."""
    return MARK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, and exit 1 where something would")
    check, page = parser.parse_args().check, PAGE.read_text(encoding="utf-8")
    found = rebuilt(page)
    if check and found != page:
        sys.exit(f"{PAGE}: a table is not that of {EVIDENCE}; run make evidence")
    PAGE.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
