"""The table and the verdict in words: by how much each arm differs from the reference, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.report.collect import Evaluated, ReportData
from evaluation.responses import read_table
from evaluation.run import TABLE
from evaluation.statistics import Estimate, paired_difference, prompt_means
from evaluation.table import HEADINGS

METRICS = ("accuracy", "hacc", "sacc", "joint")
VERDICT = ("joint", "accuracy", "hacc")


@dataclass(frozen=True, slots=True)
class Difference:
    """How a group differs from the reference, by metric; all in fractions of 1."""

    group: str
    reference: str
    estimates: dict[str, Estimate]

    def sentence(self) -> str:
        """Say it in words; a difference whose interval contains 0 is called not measurable."""
        joint = _words(self.estimates["joint"], "joint")
        rest = " and ".join(_words(self.estimates[m], HEADINGS[m]) for m in VERDICT[1:])
        return f"{self.group} against {self.reference}: {joint}; {rest}."


def compare_groups(ours: Sequence[Path], theirs: Sequence[Path], metric: str) -> Estimate:
    """Return the paired difference ours − theirs; a prompt's score is its mean over samples and seeds."""
    return paired_difference(_means(ours, metric), _means(theirs, metric))


def differences(data: ReportData) -> list[Difference]:
    """Return how every evaluated group differs from the reference arm, in the order of the table."""
    folders: dict[str, list[Path]] = {}
    for entry in data.evaluated:
        if (entry.path / TABLE).is_file() and _same_suite(entry, data):
            folders.setdefault(entry.group, []).append(entry.path)
    reference = data.reference
    if reference is None or reference not in folders:
        return []
    return [
        Difference(group, reference, {m: compare_groups(paths, folders[reference], m) for m in METRICS})
        for group, paths in folders.items()
        if group != reference
    ]


def headline(data: ReportData, found: Sequence[Difference]) -> str:
    """Return the one sentence that a reader takes away: the best trained arm on joint, and what it costs."""
    arms = [difference for difference in found if difference.group in data.groups]
    scored = [d for d in arms if d.estimates["joint"].mean is not None]
    if not data.evaluated:
        return "Nothing has been evaluated yet, so there is no verdict."
    if not scored:
        return "Only one arm has been evaluated, so there is nothing to compare it with yet."
    best = max(scored, key=lambda d: d.estimates["joint"].mean or 0.0)
    joint, accuracy = best.estimates["joint"], best.estimates["accuracy"]
    if _sign(joint) <= 0:
        word = "worse" if _sign(joint) < 0 else "not measurably different"
        return f"No arm is measurably better on joint than {best.reference}; the nearest, {best.group}, is {word}."
    cost = {1: "and is more accurate too", 0: "at no measurable loss of accuracy", -1: "at a loss of accuracy"}
    said = "" if _sign(accuracy) == 0 else f" ({_points(accuracy)})"
    gain = _points(joint).replace("+", "")
    return f"{best.group} is better than {best.reference} on joint by {gain}, {cost[_sign(accuracy)]}{said}."


def table_rows(data: ReportData) -> list[dict[str, Any]]:
    """Return one row an evaluated model, then one a trivial floor: name, floor, cells of (text, mean)."""
    rows = [{"name": e.name, "floor": False, "cells": _cells(e.results["metrics"])} for e in data.evaluated]
    if data.evaluated:
        floors = data.evaluated[-1].results.get("floors", {})
        rows += [{"name": name, "floor": True, "cells": _cells(found)} for name, found in floors.items()]
    return rows


def _cells(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    return [_cell(metrics.get(metric)) for metric in METRICS]


def _cell(found: dict[str, Any] | None) -> dict[str, Any]:
    if not found or found["mean"] is None:
        return {"mean": None, "low": None, "high": None}
    return {key: 100 * found[key] for key in ("mean", "low", "high")}


def _means(folders: Sequence[Path], metric: str) -> dict[str, float]:
    by_prompt: dict[str, list[float]] = {}
    for folder in folders:
        rows = [row for row in read_table(folder / TABLE) if row["twin_of"] is None]
        values = [row["correct"]["score"] if metric == "accuracy" else row[metric] for row in rows]
        for prompt, mean in prompt_means(values, [row["id"] for row in rows]).items():
            by_prompt.setdefault(prompt, []).append(mean)
    return {prompt: float(np.mean(means)) for prompt, means in by_prompt.items()}


def _same_suite(entry: Evaluated, data: ReportData) -> bool:
    """Whether a model answered the same items as the first trained one: only then are they compared."""
    first = next((e for e in data.evaluated if e.group == data.reference), entry)
    return bool(entry.results.get("items") == first.results.get("items"))


def _sign(found: Estimate) -> int:
    if found.low is None or found.high is None:
        return 0
    return 1 if found.low > 0 else -1 if found.high < 0 else 0


def _points(found: Estimate) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return "n/a"
    text = f"{100 * found.mean:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return text.replace("-", "−")


def _words(found: Estimate, name: str) -> str:
    if found.mean is None:
        return f"{name} not scored on shared prompts"
    verb = {1: "better", 0: "not measurably different", -1: "worse"}[_sign(found)]
    return f"{name} {verb}, {_points(found)}"
