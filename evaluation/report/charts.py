"""The charts of a report, from what was collected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from adhere.evaluation.ablation import Analysis
from adhere.evaluation.ablation.slices import FEWEST
from adhere.evaluation.report.benchmarks import benchmark_charts
from adhere.evaluation.report.chart import FRONT, Chart, Series, Subplot
from adhere.evaluation.report.collect import ReportData, Trained
from adhere.evaluation.report.rollouts import EVALUATION, TRAINING, UNKNOWN, RolloutTable
from adhere.evaluation.statistics import mean_of_scored

SMOOTH_FROM = 40
"""Steps from which learning curves are smoothed, over a thirtieth of them."""

REASONING_BINS = 5
CELLS = ("correct, followed", "correct, not followed", "wrong, followed", "wrong, not followed")


def build_charts(data: ReportData, table: RolloutTable, analysis: Analysis | None) -> list[Chart]:
    """Return the charts that the data allow, in the order of the page."""
    models = [group for group in dict.fromkeys(e.group for e in data.evaluated) if group not in data.groups]
    styles = {group: number for number, group in enumerate([*data.groups, *models])}

    # Learning curves, by optimizer step.
    rates = {"joint": "joint", "accuracy": "accuracy", "hacc": "HAcc"}
    components = list(dict.fromkeys(component for entry in data.trained for component in entry.components))
    counted = {"timeouts a step": "timeouts", "errors and unparsed a step": "errors"}
    failures = [Subplot(name, _curves(data, styles, _total(figure)), share=False) for name, figure in counted.items()]
    never = [panel.title for panel in failures if panel.series and not any(y for s in panel.series for y in s.y)]
    running = [
        Subplot("tokens a response", _curves(data, styles, "completions/mean_length"), share=False),
        Subplot("cut off by the limit", _curves(data, styles, "completions/clipped_ratio")),
        *(panel for panel in failures if panel.title not in never),
        Subplot("seconds a step", _curves(data, styles, "step_time"), share=False),
    ]
    figures = {
        "loss": "loss",
        "KL to the reference, nats a token": "kl",
        "gradient norm": "grad_norm",
        "learning rate": "learning_rate",
        "entropy, nats a token": "entropy",
    }
    taught = {group: number for number, group in enumerate(dict.fromkeys(entry.group for entry in data.taught))}
    found = [
        pareto_chart(analysis, styles),
        *benchmark_charts(data),
        _curves_chart(
            data, "rates", "Learning curves", "share of training rollouts, by optimizer step",
            [Subplot(title, _curves(data, styles, f"rates/{rate}")) for rate, title in rates.items()],
        ),
        _curves_chart(
            data, "optimizer", "Optimization", "what the optimizer saw, by optimizer step",
            [Subplot(title, _curves(data, styles, key), share=False) for title, key in figures.items()],
        ),
        _curves_chart(
            data, "taught", "SFT", "training on given responses, by optimizer step",
            [
                *(
                    Subplot(title, _curves(data, taught, key, data.taught), share=False)
                    for title, key in figures.items()
                ),
                Subplot("token accuracy", _curves(data, taught, "mean_token_accuracy", data.taught)),
            ],
            data.taught,
        ),
        _curves_chart(
            data, "held_out", "Held-out prompts",
            "the policy on prompts that are not trained on, answered greedily while it trains",
            [
                *(Subplot(title, _curves(data, styles, f"held_out/{rate}")) for rate, title in rates.items()),
                *(
                    Subplot(title, _curves(data, styles, f"held_out/{name}"), share=False)
                    for name, title in {"trace": "tokens of reasoning", "entropy": "entropy in nats a token"}.items()
                ),
            ],
        ),
        _curves_chart(
            data, "components", "Component scores", "mean score of each reward component",
            [Subplot(c, _curves(data, styles, f"components/{c}/mean")) for c in components],
        ),
        _curves_chart(
            data, "zero_spread", "Groups without a signal",
            "share of prompt groups in which a component gives every rollout the same score",
            [
                *(Subplot(c, _curves(data, styles, f"components/{c}/zero_spread_groups")) for c in components),
                Subplot("whole reward", _curves(data, styles, "frac_reward_zero_std")),
            ],
        ),
        _curves_chart(
            data, "running", "Length, failures and time",
            "figures of the training rollouts" + "".join(f". No {name.removesuffix(' a step')}" for name in never),
            running,
        ),
        constraints_chart(data),
        changes_chart(analysis),
        crossed_chart(data, table),
        reasoning_chart(data, table, styles),
    ]  # fmt: skip
    return [chart for chart in found if chart is not None]


def pareto_chart(analysis: Analysis | None, styles: Mapping[str, int]) -> Chart | None:
    """Each model with its intervals on both axes; the front is drawn as the border of what is reached."""
    points = [arm for arm in analysis.front if arm.x is not None and arm.y is not None] if analysis else []
    if not points:
        return None
    series = []
    for arm in points:
        bounds = ([arm.y_low], [arm.y_high], [arm.x_low], [arm.x_high])
        hollow = not arm.on_front
        series.append(Series(arm.arm, [arm.x], [arm.y], styles[arm.arm], *bounds, support=arm.support, hollow=hollow))
    front = sorted((arm for arm in points if arm.on_front), key=lambda arm: (arm.x or 0.0, -(arm.y or 0.0)))
    line = [Series("front", [arm.x for arm in front], [arm.y for arm in front], FRONT)] if len(front) > 1 else []
    named = ", ".join(f"{arm.arm} ({arm.support:.0%})" for arm in front)
    return Chart(
        "pareto",
        "Accuracy against adherence",
        f"Each model at its accuracy and HAcc, with 95 % intervals over prompts and seeds. Up and to the right is "
        f"better. On the front, with the share of resamples in which no other beats it on both: {named}. "
        f"Hollow markers are not on it.",
        "; ".join(
            f"{arm.arm}: accuracy {_percent(arm.x)}, HAcc {_percent(arm.y)}, on the front in {arm.support:.0%}"
            for arm in points
        ),
        "points",
        "accuracy",
        "HAcc",
        [Subplot("", [*line, *series])],
    )


def _curves_chart(
    data: ReportData,
    name: str,
    title: str,
    what: str,
    panels: Sequence[Subplot],
    entries: Sequence[Trained] | None = None,
) -> Chart | None:
    """Return the chart of those ``panels`` that have a curve.

    Args:
        data: of the report.
        name: of the chart's files.
        title: of the chart.
        what: begins its caption.
        panels: each with its curves.
        entries: the stages whose curves they are; ``None`` is those that rewards trained.
    """
    drawn = data.trained if entries is None else entries
    shown = [panel for panel in panels if panel.series]
    if not shown:
        return None
    ends = [f"{panel.title}: " + ", ".join(_ends(s, panel.share) for s in panel.series) for panel in shown]
    notes = [what[:1].upper() + what[1:]]
    if any(len(arm.metrics) > SMOOTH_FROM for arm in drawn):
        notes.append("Smoothed: moving average over a thirtieth of the steps")
    if len({arm.group for arm in drawn}) < len(drawn):
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
    data: ReportData,
    styles: Mapping[str, int],
    key: str | Callable[[Mapping[str, Any]], float | None],
    entries: Sequence[Trained] | None = None,
) -> list[Series]:
    """Return one curve a group, with a band over its seeds.

    Args:
        data: of the report.
        styles: the style of each group.
        key: of the figure in the logged rows, or how it follows from a row.
        entries: the stages whose rows are read; ``None`` is those that rewards trained.
    """
    found = []
    entries = data.trained if entries is None else entries
    for group in dict.fromkeys(entry.group for entry in entries):
        curves: list[dict[int, float]] = []
        for entry in entries:
            values = [(row["step"], row.get(key) if isinstance(key, str) else key(row)) for row in entry.metrics]
            curve = {step: float(value) for step, value in values if value is not None and math.isfinite(value)}
            if entry.group == group and curve:
                curves.append(curve)
        if not curves:
            continue
        steps = sorted(set().union(*curves))
        across = [[curve[step] for curve in curves if step in curve] for step in steps]
        mean = _smooth([float(np.mean(values)) for values in across])
        low, high = (_smooth([pick(values) for values in across]) for pick in (min, max))
        bounds = (low, high) if len(curves) > 1 else (None, None)
        found.append(Series(_titled(data, group), [float(s) for s in steps], mean, styles[group], *bounds))
    return found


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the centred moving average over a thirtieth of ``values``; the window shrinks at both ends."""
    reach = len(values) // 60 if len(values) > SMOOTH_FROM else 0
    if len(values) > SMOOTH_FROM:
        reach = max(reach, 1)
    return [float(np.mean(values[max(0, i - min(reach, i)) : i + reach + 1])) for i in range(len(values))]


