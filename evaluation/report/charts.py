"""The charts of a report, from what was collected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.report.chart import Chart, Panel, Series
from evaluation.report.collect import Arm, ReportData
from evaluation.report.rollouts import EVALUATION, TRAINING, UNKNOWN, RolloutTable

SMOOTH_FROM = 40
"""Steps from which learning curves are smoothed, over a thirtieth of them."""

BINS = 5
CELLS = ("correct, followed", "correct, not followed", "wrong, followed", "wrong, not followed")


def build_charts(data: ReportData, table: RolloutTable) -> list[Chart]:
    """Return the charts that the data allow, in the order of the page."""
    models = [group for group in dict.fromkeys(e.group for e in data.evaluated) if group not in data.groups]
    styles = {group: number for number, group in enumerate([*data.groups, *models])}
    found = [
        _pareto(data, styles),
        _rates(data, styles),
        _components(data, styles, "mean", "components", "Component scores", "mean score of each reward component"),
        _components(
            data, styles, "zero_spread_groups", "zero_spread", "Groups without a signal",
            "share of prompt groups in which a component gives every rollout the same score",
        ),
        _running(data, styles),
        _heat(data),
        _crossed(data, table),
        _length_and_adherence(data, table, styles),
    ]  # fmt: skip
    return [chart for chart in found if chart is not None]


def _pareto(data: ReportData, styles: Mapping[str, int]) -> Chart | None:
    series = []
    for entry in data.evaluated:
        accuracy, hacc = (entry.results["metrics"].get(metric) for metric in ("accuracy", "hacc"))
        if not accuracy or not hacc or accuracy["mean"] is None or hacc["mean"] is None:
            continue
        at = Series(entry.name, [accuracy["mean"]], [hacc["mean"]], styles[entry.group])
        at = replace(at, low=[hacc["low"]], high=[hacc["high"]])
        series.append(replace(at, x_low=[accuracy["low"]], x_high=[accuracy["high"]]))
    if not series:
        return None
    best = [s.name for s in series if not any(_dominates(other, s) for other in series)]
    return Chart(
        "pareto",
        "Accuracy against adherence",
        f"Each model at its accuracy and HAcc, with 95 % intervals. Up and to the right is better. "
        f"No other model is better on both than: {', '.join(best)}.",
        "; ".join(f"{s.name}: accuracy {_percent(s.x[0])}, HAcc {_percent(s.y[0])}" for s in series),
        "points",
        "accuracy",
        "HAcc",
        [Panel("", series)],
    )


def _dominates(one: Series, other: Series) -> bool:
    ours, theirs = (one.x[0], one.y[0]), (other.x[0], other.y[0])
    return ours != theirs and all(a is not None and b is not None and a >= b for a, b in zip(ours, theirs, strict=True))  # type: ignore[operator]


def _rates(data: ReportData, styles: Mapping[str, int]) -> Chart | None:
    panels = [
        Panel(title, _curves(data, styles, f"rates/{rate}"))
        for rate, title in (("joint", "joint"), ("accuracy", "accuracy"), ("hacc", "HAcc"))
    ]
    return _curves_chart(data, "rates", "Learning curves", "share of training rollouts, by optimizer step", panels)


def _components(
    data: ReportData, styles: Mapping[str, int], figure: str, name: str, title: str, what: str
) -> Chart | None:
    components = dict.fromkeys(component for arm in data.arms for component in arm.components)
    panels = [Panel(c, _curves(data, styles, f"components/{c}/{figure}")) for c in components]
    if figure == "zero_spread_groups":
        panels.append(Panel("whole reward", _curves(data, styles, "frac_reward_zero_std")))
    return _curves_chart(data, name, title, what, panels)


def _running(data: ReportData, styles: Mapping[str, int]) -> Chart | None:
    counted = {"timeouts a step": "timeouts", "errors and unparsed a step": "errors"}
    failures = [Panel(name, _curves(data, styles, _total(key)), share=False) for name, key in counted.items()]
    never = [panel.title for panel in failures if panel.series and not any(y for s in panel.series for y in s.y)]
    failures = [panel for panel in failures if panel.title not in never]
    panels = [
        Panel("tokens a response", _curves(data, styles, "completions/mean_length"), share=False),
        Panel("cut off by the limit", _curves(data, styles, "completions/clipped_ratio")),
        *failures,
        Panel("seconds a step", _curves(data, styles, "step_time"), share=False),
        Panel("entropy", _curves(data, styles, "entropy"), share=False),
    ]
    what = "figures of the training rollouts" + "".join(f". No {name.removesuffix(' a step')}" for name in never)
    return _curves_chart(data, "running", "Length, failures and time", what, panels)


def _curves_chart(data: ReportData, name: str, title: str, what: str, panels: Sequence[Panel]) -> Chart | None:
    shown = [panel for panel in panels if panel.series]
    if not shown:
        return None
    ends = [f"{panel.title}: " + ", ".join(_ends(s, panel.share) for s in panel.series) for panel in shown]
    notes = [_capital(what)]
    if any(len(arm.metrics) > SMOOTH_FROM for arm in data.arms):
        notes.append("Smoothed: moving average over a thirtieth of the steps")
    if len(data.groups) < len(data.arms):
        notes.append("Lines are means over seeds, bands reach from the lowest to the highest seed")
    return Chart(name, title, ". ".join(notes) + ".", "; ".join(ends), "lines", "step", "", shown)


def _ends(series: Series, share: bool) -> str:
    known = [y for y in series.y if y is not None]
    said = _percent if share else "{:.3g}".format
    return f"{series.name} from {said(known[0])} to {said(known[-1])}"


def _total(figure: str) -> Callable[[Mapping[str, Any]], float | None]:
    def total(row: Mapping[str, Any]) -> float | None:
        found = [v for k, v in row.items() if k.startswith("components/") and k.endswith(f"/{figure}")]
        return sum(found) if found else None

    return total


def _curves(
    data: ReportData, styles: Mapping[str, int], key: str | Callable[[Mapping[str, Any]], float | None]
) -> list[Series]:
    found = []
    for group in data.groups:
        curves = [curve for arm in data.arms if arm.group == group and (curve := _curve(arm, key))]
        if not curves:
            continue
        steps = sorted(set().union(*curves))
        across = [[curve[step] for curve in curves if step in curve] for step in steps]
        mean = _smooth([float(np.mean(values)) for values in across])
        low, high = (_smooth([pick(values) for values in across]) for pick in (min, max))
        bounds = (low, high) if len(curves) > 1 else (None, None)
        found.append(Series(group, [float(s) for s in steps], mean, styles[group], *bounds))
    return found


def _curve(arm: Arm, key: str | Callable[[Mapping[str, Any]], float | None]) -> dict[int, float]:
    pairs = [(row["step"], row.get(key) if isinstance(key, str) else key(row)) for row in arm.metrics]
    return {step: float(value) for step, value in pairs if value is not None and math.isfinite(value)}


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the centred moving average over a thirtieth of ``values``; the window shrinks at both ends."""
    reach = len(values) // 60 if len(values) > SMOOTH_FROM else 0
    if len(values) > SMOOTH_FROM:
        reach = max(reach, 1)
    return [float(np.mean(values[max(0, i - min(reach, i)) : i + reach + 1])) for i in range(len(values))]


