"""A rehearsal in the terminal: components, kinds of constraints, alternatives, the verdict and what would help."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

COLOURS = {"teaches": "green", "weak": "yellow", "does not teach": "red"}


def show(found: Mapping[str, Any], label: str, console: Console) -> None:
    """Print what ``rehearsal.json`` holds."""
    low, high = (
        f"[{a:.3g}, {b:.3g}]" for a, b in (found["intervals"]["live_groups_a_step"], _percent(found["intervals"]))
    )
    console.print(
        f"\n[bold]{escape(label)}[/]: {found['groups']} groups of {found['group_size']}, {found['live_groups']} live; "
        f"{found['live_groups_a_step']:.3g} {escape(low)} of {found['prompts_a_step']} a step, "
        f"{100 * found['zero_gradient_share']:.3g} {escape(high)} % of steps without gradient; "
        f"{found['tokens']['mean']:.0f} tokens on average, {found['cut']:.0%} cut",
        highlight=False,
    )
    table = Table("component", title_justify="left")
    for column in ("rate", "varies", "after gate", "weight", "share of advantage"):
        table.add_column(column, justify="right")
    for name, figure in found["components"].items():
        values = [figure[key] for key in ("rate", "spread", "spread_gated")]
        row = [*map(_share, values), f"{figure['weight']:g}", _share(figure["advantage_share"])]
        table.add_row(escape(name), *row)
    console.print(table)
    if found["kinds"]:
        table = Table("constraint")
        for column in ("rollouts", "met", "varies"):
            table.add_column(column, justify="right")
        table.add_column("")
        for name, figure in sorted(found["kinds"].items(), key=lambda pair: pair[1]["rate"] or 0.0):
            state = "" if figure["state"] == "learnable" else figure["state"]
            table.add_row(
                escape(name), str(figure["rollouts"]), _share(figure["rate"]), _share(figure["spread"]), state
            )
        console.print(table)
    table = Table("alternative")
    shown = [name for name, figure in found["components"].items() if figure["weight"] > 0.0]
    for column in (
        "live",
        "no gradient",
        "least taught",
        *(f"{name}'s share" for name in shown),
        "obeys, wrong",
        "cost",
    ):
        table.add_column(column, justify="right")
    for other in found["alternatives"]:
        paid = other["compliant_wrong_advantage"]
        table.add_row(
            escape(other["name"]),
            _share(other["live_share"]),
            _share(other["zero_gradient_share"]),
            _share(other["least_taught"]),
            *(_share(other["advantage_shares"][name]) for name in shown),
            "" if paid is None else f"{paid:+.2f}",
            f"{other['completions_a_step']:g}×",
        )
    console.print(table)
    verdict = found["verdict"]
    console.print(f"[{COLOURS[verdict['level']]}]{escape(verdict['sentence'])}[/]", highlight=False, soft_wrap=True)
    for change in verdict["changes"]:
        console.print(f"  {escape(shlex.join(change['overrides']))}", style="bold", highlight=False, soft_wrap=True)
        console.print(f"      {escape(change['effect'])}", highlight=False, soft_wrap=True)


def _percent(intervals: Mapping[str, Any]) -> list[float]:
    return [100.0 * edge for edge in intervals["zero_gradient_share"]]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
