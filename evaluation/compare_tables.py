"""A comparison of evaluations as Markdown, LaTeX, CSV and HTML: models × suites, and the paired differences."""

from __future__ import annotations

import csv
import html
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path

from adhere.evaluation.compare import Flip, Table
from adhere.evaluation.table import cell, heading_of, latex_text
from adhere.records.jsonl import dump
from adhere.rewards.files import write_text

STEM = "comparison"
DIFFERENCES = ["suite", "metric", "second − first", "difference", "p", "p (Holm)", "gained", "lost", "verdict"]
NOTE = (
    "Percent with 95 % intervals, whole prompts resampled. A difference is paired by prompt; p is its chance if the "
    "models were equal."
)


def markdown(table: Table) -> str:
    """Return both tables as Markdown."""

    def lines(rows: Sequence[Sequence[str]]) -> str:
        head, *body = [[text.replace("|", "\\|") for text in row] for row in rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))

    notes = "".join(f"\n{note}\n" for note in table.notes)
    return f"{lines(_suites(table))}\n\n{lines([DIFFERENCES, *map(_row, table.differences)])}\n\n{NOTE}\n{notes}"


def latex_table(table: Table) -> str:
    """Return both tables as LaTeX, for ``booktabs``."""

    def tabular(rows: Sequence[Sequence[str]]) -> str:
        head, *body = [" & ".join(map(latex_text, row)) + r" \\" for row in rows]
        columns = "l" + "r" * (len(rows[0]) - 1)
        top, bottom = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
        return "\n".join([top, r"\toprule", head, r"\midrule", *body, r"\bottomrule", bottom])

    notes = "".join(f"% {note}\n" for note in (NOTE, *table.notes))
    return f"{notes}{tabular(_suites(table))}\n\n{tabular([DIFFERENCES, *map(_row, table.differences)])}\n"


def csv_text(table: Table) -> str:
    """Return one row for each model and suite, and one for each difference, as fractions."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    figures = ["mean", "low", "high", "prompts"]
    writer.writerow(["kind", "suite", "metric", "model", "against", *figures, "p", "p_holm", "gained", "lost"])
    for model in table.models:
        for suite in table.suites:
            estimate = table.cells[model, suite]
            if estimate is not None:
                shown = [estimate.get(key) for key in figures]
                writer.writerow(["model", suite, table.headlines[suite], model, "", *shown, "", "", "", ""])
    for flip in table.differences:
        named = ["difference", flip.suite, flip.metric, flip.second, flip.first]
        found = [flip.mean, flip.low, flip.high, flip.prompts, flip.p, flip.p_holm, len(flip.gained), len(flip.lost)]
        writer.writerow([*named, *found])
    return out.getvalue()


def html_page(table: Table) -> str:
    """Return a page of its own with both tables, and below them the prompts that flipped."""

    def rows(content: Sequence[Sequence[str]]) -> str:
        head, *body = content
        top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
        rest = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in body)
        return f"<table><thead><tr>{top}</tr></thead><tbody>{rest}</tbody></table>"

    flipped = "".join(
        f"<details><summary>{html.escape(f'{flip.suite}, {heading_of(flip.metric)}: {flip.second} − {flip.first}')}"
        f"</summary><p>gained: {html.escape(', '.join(flip.gained) or 'none')}</p>"
        f"<p>lost: {html.escape(', '.join(flip.lost) or 'none')}</p></details>"
        for flip in table.differences
        if flip.metric == table.headlines[flip.suite]
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in (NOTE, *table.notes))
    style = (
        "body{font:15px system-ui;margin:2rem;max-width:75rem}table{border-collapse:collapse;margin:1rem 0}"
        "td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child"
        "{text-align:left}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Comparison</title><style>{style}</style>'
        f"</head><body><h1>{html.escape(' · '.join(table.models))}</h1>{rows(_suites(table))}"
        f"{rows([DIFFERENCES, *map(_row, table.differences)])}{notes}<h2>What flipped</h2>{flipped}</body></html>\n"
    )


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": markdown,
    "tex": latex_table,
    "csv": csv_text,
    "html": html_page,
    "json": lambda table: dump(table.to_dict(), indent=2),
}


def write_comparison_files(folder: Path, table: Table) -> list[Path]:
    """Write ``comparison.md``, ``.tex``, ``.csv``, ``.html`` and ``.json`` into ``folder``; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, form in FORMATS.items():
        paths.append(folder / f"{STEM}.{suffix}")
        write_text(paths[-1], form(table))
    return paths


def _suites(table: Table) -> list[list[str]]:
    head = ["model", *(f"{suite} ({heading_of(table.headlines[suite])})" for suite in table.suites)]
    return [head, *([model, *(cell(table.cells[model, suite]) for suite in table.suites)] for model in table.models)]


def _row(flip: Flip) -> list[str]:
    mean, low, high = (f"{100.0 * value:+.1f}" for value in (flip.mean, flip.low, flip.high))
    return [
        flip.suite, heading_of(flip.metric), f"{flip.second} − {flip.first}", f"{mean} [{low}, {high}]",
        f"{flip.p:.3g}", f"{flip.p_holm:.3g}", str(len(flip.gained)), str(len(flip.lost)), flip.verdict,
    ]  # fmt: skip