def _heat(data: ReportData) -> Chart | None:
    by_model = {e.name: e.results["metrics"].get("by_constraint", {}) for e in data.evaluated}
    constraints = sorted({name for found in by_model.values() for name in found})
    if not constraints:
        return None
    series = [
        Series(model, constraints, [(found.get(name) or {}).get("mean") for name in constraints], 0)
        for model, found in by_model.items()
    ]
    worst = [f"{s.name}: weakest on {_weakest(s)}" for s in series if any(y is not None for y in s.y)]
    return Chart(
        "constraints",
        "Constraint by arm",
        "Share of evaluated responses that meet each constraint, in percent.",
        "; ".join(worst),
        "heat",
        "constraint",
        "model",
        [Panel("", series)],
    )


def _weakest(series: Series) -> str:
    value, name = min((y, str(x)) for x, y in zip(series.x, series.y, strict=True) if y is not None)
    return f"{name} ({_percent(value)})"


def _crossed(data: ReportData, table: RolloutTable) -> Chart | None:
    """The 2×2 of correct and followed over training, one panel an arm."""
    if not len(table):
        return None
    column = table.columns
    decided = (column["phase"] == TRAINING) & (column["correct"] != UNKNOWN) & (column["followed"] != UNKNOWN)
    panels, said = [], []
    for arm in data.arms:
        rows = decided & (column["arm"] == table.arms.index(arm.name))
        if not rows.any():
            continue
        steps, place = np.unique(column["step"][rows], return_inverse=True)
        cell = 2 * (1 - column["correct"][rows].astype(int)) + (1 - column["followed"][rows].astype(int))
        counts = np.stack([np.bincount(place[cell == c], minlength=len(steps)) for c in range(4)])
        shares = counts / counts.sum(axis=0)
        series = [
            Series(name, [float(s) for s in steps], _smooth([float(v) for v in shares[c]]), c)
            for c, name in enumerate(CELLS)
        ]
        panels.append(Panel(arm.name, series))
        said.append(f"{arm.name}, last step: " + ", ".join(f"{s.name} {_percent(s.y[-1])}" for s in series))
    if not panels:
        return None
    caption = "Training rollouts that are correct or not, and follow all their constraints or not; shares of each step."
    return Chart("crossed", "Correct by followed", caption, "; ".join(said), "area", "step", "", panels)


