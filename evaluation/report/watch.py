"""How a run is going, as one picture for the terminal, from its files alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from rich.box import SIMPLE
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from adhere.evaluation.report.collect import Arm, ReportData, Stage, collect
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
        ConfigError: ``run`` is no run, no folder of runs and no stage.
    """
    data = collect(run)
    parts: list[Any] = [_stages(data)]
    arm = _newest(data.arms)
    if arm is not None and arm.metrics:
        parts.append(_components(arm))
    alarms = [(a.name, alarm) for a in data.arms for alarm in a.alarms]
    parts += [
        Text(f"alarm  {name}, step {alarm['step']}, {alarm['name']}: {_plain(alarm['text'])}", style="bold yellow")
        for name, alarm in alarms[-ALARMS:]
    ]
    if len(alarms) > ALARMS:
        parts.append(Text(f"and {len(alarms) - ALARMS} alarms before these", style="yellow"))
    failed = [stage for stage in data.stages if stage.state is State.FAILED]
    parts += [Text(f"failed  {stage.label}: {_plain(stage.message)}", style="bold red") for stage in failed]
    if arm is not None and arm.grpo is not None and (rows := _latest_rollouts(arm.grpo.path)):
        parts.append(_rollouts(arm.name, rows))
    return Group(*parts)


def ended(run: Path) -> bool:
    """Whether nothing more will happen by itself: every stage is done, or one of a run that is no ablation failed.

    A failed arm of an ablation does not stop the others, so there a stage may still be running after it.
    """
    data = collect(run)
    states = {stage.state for stage in data.stages}
    if len(data.groups) < len(data.arms) and states & set(ACTIVE):
        return False
    return all(state.settled for state in states) or State.FAILED in states


def _newest(arms: Sequence[Arm]) -> Arm | None:
    """Return the arm that wrote last."""

    def written(arm: Arm) -> float:
        path = Artifact(arm.grpo.path).metrics if arm.grpo else None
        return path.stat().st_mtime if path and path.exists() else 0.0

    return max(arms, key=written, default=None)


def _stages(data: ReportData) -> Group:
    table = Table(title=data.title, title_justify="left", title_style="bold", box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("state")
    # a narrow terminal takes its columns from the state and from the last three
    for name in ("step", "joint", "accuracy", "HAcc"):
        table.add_column(name, no_wrap=True, justify="left" if name == "step" else "right")
    for name in ("tokens", "s/step", "left"):
        table.add_column(name, justify="right")
    shown, counted = _shown(data.stages)
    for stage in shown:
        state = Text(stage.state, style=STYLES.get(stage.state, ""))
        table.add_row(Text(stage.label), state, *_progress(stage))
    rest = [f"{kind}: {', '.join(f'{n} {state}' for state, n in states.items())}" for kind, states in counted.items()]
    return Group(table, *(Text(f" {line}", style="dim") for line in rest))


def _shown(stages: Sequence[Stage]) -> tuple[Sequence[Stage], dict[str, Counter[str]]]:
    """Return the stages that have a line of their own, and how many others there are by kind and state."""
    if len(stages) <= MOST_STAGES:
        return stages, {}
    counted: dict[str, Counter[str]] = {}
    for stage in stages:
        if stage.state.settled or stage.state is State.TO_RUN:
            counted.setdefault(stage.kind, Counter())[stage.state] += 1
    return [s for s in stages if not (s.state.settled or s.state is State.TO_RUN)], counted


def _progress(stage: Stage) -> list[str]:
    if stage.kind == "evaluate":
        return ["", *_evaluated(stage.path), "", "", ""]
    rows = read_jsonl(Artifact(stage.path).metrics).rows
    steps = [row for row in rows if "train_runtime" not in row]
    if not steps:
        return [""] * 7
    last, most = steps[-1], stage.recipe.get(stage.kind, {}).get("max_steps")
    rates = [_percent(last.get(f"rates/{name}")) for name in ("joint", "accuracy", "hacc")]
    known = [row["step_time"] for row in steps[-20:] if row.get("step_time") is not None]
    pace = sum(known) / len(known) if known else None
    left = pace * (most - last["step"]) if pace is not None and most and stage.state is not State.DONE else None
    tokens = last.get("completions/mean_length")
    return [
        f"{last['step']}/{most}" if most and most > 0 else str(last["step"]),
        *rates,
        "" if tokens is None else f"{tokens:.0f}",
        "" if pace is None else f"{pace:.1f}",
        "" if left is None else _duration(left),
    ]


def _evaluated(folder: Path) -> list[str]:
    metrics = read_object(Artifact(folder).results).get("metrics", {})
    return [_percent((metrics.get(name) or {}).get("mean")) for name in ("joint", "accuracy", "hacc")]


def _components(arm: Arm) -> Table:
    """The last logged row of every component."""
    table = Table(title=f"components of {arm.name}", title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("component")
    columns = ("mean", "std", "weight", "zero_spread_groups", "advantage_share", "timeouts", "errors")
    for name in ("mean", "std", "weight", "zero spread", "of advantage", "timeouts", "errors"):
        table.add_column(name, justify="right")
    rows = [row for row in arm.metrics if any(key.startswith("components/") for key in row)]
    for component in arm.components if rows else ():
        found = [rows[-1].get(f"components/{component}/{figure}") for figure in columns]
        table.add_row(Text(component), *("" if value is None else f"{value:.3g}" for value in found))
    return table


def _latest_rollouts(folder: Path) -> list[dict[str, Any]]:
    columns = ["step", "item_id", "response", "correct", "followed"]
    for path in reversed(rollout_files(Artifact(folder).rollouts)[-2:]):
        try:
            table = pyarrow.parquet.read_table(path, columns=columns)
        except (OSError, pyarrow.ArrowInvalid):
            continue  # a resumed stage is writing this step again; the one before is whole
        return table.slice(max(0, table.num_rows - ROLLOUTS)).to_pylist()
    return []


def _rollouts(name: str, rows: Sequence[dict[str, Any]]) -> Panel:
    lines = []
    for row in rows:
        marks = f"{_mark(row['correct'])} correct  {_mark(row['followed'])} followed  "
        lines.append(Text.assemble((marks, "bold"), _plain(row["response"])[-SNIPPET:]))
    return Panel(Group(*lines), title=Text(f"newest rollouts of {name}, step {rows[0]['step']}"), title_align="left")


def _mark(flag: bool | None) -> str:
    return "–" if flag is None else "✓" if flag else "✗"


def _plain(text: str) -> str:
    """Return model text on one line without control characters, which would be commands to the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
