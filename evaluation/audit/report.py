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
from adhere.evaluation.audit.weights import Critical, Ranking
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
    found = [_failures(audit), _earned(audit), _preferences(audit), _pairs(audit), _rankings(audit), _critical(audit)]
    return [sheet for sheet in found if sheet.rows]


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


def _earned(audit: Audit) -> Sheet:
    components = audit.scored.config.components
    names: dict[str, list[tuple[Entry, float | None]]] = {}
    for entry, reward in audit.scored.entries():
        names.setdefault(entry.name, []).append((entry, reward))
    rows = []
    for name, found in names.items():
        rewards = [reward for _, reward in found if reward is not None]
        raw = [_mean([s for e, _ in found if (s := e.verdicts[c].score) is not None]) for c in components]
        what = ANSWERS[name] if name in ANSWERS else PROBES[name].hack if name in PROBES else ""
        rows.append((name, str(len(found)), _mean(rewards), _top(rewards), str(len(found) - len(rewards)), *raw, what))
    headings = ("response", "prompts", "mean", "max", "unscored", *components, WHAT)
    return Sheet("What each response earns", "Rewards, then the mean raw score of each component.", headings, rows)


def _failures(audit: Audit) -> Sheet:
    return _findings("Failures", "A probe earns what only an honest right answer may.", audit.failures)


def _preferences(audit: Audit) -> Sheet:
    note = "Not right, and worth at least a right answer that ignores the checklist: a choice of the weights."
    return _findings(f"Preference order (against '{PLAIN}')", note, audit.preferences)


def _findings(title: str, note: str, found: Sequence[Finding]) -> Sheet:
    rows = []
    for name, group in groupby(sorted(found, key=lambda f: f.name), key=lambda f: f.name):
        same = list(group)
        first = same[0]
        against = f"{_number(first.reward)} vs {_number(first.limit)} ({first.against})"
        rows.append((name, str(len(same)), f"{first.item}{_since([first], name)}", against, first.reason, first.advice))
    headings = ("response", "prompts", "for example", "reward", "why", "what to do")
    return Sheet(title, note, headings, rows)


def _pairs(audit: Audit) -> Sheet:
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
    return Sheet("Do components conflict?", note, headings, rows)


def _rankings(audit: Audit) -> Sheet:
    rows = []
    for component, found in groupby(audit.rankings, key=lambda r: r.component):
        for order, group in groupby(found, key=_order):
            same = list(group)
            span = f"{same[0].weight:g}" + (f" to {same[-1].weight:g}" if len(same) > 1 else "")
            rows.append((component, span, order))
    note = "Mean rewards of the honest answers and the best probe, best first; '=' marks ties."
    return Sheet("How the ranking moves with a weight", note, ("component", "weight", "ranking"), rows)


def _order(ranking: Ranking) -> str:
    names = ranking.order
    text = names[0]
    for before, name in pairwise(names):
        tied = abs(ranking.means[before] - ranking.means[name]) < 1e-9
        text += f" {'=' if tied else '>'} {name}"
    return text


def _critical(audit: Audit) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for (component, against), group in groupby(audit.critical, key=lambda c: (c.component, c.against)):
        found = sorted(group, key=lambda c: c.weight)
        names = ", ".join(f"{c.name} {_side(c)}" for c in found[:SHOWN_CRITICAL])
        more = f", {len(found) - SHOWN_CRITICAL} more" if len(found) > SHOWN_CRITICAL else ""
        rows.append((component, against, names + more))
    note = "The weights of a component, the others as configured, at which a response that is not right earns as much."
    return Sheet("Critical weights", note, ("component", "overtaken", "by whom, at which weights"), rows)


def _side(critical: Critical) -> str:
    return "at all" if critical.side == "always" else f"{critical.side} {critical.weight:.3g}"


def _mean(values: Sequence[float]) -> str:
    return _number(sum(values) / len(values) if values else None)


def _top(values: Sequence[float]) -> str:
    return _number(max(values, default=None))


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"