def _length_and_adherence(data: ReportData, table: RolloutTable, styles: Mapping[str, int]) -> Chart | None:
    """Adherence and accuracy by length of the reasoning, in bins that hold equally many responses of all models."""
    if not len(table):
        return None
    column = table.columns
    phase = EVALUATION if bool((column["phase"] == EVALUATION).any()) else TRAINING
    chosen = column["phase"] == phase
    length = column["reasoning"]
    edges = np.unique(np.quantile(length[chosen], np.linspace(0, 1, BINS + 1)))
    if len(edges) < 3:
        return None
    place = np.clip(np.searchsorted(edges, length, side="right") - 1, 0, len(edges) - 2)
    groups = {**{e.name: e.group for e in data.evaluated}, **{a.name: a.group for a in data.arms}}
    panels = []
    for name, title in (("followed", "HAcc"), ("correct", "accuracy")):
        series = []
        for group in dict.fromkeys(groups.values()):
            arms = [number for number, arm in enumerate(table.arms) if groups.get(arm) == group]
            rows = chosen & (column[name] != UNKNOWN) & np.isin(column["arm"], arms)
            points = [
                (float(np.mean(length[inside])), float(np.mean(column[name][inside])))
                for b in range(len(edges) - 1)
                if (inside := rows & (place == b)).sum() >= 5
            ]
            if points:
                series.append(Series(group, [x for x, _ in points], [y for _, y in points], styles[group]))
        if series:
            panels.append(Panel(title, series))
    if not panels:
        return None
    source = "Evaluated responses" if phase == EVALUATION else "Training rollouts"
    caption = (
        f"{source} in bins of equal counts by length of their reasoning (tokens of the response × its share of "
        f"characters before </think>); bins with fewer than 5 responses are left out."
    )
    said = [f"{p.title}: " + ", ".join(_ends(s, True) for s in p.series) for p in panels]
    alt = "From shortest to longest reasoning, " + "; ".join(said)
    return Chart(
        "reasoning", "Reasoning length against adherence", caption, alt, "lines", "reasoning tokens", "", panels
    )


def _percent(value: Any) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
