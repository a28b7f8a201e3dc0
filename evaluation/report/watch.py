"""How a run is going, as one picture for the terminal, from its files alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from rich.box import SIMPLE
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from adhere.evaluation.report.collect import Stage, collect
from adhere.evaluation.statistics import mean_of_scored
from adhere.records.artifact import Artifact
from adhere.records.jsonl import read_jsonl
from adhere.records.objects import read_object
from adhere.records.state import State
from adhere.records.tables import rollout_files

ROLLOUTS = 4
MOST_STAGES = 16
"""Stages up to which each has its line; of more, those that are done or not started are counted by their kind."""

ALARMS = 6
SNIPPET = 160
ACTIVE = (State.RUNNING, State.STOPPING, State.STARTED)
"""States of stages that run, or may."""

STYLES = {State.DONE: "green", State.FAILED: "bold red"} | dict.fromkeys(ACTIVE, "cyan")


def frame(run: Path) -> Group:
    """Return the picture: stages with their progress and rates, components, alarms, newest rollouts.

    Raises:
        ConfigError: ``run`` is not a run, a folder of runs or a stage.
    """
    data = collect(run)
    title: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "box": SIMPLE}

    # Stages: each with a line of its own, or, of many, those that are done or not begun counted by kind and state.
    table = Table(title=data.title, padding=(0, 1, 0, 0), show_edge=False, **title)
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("state", min_width=len(State.RUNNING))
    # a narrow terminal takes its columns from the stage's name, the state and the time that is left
    for name in ("step", "joint", "accuracy", "HAcc", "tokens", "s/step"):
        table.add_column(name, no_wrap=True, justify="left" if name == "step" else "right")
    table.add_column("left", justify="right")
    counted: dict[str, Counter[str]] = {}
    for stage in data.stages:
        if len(data.stages) > MOST_STAGES and (stage.state.settled or stage.state is State.TO_RUN):
            counted.setdefault(stage.kind, Counter())[stage.state] += 1
        else:
            state = Text(stage.state, style=STYLES.get(stage.state, ""))
            table.add_row(Text(stage.label), state, *progress_cells(stage))
    parts: list[Any] = [table]
    for kind, states in counted.items():
        parts.append(Text(f" {kind}: {', '.join(f'{n} {state}' for state, n in states.items())}", style="dim"))
    parts.append(Text())

    # Components: the last logged row of each, of the stage that wrote last.
    files = {entry.name: Artifact(entry.path).metrics for entry in data.trained}
    written = {name: path.stat().st_mtime if path.exists() else 0.0 for name, path in files.items()}
    newest = max(data.trained, key=lambda entry: written[entry.name], default=None)
    if newest is not None and newest.metrics:
        columns = ("mean", "std", "weight", "zero_spread_groups", "advantage_share", "timeouts", "errors")
        table = Table(title=f"components of {newest.name}", **title)
        table.add_column("component")
        for name in ("mean", "std", "weight", "zero spread", "of advantage", "timeouts", "errors"):
            table.add_column(name, justify="right")
        rows = [row for row in newest.metrics if any(key.startswith("components/") for key in row)]
        for component in newest.components if rows else ():
            found = [rows[-1].get(f"components/{component}/{figure}") for figure in columns]
            table.add_row(Text(component), *("" if value is None else f"{value:.3g}" for value in found))
        parts.append(table)

    # What went wrong.
    alarms = [(entry.name, alarm) for entry in data.trained for alarm in entry.alarms]
    parts += [
        Text(f"alarm  {name}, step {alarm['step']}, {alarm['name']}: {_plain(alarm['text'])}", style="bold yellow")
        for name, alarm in alarms[-ALARMS:]
    ]
    if len(alarms) > ALARMS:
        parts.append(Text(f"and {len(alarms) - ALARMS} alarms before these", style="yellow"))
    failed = [stage for stage in data.stages if stage.state is State.FAILED]
    parts += [Text(f"failed  {stage.label}: {_plain(stage.message)}", style="bold red") for stage in failed]

    # The newest rollouts.
    if newest is not None and (latest := latest_rollouts(newest.path)):
        lines = []
        marks = {None: "–", True: "✓", False: "✗"}
        for row in latest:
            verdict = f"{marks[row['correct']]} correct  {marks[row['followed']]} followed  "
            lines.append(Text.assemble((verdict, "bold"), _plain(row["response"])[-SNIPPET:]))
        heading = Text(f"newest rollouts of {newest.name}, step {latest[0]['step']}")
        parts.append(Panel(Group(*lines), title=heading, title_align="left"))
    return Group(*parts)


def ended(run: Path) -> bool:
    """Whether nothing more will happen by itself: every stage is done, or one of a run that is not an ablation failed.

    A failed arm of an ablation does not stop the others, so there a stage may still be running after it.
    """
    data = collect(run)
    states = {stage.state for stage in data.stages}
    if len(data.groups) < len(data.trained) and states & set(ACTIVE):
        return False
    return all(state.settled for state in states) or State.FAILED in states


def progress_cells(stage: Stage) -> list[str]:
    """Return the cells of a stage's line: step, rates in percent, tokens, seconds a step, time that is left."""
    if stage.kind == "evaluate":
        metrics = read_object(Artifact(stage.path).results).get("metrics", {})
        means = [(metrics.get(name) or {}).get("mean") for name in ("joint", "accuracy", "hacc")]
        return ["", *map(_percent, means), "", "", ""]
    steps = [row for row in read_jsonl(Artifact(stage.path).metrics).rows if "train_runtime" not in row]
    if not steps:
        return [""] * 7
    last, most = steps[-1], stage.recipe.get(stage.kind, {}).get("max_steps")
    pace = mean_of_scored(row.get("step_time") for row in steps[-20:])
    tokens, left = last.get("completions/mean_length"), ""
    if pace is not None and most and stage.state is not State.DONE:
        minutes, seconds = divmod(int(pace * (most - last["step"])), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
    return [
        f"{last['step']}/{most}" if most and most > 0 else str(last["step"]),
        *(_percent(last.get(f"rates/{name}")) for name in ("joint", "accuracy", "hacc")),
        "" if tokens is None else f"{tokens:.0f}",
        "" if pace is None else f"{pace:.1f}",
        left,
    ]


def latest_rollouts(folder: Path) -> list[dict[str, Any]]:
    """Return the last rollouts of the newest generation of a stage that is written whole."""
    columns = ["step", "item_id", "response", "correct", "followed"]
    for path in reversed(rollout_files(Artifact(folder).rollouts)[-2:]):
        try:
            table = pyarrow.parquet.read_table(path, columns=columns)
        except (OSError, pyarrow.ArrowInvalid):
            continue  # a resumed stage is writing this step again; the one before is whole
        return table.slice(max(0, table.num_rows - ROLLOUTS)).to_pylist()
    return []


def _plain(text: str) -> str:
    """Return model text on one line without control characters, which would be commands to the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f}"