def constraints_chart(data: ReportData) -> Chart | None:
    """The share of responses that meet each constraint, by model."""
    by_group: dict[str, list[Mapping[str, Any]]] = {}
    for entry in data.evaluated:
        by_group.setdefault(entry.group, []).append(entry.results["metrics"].get("by_constraint", {}))
    constraints = sorted({name for seeds in by_group.values() for found in seeds for name in found})
    if not constraints:
        return None
    series = [
        Series(
            group,
            constraints,
            [mean_of_scored((f.get(name) or {}).get("mean") for f in seeds) for name in constraints],
            0,
        )
        for group, seeds in by_group.items()
    ]
    worst = []
    for one in series:
        if known := [(y, str(x)) for x, y in zip(one.x, one.y, strict=True) if y is not None]:
            value, name = min(known)
            worst.append(f"{one.name}: weakest on {name} ({_percent(value)})")
    seeds = " Means over seeds." if len(by_group) < len(data.evaluated) else ""
    return Chart(
        "constraints",
        "Constraints by model",
        f"Share of evaluated responses that meet each constraint, in percent.{seeds}",
        "; ".join(worst),
        "heat",
        "constraint",
        "model",
        [Subplot("", series)],
    )


def changes_chart(analysis: Analysis | None) -> Chart | None:
    """Differences from the reference on the prompts of each source, constraint and length bin."""
    if analysis is None or not analysis.slices or len(analysis.means) < 2:
        return None
    parts = analysis.slices
    names = [part_name(part.kind, part.name) for part in parts]
    series = []
    for place, first in enumerate(parts[0].differences):
        found = [part.differences[place] for part in parts]
        bounds = ([d.low_all for d in found], [d.high_all for d in found])
        series.append(Series(first.arm, names, [d.mean for d in found], 0, *bounds))
    left = f" {analysis.left_out} parts of fewer than {FEWEST} prompts are left out." if analysis.left_out else ""
    caption = (
        f"Difference from {analysis.reference} in points: of constraints the share that is met, of sources and length "
        f"bins joint. A bin is by the mean length of all models' responses to a prompt. A star marks a difference "
        f"whose interval, holding for all of its kind at once, excludes 0.{left}"
    )
    said = []
    for one in series:
        if known := sorted((y, str(x)) for x, y in zip(one.x, one.y, strict=True) if y is not None):
            (low, worst), (high, best) = known[0], known[-1]
            said.append(f"{one.name}: from {100 * low:+.1f} points on {worst} to {100 * high:+.1f} on {best}")
    return Chart(
        "changes",
        "Where the models differ",
        caption,
        "; ".join(said),
        "changes",
        "part",
        "model",
        [Subplot("", series)],
    )


