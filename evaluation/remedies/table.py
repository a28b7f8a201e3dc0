"""The table of remedies: accuracy, HAcc and joint with their intervals, and what each remedy costs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from adhere.rewards.files import atomic_file

HEADINGS = ("remedy", "accuracy", "HAcc", "joint", "tokens", "seconds", "applied")
METRICS = ("accuracy", "hacc", "joint")

Results = Sequence[Mapping[str, Any]]


def remedies_table(results: Results) -> Table:
    """Return the table for a terminal.

    Args:
        results: those of evaluations that name their ``remedy``.
    """
    table = Table(
        title=escape(f"remedies on {results[0]['suite']}"), title_justify="left", title_style="bold", box=SIMPLE
    )
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "remedy" else "right")
    for row in rows(results):
        table.add_row(*map(escape, row))
    return table


def write_remedies(folder: Path, results: Results) -> None:
    """Write ``remedies.md`` and ``remedies.csv``; the second has the ends of the intervals as columns."""
    with atomic_file(folder / "remedies.md") as out:
        lines = [HEADINGS, ["---", *["--:"] * (len(HEADINGS) - 1)], *rows(results)]
        out.writelines(f"| {' | '.join(line)} |\n" for line in lines)
    with atomic_file(folder / "remedies.csv") as out:
        writer = csv.writer(out)
        ends = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
        writer.writerow(["remedy", "options", *ends, "tokens", "seconds", "applied"])
        for result in results:
            cost = result["remedy"]
            found = [result["metrics"][metric] for metric in METRICS]
            figures = [estimate[end] for estimate in found for end in ("mean", "low", "high")]
            options = " ".join(f"{key}={value}" for key, value in cost["options"].items() if value is not None)
            writer.writerow([cost["name"], options, *figures, cost["tokens"], cost["seconds"], cost["applied"]])


def rows(results: Results) -> list[list[str]]:
    """Return the cells of each line: shares in percent with their 95 % interval, mean tokens, seconds in all."""
    found = []
    for result in results:
        cost = result["remedy"]
        cells = [cost["name"]]
        for metric in METRICS:
            estimate = result["metrics"][metric]
            shown = [None if estimate[end] is None else f"{100 * estimate[end]:.1f}" for end in ("mean", "low", "high")]
            cells.append("–" if shown[0] is None else f"{shown[0]} ({shown[1]}–{shown[2]})")
        cells.append("–" if cost["tokens"] is None else f"{cost['tokens']:.0f}")
        cells.append(f"{cost['seconds']:.1f}")
        cells.append("–" if cost["applied"] is None else f"{cost['applied']:.0%}")
        found.append(cells)
    return found
