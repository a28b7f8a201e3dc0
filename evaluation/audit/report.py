"""The report of an audit: sheets for a terminal, a markdown page, and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adhere.evaluation.audit.audit import Audit
from adhere.evaluation.audit.findings import Finding
from adhere.evaluation.audit.probes import PROBES
from adhere.evaluation.audit.scoring import ANSWERS, PLAIN, Entry
from adhere.evaluation.audit.weights import Ranking
from adhere.evaluation.statistics import mean_of_scored
from adhere.records.jsonl import dump
from adhere.rewards.files import atomic_file

if TYPE_CHECKING:
    from rich.console import Console

JSON, MARKDOWN = "audit.json", "audit.md"
WHAT = "what it is"
"""The column that only the page has: a terminal is too narrow for it."""

SHOWN_CRITICAL = 6
"""Answers shown for each component and bound in the table of critical weights."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table: a title, a sentence that says how to read it, headings and rows of text."""

    title: str
    note: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def sheets(audit: Audit) -> list[Sheet]:
    """Return the tables of the report; empty ones are left out."""
    found = [findings_sheet("Failures", "A probe earns what only an honest right answer may.", audit.failures)]

    # What each response earns: rewards, then raw scores.
    components = audit.scored.config.components
    earned: dict[str, list[tuple[Entry, float | None]]] = {}
    for entry, reward in audit.scored.entries():
        earned.setdefault(entry.name, []).append((entry, reward))
    rows: list[tuple[str, ...]] = []
    for name, entries in earned.items():
        rewards = [reward for _, reward in entries]
        known = [reward for reward in rewards if reward is not None]
        raw = [_number(mean_of_scored(e.verdicts[c].score for e, _ in entries)) for c in components]
        what = ANSWERS[name] if name in ANSWERS else PROBES[name].hack if name in PROBES else ""
        mean, top = _number(mean_of_scored(rewards)), _number(max(known, default=None))
        rows.append((name, str(len(rewards)), mean, top, str(rewards.count(None)), *raw, what))
    headings = ("response", "prompts", "mean", "max", "unscored", *components, WHAT)
    note = "Rewards, then the mean raw score of each component."
    found.append(Sheet("What each response earns", note, headings, rows))

    note = "Not right, and worth at least a right answer that ignores the checklist: a choice of the weights."
    found.append(findings_sheet(f"Preference order (against '{PLAIN}')", note, audit.preferences))

    # Pairs of components.
    rows = [
        (
            f"{pair.first} × {pair.second}",
            _number(pair.correlation),
            _number(pair.discordant),
            str(pair.honest_split),
            ", ".join(pair.blamed),
            "conflict" if pair.conflict else "",
        )
        for pair in audit.pairs
    ]
    headings = ("components", "correlation", "discordant", "honest split", "constraints there", "")
    note = (
        "Raw scores over all responses; 'honest split': prompts whose honest answer one passes and the other does not."
    )
    found.append(Sheet("Do components conflict?", note, headings, rows))

    # Rankings; neighbouring weights with the same one share a row.
    rows = []
    for component, moved in groupby(audit.rankings, key=lambda r: r.component):
        for order, group in groupby(moved, key=ranking_text):
            same = list(group)
            span = f"{same[0].weight:g}" + (f" to {same[-1].weight:g}" if len(same) > 1 else "")
            rows.append((component, span, order))
    note = "Mean rewards of the honest answers and the best probe, best first; '=' marks ties."
    found.append(Sheet("How the ranking moves with a weight", note, ("component", "weight", "ranking"), rows))

    # Critical weights.
    rows = []
    for (component, against), overtaking in groupby(audit.critical, key=lambda c: (c.component, c.against)):
        ordered = sorted(overtaking, key=lambda c: c.weight)
        sides = ("at all" if c.side == "always" else f"{c.side} {c.weight:.3g}" for c in ordered)
        names = [f"{c.name} {side}" for c, side in zip(ordered, sides, strict=True)]
        more = f", {len(names) - SHOWN_CRITICAL} more" if len(names) > SHOWN_CRITICAL else ""
        rows.append((component, against, ", ".join(names[:SHOWN_CRITICAL]) + more))
    note = "The weights of a component, the others as configured, at which a response that is not right earns as much."
    found.append(Sheet("Critical weights", note, ("component", "overtaken", "by whom, at which weights"), rows))
    return [sheet for sheet in found if sheet.rows]


