"""What a report says first: the verdict in words, and the table of points with their differences and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.evaluation.ablation import Analysis, Arm, Difference, FrontArm, analyse
from adhere.evaluation.ablation.words import CAUTIONS, cautions
from adhere.evaluation.metrics import Metric
from adhere.evaluation.report.collect import Evaluated, ReportData
from adhere.evaluation.table import open_ranges
from adhere.records.artifact import TABLE

ORDER: tuple[Metric, ...] = ("joint", "accuracy", "hacc", "sacc")


@dataclass(frozen=True, slots=True)
class TableCell:
    """A figure in percent with its interval; ``None`` where nothing was scored."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class TableRow:
    """One line of the table: a point, a model that is not a point, or a trivial floor.

    ``cells`` are by metric in `ORDER`. ``joint`` and ``accuracy`` are the differences from the reference, ``front`` the
    place on the Pareto front; ``runs`` are the seeds' own lines, left out where the model has one run.
    ``note`` says what a reader has to know, such as that training ended early.
    """

    name: str
    cells: Sequence[TableCell]
    runs: Sequence[TableRow] = ()
    joint: Difference | None = None
    accuracy: Difference | None = None
    front: FrontArm | None = None
    reference: bool = False
    floor: bool = False
    note: str = ""


def compare_models(data: ReportData) -> Analysis | None:
    """Compare all models that answered the items of the reference, or ``None`` where no responses are on disk.

    Seeds pair by their number. A model that was made once, such as the base model, stands for all seeds; so does each
    arm of a run whose arms share one seed.
    """
    counts = Counter(entry.group for entry in data.evaluated)
    several = len(data.groups) < len(data.trained) or max(counts.values(), default=0) > 1
    arms: dict[str, dict[int | None, Path]] = {}
    for entry in data.evaluated:
        if not (entry.path / TABLE).is_file() or not same_items(entry, data):
            continue
        seeds, seed = arms.setdefault(entry.group, {}), None
        if several and (entry.group in data.groups or counts[entry.group] > 1):
            seed = entry.seed or 0
            while seed in seeds:  # runs of different recipes may have one name and one seed
                seed += 1
        seeds[seed] = entry.path / TABLE
    if not arms:
        return None
    reference = data.reference if data.reference in arms else None
    return analyse([Arm(name, paths) for name, paths in arms.items()], reference, margin=data.margin)


def same_items(entry: Evaluated, data: ReportData) -> bool:
    """Whether a model answered the same items as the reference: only then are they compared."""
    first = next((e for e in data.evaluated if e.group == data.reference), data.evaluated[0])
    return bool(entry.results.get("items") == first.results.get("items"))


def headline(data: ReportData, analysis: Analysis | None) -> str:
    """Return the sentence that a reader takes away: the best of the trained models on joint, and what it costs."""
    if not data.evaluated:
        return "Nothing has been evaluated yet, so there is no verdict."
    candidates = {entry.group for entry in data.evaluated if entry.candidate}
    found = [] if analysis is None else [d for d in analysis.differences["joint"] if d.arm in candidates]
    scored = [d for d in found if d.mean is not None]
    if analysis is None or not scored:
        return "No two models have been evaluated yet, so there is nothing to compare."
    best = max(scored, key=lambda d: d.mean or 0.0)
    said = dict(zip([d.arm for d in analysis.differences["joint"]], verdicts(analysis), strict=False))
    sentence = said[best.arm]
    if best.runs < 2:
        most = max(scored, key=lambda d: abs(d.mean or 0.0))
        return f"With one seed no model is claimed to be ahead. The largest difference in joint: {said[most.arm]}."
    if best.sign > 0:
        return f"{sentence}."
    return f"No model is measurably better than {best.reference} on joint. The nearest: {sentence}."


def verdicts(analysis: Analysis) -> list[str]:
    """Return the sentences without the remarks on few seeds, which stand below the table once."""
    sentences = list(analysis.verdicts)
    for text in CAUTIONS.values():
        sentences = [sentence.removesuffix(f"; {text}") for sentence in sentences]
    return sentences


def caution(analysis: Analysis | None) -> str:
    """Return what the intervals do not hold, where a difference rests on one seed or on two."""
    return "" if analysis is None else " ".join(cautions(analysis.differences["joint"]))


def table(data: ReportData, analysis: Analysis | None) -> list[TableRow]:
    """Return one row a model or point in the order of the recipe, then points without one, then trivial floors."""
    groups: dict[str, list[Evaluated]] = {}
    for entry in data.evaluated:
        groups.setdefault(entry.group, []).append(entry)
    rows: list[TableRow] = []
    for group, members in groups.items():
        ranges = [open_ranges(e.results["metrics"]) for e in members]
        notes = [data.note(group), members[0].origin if data.branched else "", *dict.fromkeys(ranges)]
        runs = [TableRow(e.name.removeprefix(f"{group} · "), _cells(e.results["metrics"])) for e in members]
        if analysis is None or group not in analysis.means:
            note = "; ".join(filter(None, ["answered other items, so it is not compared", *notes]))
            rows.append(TableRow(group, runs[0].cells, runs[1:] and runs, note=note))
            continue
        joint, accuracy = ({d.arm: d for d in analysis.differences[m]}.get(group) for m in ("joint", "accuracy"))
        rows.append(
            TableRow(
                group,
                _cells({metric: mean.to_dict() for metric, mean in analysis.means[group].items()}),
                runs if len(runs) > 1 else (),
                joint,
                accuracy,
                next(arm for arm in analysis.front if arm.arm == group),
                reference=group == analysis.reference and len(analysis.means) > 1,
                note="; ".join(filter(None, notes)),
            )
        )
    if data.evaluated:
        left_out = [group for group in data.groups if not groups.keys() & data.shown_as(group)]
        rows += [TableRow(group, _cells({}), note=data.note(group)) for group in left_out]

    # Trivial floors are those of the items: once for each set of items that was answered.
    suites: dict[str, Evaluated] = {}
    for entry in data.evaluated:
        suites.setdefault(str(entry.results.get("items")), entry)
    for entry in suites.values():
        suite = f"{entry.results.get('suite')}, {entry.results['metrics'].get('prompts')} prompts: "
        floors = entry.results.get("floors", {}).items()
        before = suite if len(suites) > 1 else ""
        rows += [TableRow(before + name, _cells(found), floor=True) for name, found in floors]
    return rows


def _cells(metrics: Mapping[Any, Any]) -> list[TableCell]:
    """Return the figures of the table in percent; those without a mean were not scored."""
    cells = []
    for metric in ORDER:
        found = metrics.get(metric) or {"mean": None}
        ends = (found[key] if found["mean"] is not None else None for key in ("mean", "low", "high"))
        cells.append(TableCell(*(None if end is None else 100 * end for end in ends)))
    return cells


def change(found: Difference | None) -> str:
    """Return a difference in points with ± of the interval that holds for the whole family at once."""
    if found is None or found.mean is None:
        return ""
    return f"{100 * found.mean:+.1f} ± {100 * found.half:.1f}".replace("-", "−")
