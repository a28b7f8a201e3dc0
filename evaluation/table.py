"""The comparison table: models × accuracy, HAcc, SAcc and joint, with intervals; trivial floors below.

In ``compat`` the figures of MathIF's own judgement of answers stand beside ours.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adhere.rewards.errors import DataError
from adhere.rewards.files import atomic_file
from adhere.rewards.verdict import Status

if TYPE_CHECKING:
    from rich.table import Table

NA = Status.NOT_APPLICABLE.value

HEADINGS = {
    "accuracy_without": "accuracy without",
    "accuracy": "accuracy",
    "accuracy_official": "accuracy (MathIF)",
    "hacc": "HAcc",
    "sacc": "SAcc",
    "joint": "joint",
    "joint_official": "joint (MathIF)",
}

LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "−": "$-$",
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    }
)  # fmt: skip

MOST_COLUMNS, FEW_COLUMNS = 7, 4
"""Figures that a terminal has room for, and how many it shows of more than that."""


def latex_text(text: str) -> str:
    """Return ``text`` with what LaTeX would read as a command written out."""
    return text.translate(LATEX)


@dataclass(frozen=True, slots=True)
class Line:
    """A model or a trivial floor, and its estimates (``{mean, low, high, …}``) by metric."""

    name: str
    estimates: Mapping[str, Mapping[str, Any] | None]
    floor: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Lines over one suite; ``metrics`` are the columns, in order; ``lost`` says what of which model has no score."""

    suite: str
    mode: str
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    lost: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Line, ...]:
        """The lines as people read them: floors whose every figure is shown alike are one."""
        named: dict[tuple[str, ...], list[Line]] = {}
        for line in self.lines:
            cells = tuple(cell(line.estimates[metric]) for metric in self.metrics)
            named.setdefault((*cells, "" if line.floor else line.name), []).append(line)
        return tuple(
            Line(", ".join(one.name for one in same), same[0].estimates, same[0].floor) for same in named.values()
        )


def compare_results(results: Sequence[Mapping[str, Any]]) -> Comparison:
    """Put results of `evaluation.run.evaluate` on the same suite side by side, in the order given.

    Raises:
        DataError: ``results`` is empty, or they differ in suite, mode or items.
    """
    if not results:
        raise DataError("comparison: no results to compare")
    first = results[0]
    for other in results[1:]:
        for key in ("suite", "mode", "items"):
            if other.get(key) != first.get(key):
                what = key if key == "items" else f"{key} ('{first.get(key)}' and '{other.get(key)}')"
                raise DataError(
                    f"comparison: {first['model']} and {other['model']} differ in {what}; compare equal items"
                )
    optional = ("accuracy_without", "accuracy_official", "joint_official")
    metrics = tuple(
        name for name in HEADINGS if name not in optional or any(name in result["metrics"] for result in results)
    )
    # A suite with figures of its own has them first, and leaves out the columns that it has no value for.
    own = tuple(name for name in first.get("own_metrics", ()) if name not in metrics)
    if own:
        metrics = (*own, *(m for m in metrics if any((r["metrics"].get(m) or {}).get("n") for r in results)))
        if "accuracy" not in metrics:  # HAcc and SAcc then say the same as the suite's own figures
            metrics = tuple(m for m in metrics if m not in ("hacc", "sacc"))
    models = [Line(r["model"], {m: r["metrics"].get(m) for m in metrics}) for r in results]
    floors = [Line(n, {m: f.get(m) for m in metrics}, floor=True) for n, f in first["floors"].items()]
    lost = [note for result in results for note in (_lost(result), _without_flagged(result)) if note]
    return Comparison(first["suite"], first["mode"], metrics, (*models, *floors), tuple(lost))


def heading_of(metric: str) -> str:
    """Return what tables call a metric."""
    return HEADINGS.get(metric, metric.replace("_", " "))


def open_ranges(metrics: Mapping[str, Any]) -> str:
    """Say of each metric which share the evaluator failed on, and what the metric could be without that."""
    return "; ".join(
        f"{heading} {100.0 * e['left_out']:.1f} % left out, between {100.0 * e['least']:.1f} and "
        f"{100.0 * e['most']:.1f}"
        for name, e in metrics.items()
        if isinstance(e, Mapping) and "least" in e and e.get("left_out") and (heading := heading_of(name))
    )