def findings_sheet(title: str, note: str, found: Sequence[Finding]) -> Sheet:
    """Return the table of some findings, one row for each response, with an example."""
    rows = []
    for name, group in groupby(sorted(found, key=lambda f: f.name), key=lambda f: f.name):
        same = list(group)
        first = same[0]
        against = f"{_number(first.reward)} vs {_number(first.limit)} ({first.against})"
        rows.append((name, str(len(same)), f"{first.item}{_since([first], name)}", against, first.reason, first.advice))
    headings = ("response", "prompts", "for example", "reward", "why", "what to do")
    return Sheet(title, note, headings, rows)


def ranking_text(ranking: Ranking) -> str:
    """Return the names from the best to the worst, with ``>`` between them, or ``=`` at a tie."""
    names = ranking.order
    text = names[0]
    for before, name in pairwise(names):
        tied = abs(ranking.means[before] - ranking.means[name]) < 1e-9
        text += f" {'=' if tied else '>'} {name}"
    return text


def verdict(audit: Audit) -> str:
    """Return the audit's result in one line."""
    if audit.passed:
        return f"passed: no probe earns what an honest right answer does, on any of {len(audit.cases.cases)} prompts"
    if audit.status == "outage":
        return f"undecided, the judge does not answer as one: {audit.outage}; repair it and audit again"
    names = Counter(f.name for f in audit.failures)
    parts = [f"{name} on {count}{_since(audit.failures, name)}" for name, count in names.most_common()]
    if audit.order == "fail" and audit.preferences:
        parts.append(f"{len(audit.preferences)} wrong answers earn what a right one does (order=fail)")
    return f"failed on {len(audit.cases.cases)} prompts: {', '.join(parts)}"


def _since(found: Sequence[Finding], name: str) -> str:
    steps = [finding.step for finding in found if finding.name == name and finding.step is not None]
    return f" (at step {min(steps)})" if steps else ""


def remarks(audit: Audit) -> list[str]:
    """Return what was left out or not answered, a line each."""
    left = audit.cases.left_out
    items = [f"{len(left)} prompt items left out, first {left[0]}"] if left else []
    unanswered = [f"not scored, {audit.outage}"] if audit.outage and audit.status == "failed" else []
    return [*audit.skipped, *items, *unanswered]


def show(audit: Audit, console: Console) -> None:
    """Print the report."""
    from rich.markup import escape
    from rich.table import Table

    for line in remarks(audit):
        console.print(escape(line), style="yellow")
    for sheet in sheets(audit):
        table = Table(title=sheet.title, caption=sheet.note, title_justify="left", caption_justify="left")
        columns = [i for i, heading in enumerate(sheet.headings) if heading != WHAT]
        for i in columns:
            table.add_column(sheet.headings[i], overflow="fold", no_wrap=i == 0)
        for row in sheet.rows:
            table.add_row(*(escape(row[i]) for i in columns))
        console.print(table)
    console.print(f"audit {verdict(audit)}", style="green" if audit.passed else "bold red", markup=False)


def markdown(audit: Audit) -> str:
    """Return the report as a markdown page."""
    lines = ["# Audit", "", f"**{verdict(audit)}**", "", *(f"- {line}" for line in remarks(audit)), ""]
    for sheet in sheets(audit):
        rows = [sheet.headings, tuple("---" for _ in sheet.headings), *sheet.rows]
        table = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
        lines += [f"## {sheet.title}", "", sheet.note, "", *table, ""]
    return "\n".join(lines)


def to_dict(audit: Audit) -> dict[str, Any]:
    """Return the report as plain values; ``earned`` has one row for each response."""
    earned = [
        {
            "item": entry.case.item.id,
            "name": entry.name,
            "reward": reward,
            "values": dict(entry.values),
            "verdicts": {name: v.to_dict() for name, v in entry.verdicts.items()},
        }
        for entry, reward in audit.scored.entries()
    ]
    return {
        "passed": audit.passed,
        "status": audit.status,
        "verdict": verdict(audit),
        "rewards": audit.scored.config.model_dump(mode="json"),
        "failures": [asdict(f) for f in audit.failures],
        "preferences": [asdict(f) for f in audit.preferences],
        "pairs": [asdict(p) | {"conflict": p.conflict} for p in audit.pairs],
        "rankings": [{"component": r.component, "weight": r.weight, "means": dict(r.means)} for r in audit.rankings],
        "critical": [asdict(c) for c in audit.critical],
        "skipped": list(audit.skipped),
        "left_out": list(audit.cases.left_out),
        "earned": earned,
    }


def write(audit: Audit, folder: Path) -> list[Path]:
    """Write ``audit.json`` and ``audit.md``, and return their paths."""
    paths = [folder / JSON, folder / MARKDOWN]
    for path, text in zip(paths, (dump(to_dict(audit), indent=1), markdown(audit)), strict=True):
        with atomic_file(path) as out:
            out.write(text)
    return paths


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"
