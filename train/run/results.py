"""The table, the picture and the cards that a run ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from adhere.evaluation.ablation import Arm, analyse, write
from adhere.evaluation.ablation.analysis import MARGIN, MARKDOWN
from adhere.evaluation.plot import write_plot
from adhere.evaluation.run import compare
from adhere.evaluation.table import Comparison, compare_results, heading_of, terminal_table, write_csv, write_markdown
from adhere.records.artifact import RESULTS, TABLE
from adhere.records.names import slug
from adhere.records.objects import read_object

LOG_WIDTH = 120
"""Columns of the table where the output is not a terminal."""


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """One evaluated model of a run: its name in the table, its artifact, and the stage that it belongs to."""

    name: str
    path: Path
    evaluation: str = ""


def write_run_results(
    folder: Path,
    entries: Sequence[EvaluatedModel],
    title: str,
    members: Mapping[str, tuple[str, int]],
    reference: str | None,
    margin: float = MARGIN,
) -> Path:
    """Compare what has been evaluated, the points of an ablation where there are ``members``; return the table's path.

    Models that were measured on other items or in another mode have a table of their own, named after their stage.
    Without ``entries`` nothing is written, and the path is that of an earlier table, if there is one.

    Args:
        folder: the run's.
        entries: the evaluated models.
        title: what a table calls the recipe's own evaluation data.
        members: the point and the seed of each arm of an ablation.
        reference: the point, or model, that the others are compared with; ``None`` is the first point.
        margin: points of accuracy that an arm may lose.
    """
    if entries and members:
        write_points(folder, entries, members, reference, margin)
        return folder / MARKDOWN
    stems: list[str] = []
    for alike in comparable(entries):
        stem = f"results-{slug(alike[0].evaluation)}" if stems else "results"
        stems.append(stem if stem not in stems else f"{stem}-{len(stems)}")
        write_comparison(folder, alike, title, stems[-1])
    return folder / "results.md"


def comparable(entries: Sequence[EvaluatedModel]) -> list[list[EvaluatedModel]]:
    """Return the entries in groups that were measured alike: on the same items of one suite, in one mode."""
    groups: dict[str, list[EvaluatedModel]] = {}
    for entry in entries:
        result = read_object(entry.path / RESULTS)
        measured = json.dumps([result.get(key) for key in ("suite", "mode", "items")])
        groups.setdefault(measured, []).append(entry)
    return list(groups.values())


def write_comparison(folder: Path, entries: Sequence[EvaluatedModel], title: str, stem: str = "results") -> Comparison:
    """Write ``STEM.md``, ``STEM.csv`` and ``STEM.png`` into ``folder``; print the table.

    Args:
        folder: the run's.
        entries: the models, measured alike.
        title: what the table calls the recipe's own evaluation data.
        stem: name of the files.
    """
    results = []
    for entry in entries:
        result = read_object(entry.path / RESULTS)
        # The recipe's own prompts are called as the recipe is; a benchmark has a name.
        suite = title if result.get("suite") == "prompts" else result.get("suite", title)
        results.append({**result, "model": entry.name, "suite": suite})
    comparison = compare_results(results)
    write_csv(folder / f"{stem}.csv", comparison)
    write_markdown(folder / f"{stem}.md", comparison)
    write_plot(folder / f"{stem}.png", comparison)
    console = Console()
    if not console.is_terminal:
        console = Console(width=LOG_WIDTH)
    console.print(terminal_table(comparison))
    if differences := joint_differences(entries):
        print("\n".join(["on these prompts, with this seed:", *(f"  {line}" for line in differences)]))
    print(f"table and plot: {folder / f'{stem}.md'}, {folder / f'{stem}.png'}")
    return comparison


def write_points(
    folder: Path,
    entries: Sequence[EvaluatedModel],
    members: Mapping[str, tuple[str, int]],
    reference: str | None,
    margin: float = MARGIN,
) -> None:
    """Compare the points of an ablation over prompts and seeds; write ``ablation.json``, ``.csv`` and ``.md``.

    Args:
        folder: the run's.
        entries: the evaluated models.
        members: the point and the seed of each arm; models that all arms share are compared too, once for all seeds.
        reference: the point, or model, that the others are compared with; ``None`` is the first point.
        margin: points of accuracy that an arm may lose.
    """
    found: dict[str, dict[int | None, Path]] = {}
    for entry in entries:
        point, seed = members.get(entry.name, (entry.name, None))
        found.setdefault(point, {})[seed] = entry.path / TABLE
    first = next((point for point, _ in members.values() if point in found), None)
    if first is None:
        return
    analysis = analyse([Arm(name, paths) for name, paths in found.items()], reference or first, margin=margin)
    paths = write(folder, analysis)
    print("\n".join(analysis.verdicts))
    print(f"table: {paths[-1]}")


def joint_differences(entries: Sequence[EvaluatedModel]) -> list[str]:
    """Say by how much the last model differs from each other one, paired by prompt."""
    if len(entries) < 2:
        return []
    *others, last = entries
    results = {entry.path: read_object(entry.path / RESULTS) for entry in entries}
    # Joint and accuracy where the suite has them, else the figure that stands for the suite.
    headline, paired = (results[last.path].get(key) for key in ("headline", "paired_metrics"))
    metrics = ["joint", "accuracy", *([str(headline)] if headline in (paired or ()) else [])]
    lines = []
    for other in others:
        parts = []
        for metric in metrics:
            if not all(results[entry.path]["metrics"].get(metric, {}).get("n") for entry in (other, last)):
                continue
            found = compare(last.path, other.path, metric)
            if found.mean is not None and found.low is not None and found.high is not None:
                parts.append(
                    f"{heading_of(metric)} {100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
                )
        if parts:
            lines.append(f"{last.name} − {other.name}: {', '.join(parts)} points")
    return lines
