"""The study for people and for programs: tables in the terminal, CSV, JSON, and every rollout's advantages."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from adhere.evaluation.reweight.agreement import dominant
from adhere.evaluation.reweight.study import Study, to_dict
from adhere.records.jsonl import dump
from adhere.records.tables import write_table
from adhere.rewards.files import atomic_file

if TYPE_CHECKING:
    from rich.console import Console

JSON, POINTS, STEPS, SOURCES, GROUPS, ROLLOUTS = (
    "reweight.json", "points.csv", "steps.csv", "sources.csv", "groups.csv", "rollouts.parquet",
)  # fmt: skip
CAUTION = (
    "These rollouts are those of the policy that was trained. A cosine says how alike two rewards would have pushed "
    "it, not where training on the other one would have led."
)


def write(folder: Path, study: Study, title: str) -> list[Path]:
    """Write the study into ``folder`` and return the files: figures as JSON and CSV, and advantages as parquet.

    ``rollouts.parquet`` has one row a rollout, in the order of the stage's own files (``step`` and ``row`` find it
    there), with its advantage as recorded and under every point that is not one with another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    points = [study.original, *study.points]
    with atomic_file(folder / JSON) as out:
        content = {
            "stage": title,
            "rollouts": int(study.rollouts.recorded.size),
            "largest_error": study.worst,
            "points": [to_dict(point) for point in points],
        }
        out.write(dump(content, indent=2))
    rows: list[dict[str, Any]] = []
    for point in points:
        leader = dominant(point.found.shares)
        shares = {f"share_{n}": None if math.isnan(share) else share for n, share in point.found.shares.items()}
        rows.append(
            {
                "point": point.name,
                "aggregation": point.config.aggregation,
                "scale": point.config.scale,
                **point.overall.to_dict(),
                "reinforced": float((point.found.signs > 0.0).mean()),
                "unscored": point.unscored,
                "live_groups": point.groups.live,
                "gained_groups": point.groups.gained,
                "lost_groups": point.groups.lost,
                "dominant": leader[0] if leader else None,
                **shares,
                "nearest": point.nearest[0],
                "same_as": point.same_as,
                "worth_a_run": point.worth,
                "verdict": point.verdict,
            }
        )
    _write_csv(folder / POINTS, rows)
    for name, kind in ((STEPS, "step"), (SOURCES, "source")):
        tables = [(point.name, point.steps if kind == "step" else point.sources) for point in points]
        rows = [{"point": p, kind: label, **found.to_dict()} for p, table in tables for label, found in table.items()]
        _write_csv(folder / name, rows)

    # Groups that teach something under a point and nothing under the original, or the other way round.
    rollouts, before = study.rollouts, study.original.found.live
    changed = [
        {
            "point": point.name,
            "step": int(rollouts.steps[g]),
            "group": int(rollouts.numbers[g]),
            "item_id": rollouts.items[g],
            "source": rollouts.sources[g],
            "signal": "gained" if point.found.live[g] else "lost",
        }
        for point in study.kept
        for g in np.flatnonzero(before != point.found.live)
    ]
    _write_csv(folder / GROUPS, changed)

    # Every rollout's advantages.
    groups, size = rollouts.shape
    first = np.searchsorted(rollouts.batches, rollouts.batches)
    columns: dict[str, Any] = {
        "step": np.repeat(rollouts.steps, size),
        "row": ((np.arange(groups) - first)[:, None] * size + np.arange(size)).ravel(),
        "group": np.repeat(rollouts.numbers, size),
        "item_id": np.repeat(rollouts.items, size),
        "source": np.repeat(rollouts.sources, size),
        "recorded": rollouts.recorded.ravel(),
        **{point.name: point.found.advantages.ravel() for point in study.kept},
    }
    write_table(folder / ROLLOUTS, pa.table(columns))
    return [folder / name for name in (JSON, POINTS, STEPS, SOURCES, GROUPS, ROLLOUTS)]


def show(study: Study, console: Console) -> None:
    """Print the points against what was trained, then what each kind of rollout earns, and a sentence a point."""
    from rich.markup import escape
    from rich.table import Table

    size = study.rollouts.recorded.size
    console.print(f"{size:,} rollouts; recomputed advantages are the recorded ones to {study.worst:.1e}")
    table = Table(title="Learning signal against the reward as trained", title_justify="left")
    for i, heading in enumerate(
        ("point", "cosine", "first/last tenth", "flips", "begun", "ended", "live groups", "shares")
    ):
        table.add_column(heading, justify="left" if i in (0, 7) else "right", overflow="fold", no_wrap=i not in (0, 7))
    for point in [study.original, *study.kept]:
        overall, groups = point.overall, point.groups
        # The mean cosine over the first and the last tenth of the steps.
        cosines = [found.cosine for found in point.steps.values()]
        tenth = math.ceil(len(cosines) / 10)
        known = [[c for c in part if not math.isnan(c)] for part in (cosines[:tenth], cosines[-tenth:])]
        ends = [sum(part) / len(part) if part else math.nan for part in known]
        change = f" (+{groups.gained} −{groups.lost})" if groups.gained or groups.lost else ""
        ranked = sorted(point.found.shares.items(), key=lambda pair: -pair[1] if not math.isnan(pair[1]) else 0.0)
        cells = (
            point.name,
            _figure(overall.cosine),
            "/".join(_figure(end) for end in ends),
            f"{overall.flips:.1%}",
            f"{overall.begun:.1%}",
            f"{overall.ended:.1%}",
            f"{groups.live:,}{change}",
            ", ".join(f"{name} {share:.0%}" for name, share in ranked if share != 0.0),
        )
        table.add_row(*(escape(text) for text in cells))
    console.print(table)
    kinds = Table(title="Mean advantage of what kinds of rollouts", title_justify="left")
    kinds.add_column("point", overflow="fold")
    for name, cell in study.original.cells.items():
        kinds.add_column(f"{name} ({cell.rollouts:,})", justify="right")
    for point in [study.original, *study.kept]:
        kinds.add_row(escape(point.name), *(f"{cell.advantage:+.3f}" for cell in point.cells.values()))
    if study.original.cells:
        console.print(kinds)
    if len({str(source) for source in study.rollouts.sources}) > 1:
        by_source = Table(title="Cosine (flips) by source", title_justify="left")
        by_source.add_column("point", overflow="fold")
        for source in study.original.sources:
            by_source.add_column(escape(str(source)), justify="right", overflow="fold")
        for point in study.kept:
            figures = (f"{_figure(found.cosine)} ({found.flips:.1%})" for found in point.sources.values())
            by_source.add_row(escape(point.name), *figures)
        console.print(by_source)
    for point in study.points:
        console.print(f"{escape(point.name)}: {escape(point.verdict)}", style="bold" if point.worth else "")
    console.print(CAUTION, style="dim")


def _figure(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    fields = list(dict.fromkeys(key for row in rows for key in row)) or [
        "point",
        "step",
        "group",
        "item_id",
        "source",
        "signal",
    ]
    with atomic_file(path) as out:
        writer = csv.DictWriter(out, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