def part_name(kind: str, name: str) -> str:
    """Return a slice's name as charts and tables have it: a constraint by its id, the others with their kind."""
    return f"source {name}" if kind == "source" else name


def crossed_chart(data: ReportData, table: RolloutTable) -> Chart | None:
    """The 2×2 of correct and followed over training, one panel a group of seeds."""
    if not len(table):
        return None
    column = table.columns
    decided = (column["phase"] == TRAINING) & (column["correct"] != UNKNOWN) & (column["followed"] != UNKNOWN)
    panels, said = [], []
    for group in data.groups:
        members = [table.arms.index(arm.name) for arm in data.trained if arm.group == group]
        rows = decided & np.isin(column["arm"], members)
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
        panels.append(Subplot(_titled(data, group), series))
        said.append(f"{group}, last step: " + ", ".join(f"{s.name} {_percent(s.y[-1])}" for s in series))
    if not panels:
        return None
    pooled = " All seeds together." if len(data.groups) < len(data.trained) else ""
    caption = (
        f"Training rollouts that are correct or not, and follow all their constraints or not; shares of each step."
        f"{pooled}"
    )
    return Chart("crossed", "Correct by followed", caption, "; ".join(said), "area", "step", "", panels)


def _titled(data: ReportData, group: str) -> str:
    return f"{group} ({data.note(group)})" if data.note(group) else group


def reasoning_chart(data: ReportData, table: RolloutTable, styles: Mapping[str, int]) -> Chart | None:
    """Adherence and accuracy by length of the reasoning, in bins that hold equally many responses of all models."""
    if not len(table):
        return None
    column = table.columns
    phase = EVALUATION if bool((column["phase"] == EVALUATION).any()) else TRAINING
    chosen = column["phase"] == phase
    length = column["reasoning"]
    edges = np.unique(np.quantile(length[chosen], np.linspace(0, 1, REASONING_BINS + 1)))
    if len(edges) < 3:
        return None
    place = np.clip(np.searchsorted(edges, length, side="right") - 1, 0, len(edges) - 2)
    groups = {**{e.name: e.group for e in data.evaluated}, **{a.name: a.group for a in data.trained}}
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
            panels.append(Subplot(title, series))
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