def _lost(result: Mapping[str, Any]) -> str:
    """Say which answers and constraints of a model could not be scored, and what that leaves open of each metric."""
    parts = {
        part: {status: n for status, n in result["metrics"].get("unscored", {}).get(part, {}).items() if status != NA}
        for part in ("answers", "constraints")
    }
    found = [f"{part} ({', '.join(f'{s} {n}' for s, n in counts.items())})" for part, counts in parts.items() if counts]
    if not found:
        return ""
    note = f"{result['model']}: left out without a score: {', '.join(found)}"
    return "; ".join(filter(None, [note, open_ranges(result["metrics"])]))


def _without_flagged(result: Mapping[str, Any]) -> str:
    """Say what the leading metric is on the prompts without known faults, where the suite flags some."""
    known = result["metrics"].get("without_flagged", {})
    leading = next(
        (m for m in (result.get("headline"), "joint", "accuracy", "hacc") if (known.get(m) or {}).get("n")), ""
    )
    if not leading:
        return ""
    flagged = {key for flag, ids in result["flags"].items() if flag != "over_context" for key in ids}
    return f"{result['model']}: {heading_of(leading)} without {len(flagged)} flagged prompts {cell(known[leading])}"


def cell(estimate: Mapping[str, Any] | None) -> str:
    """Return ``mean [low, high]`` in percent, ``n/a`` without a scored response."""
    if estimate is None or estimate["mean"] is None:
        return "n/a"
    mean, low, high = (100.0 * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def terminal_table(comparison: Comparison) -> Table:
    """Return the table for a terminal: of more figures than it has room for, the first few."""
    from rich.markup import escape
    from rich.table import Table

    shown = comparison.metrics if len(comparison.metrics) <= MOST_COLUMNS else comparison.metrics[:FEW_COLUMNS]
    more = len(comparison.metrics) - len(shown)
    notes = [*comparison.lost, *([f"{more} more figures are in the table's file and in results.json"] if more else [])]
    caption = escape("\n".join(notes)) or None
    table = Table(title=escape(_title(comparison)), title_justify="left", caption=caption, caption_justify="left")
    table.add_column("model")
    for metric in shown:
        table.add_column(heading_of(metric), justify="right", style="bold" if metric == "joint" else "", no_wrap=True)
    lines = comparison.rows
    for i, line in enumerate(lines):
        last_model = not line.floor and (i + 1 == len(lines) or lines[i + 1].floor)
        table.add_row(
            escape(line.name),
            *(escape(cell(line.estimates[metric])) for metric in shown),
            style="dim" if line.floor else "",
            end_section=last_model,
        )
    return table


def markdown_table(comparison: Comparison) -> str:
    """Return the table as markdown, floors in italics."""
    headings = [heading_of(metric) for metric in comparison.metrics]
    rows = [
        [
            f"*{line.name}*" if line.floor else line.name,
            *(cell(line.estimates[m]) for m in comparison.metrics),
        ]
        for line in comparison.rows
    ]
    lines = [["model", *headings], ["---", *("---:" for _ in headings)], *rows]
    return "\n".join(f"| {' | '.join(_escape(text) for text in line)} |" for line in lines) + "\n"


def write_csv(path: Path, comparison: Comparison) -> None:
    """Write one row a line of the table: of every metric its ``Estimate`` as fractions, beside n."""
    parts = ("mean", "low", "high", "n", "left_out", "least", "most")
    with atomic_file(path) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["model", "floor", *(f"{m}_{part}" for m in comparison.metrics for part in parts)])
        for line in comparison.lines:
            found = [line.estimates[metric] or {} for metric in comparison.metrics]
            writer.writerow([line.name, int(line.floor), *(e.get(part, "") for e in found for part in parts)])


def write_markdown(path: Path, comparison: Comparison) -> None:
    """Write the markdown table under a line that names suite, checkers and intervals."""
    with atomic_file(path) as out:
        lost = "".join(f"\n{line}\n" for line in comparison.lost)
        out.write(f"{_title(comparison)}\n\n{markdown_table(comparison)}{lost}")


def _title(comparison: Comparison) -> str:
    counts = [e["prompts"] for line in comparison.lines for e in line.estimates.values() if e is not None]
    size = f"{max(counts, default=0)} prompts"
    return f"{comparison.suite} · {size} · {comparison.mode} checkers · percent with 95 % intervals"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\\boxed", "\\\\boxed")
