"""Diagnostics as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table


def tables(results: Mapping[str, Any]) -> list[Table]:
    """Return a table for each diagnostic: a line for each figure that has an estimate, a column for each model."""
    found = []
    names = [results[side].rstrip("/") for side in ("model", "against") if results[side]]
    # Folders that end alike, as stages/*/model do, are told apart by the folder above.
    short = [name.rpartition("/")[2] for name in names]
    names = names if len(set(short)) < len(short) else short
    for name, sides in results["diagnostics"].items():
        if not sides:
            continue
        table = Table(title=name, title_justify="left", title_style="bold", box=SIMPLE)
        table.add_column("figure")
        for model in names:
            table.add_column(escape(model), justify="right")
        columns = [dict(_figures(sides.get(side, {}))) for side in ("model", "against")[: len(names)]]
        for figure in dict.fromkeys(key for column in columns for key in column):
            table.add_row(figure, *(column.get(figure, "–") for column in columns))
        found.append(table)
    return found


def _figures(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the figures that a reader compares: estimates with their interval, and single numbers."""
    for key, value in found.items():
        name = f"{before} {key}".strip()
        if isinstance(value, Mapping) and "low" in value:
            mean = value["mean"]
            shown = "–" if mean is None else f"{mean:.3g} ({value['low']:.3g} to {value['high']:.3g})"
            yield name, shown
        elif isinstance(value, Mapping) and key != "by_item":
            yield from _figures(value, name)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, f"{value:.3g}"
