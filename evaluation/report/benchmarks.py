"""Charts of several suites: every model on each, the plane of accuracy and adherence, remedies, and diagnostics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adhere.evaluation.report.chart import FRONT, Arrow, Chart, Series, Subplot
from adhere.evaluation.report.collect import Evaluated, ReportData
from adhere.evaluation.statistics import mean_of_scored
from adhere.evaluation.table import cell, heading_of

Estimate = Mapping[str, Any]

LEADING = ("joint", "accuracy", "hacc")
"""What stands for a suite that names no headline: the first of these that it has."""

DIAGNOSTIC_PANELS: Mapping[str, tuple[str, str, bool]] = {
    "attention": ("lift of attention to constraints", "phases.*.lift", False),
    "distance": ("HAcc by the constraints' place", "variants.*.hacc", True),
    "controls": ("HAcc, told something else", "variants.*.hacc", True),
    "chain": ("accuracy behind another chain", "variants.*.accuracy", True),
    "gain": ("nats gained for the gold answer", "*", False),
    "faithfulness": ("answers that stay the same", "unchanged.*", True),
    "best_at_k": ("joint, best of k", "joint.*", True),
    "routing": ("share of tokens that training moved", "*", True),
}
"""Of each diagnostic a title, the estimates that its small figure shows, and whether these are shares."""


def benchmark_charts(data: ReportData) -> list[Chart]:
    """Return the charts of suites, of the plane, of remedies and of diagnostics that the data allow."""
    plain = [entry for entry in data.evaluated if not entry.results.get("remedy")]
    found = [suites_chart(plain), plane_chart(plain), *remedy_charts(data.evaluated)]
    for number, results in enumerate(data.diagnostics):
        found += diagnostic_charts(results, f"_{number + 1}" if number else "")
    return [chart for chart in found if chart is not None]


def suites_table(data: ReportData) -> tuple[list[str], list[list[str]]] | None:
    """Return the head and the lines of models × suites with their intervals; ``None`` with fewer than two suites.

    The seeds of an arm have a line each. A model that a suite did not measure has a dash there.
    """
    plain = [entry for entry in data.evaluated if not entry.results.get("remedy")]
    suites = _suites(plain)
    if len(suites) < 2:
        return None
    seeds = {(e.model, e.seed) for e in plain}
    lines: dict[str, dict[str, str]] = {}
    for entry in plain:
        several = sum(model == entry.model for model, _ in seeds) > 1
        name = f"{entry.model} · seed {entry.seed}" if several else entry.model
        lines.setdefault(name, {})[entry.evaluation] = cell(_headline(entry)[1])
    head = ["model", *(f"{suite} ({heading_of(metric)})" for suite, metric in suites.items())]
    return head, [[name, *(cells.get(suite, "–") for suite in suites)] for name, cells in lines.items()]


def suites_chart(entries: Sequence[Evaluated]) -> Chart | None:
    """Each model's headline figure on every suite, with its 95 % interval."""
    suites = _suites(entries)
    if len(suites) < 2:
        return None
    names = [f"{suite} ({heading_of(metric)})" for suite, metric in suites.items()]
    series = []
    for style, model in enumerate(dict.fromkeys(entry.model for entry in entries)):
        means = [
            _over_seeds([_headline(e)[1] for e in entries if (e.model, e.evaluation) == (model, suite)])
            for suite in suites
        ]
        series.append(_dots(model, names, means, style))
    said = "; ".join(
        f"{s.name}: " + ", ".join(f"{x} {_percent(y)}" for x, y in zip(s.x, s.y, strict=True)) for s in series
    )
    return Chart(
        "suites", "Suites by model", "Each model's leading figure on every suite, with 95 % intervals over prompts.",
        said, "dots", "suite", "", [Subplot("", series)],
    )  # fmt: skip


def plane_chart(entries: Sequence[Evaluated]) -> Chart | None:
    """Accuracy against adherence, an arrow from each model to what was trained from it; a panel a suite.

    A suite with both figures is a panel. With several suites one more joins them: the mean accuracy of those that have
    gold answers, and the mean adherence of those that have constraints.
    """
    models = {model: style for style, model in enumerate(dict.fromkeys(entry.model for entry in entries))}
    parents = {entry.model: entry.parents for entry in entries if entry.parents}
    if not parents:
        return None
    suites = list(dict.fromkeys(entry.evaluation for entry in entries))
    measured: dict[str, dict[str, tuple[Estimate, Estimate]]] = {}
    pooled: dict[str, dict[str, dict[str, Estimate]]] = {"accuracy": {}, "hacc": {}}
    for suite in suites:
        for model in models:
            of = [e for e in entries if (e.model, e.evaluation) == (model, suite)]
            found = {m: _over_seeds([e.results["metrics"].get(m) for e in of]) for m in ("accuracy", "hacc")}
            for metric, estimate in found.items():
                if estimate is not None:
                    pooled[metric].setdefault(model, {})[suite] = estimate
            if found["accuracy"] is not None and found["hacc"] is not None:
                measured.setdefault(suite, {})[model] = found["accuracy"], found["hacc"]
    if len(suites) > 1:
        # Only suites that every model has, so that all points are means over the same.
        shared = {
            metric: set.intersection(*(set(of) for of in by.values())) if len(by) == len(models) else set()
            for metric, by in pooled.items()
        }

        def mean_at(metric: str, model: str) -> Estimate:
            return _mean_of([pooled[metric][model][suite] for suite in sorted(shared[metric])])

        if all(shared.values()):
            measured["mean over suites"] = {
                model: (mean_at("accuracy", model), mean_at("hacc", model)) for model in models
            }
    panels = []
    for suite, points in measured.items():
        arrows = [
            Arrow(*(points[at][axis]["mean"] for at in (parent, model) for axis in (0, 1)))
            for model in points
            for parent in parents.get(model, ())
            if parent in points
        ]
        if not arrows:
            continue
        series = []
        for model, (x, y) in points.items():
            bounds = ([y["low"]], [y["high"]], [x["low"]], [x["high"]])
            series.append(Series(model, [x["mean"]], [y["mean"]], models[model], *bounds))
        panels.append(Subplot(suite, series, arrows=arrows))
    if not panels:
        return None
    steps = [
        f"{panel.title}: {s.name} at accuracy {_percent(s.x[0])}, HAcc {_percent(s.y[0])}"
        for panel in panels
        for s in panel.series
    ]
    return Chart(
        "plane", "What training traded",
        "Each model at its accuracy and HAcc, with 95 % intervals over prompts; an arrow leads from a model to what "
        "was trained from it. To the right and down: accuracy was bought with adherence.",
        "; ".join(steps), "points", "accuracy", "HAcc", panels,
    )  # fmt: skip


def remedy_charts(entries: Sequence[Evaluated]) -> list[Chart]:
    """Remedies of one model on one set of prompts: accuracy against HAcc with the front, and what they cost."""
    found: list[Chart] = []
    sets: dict[tuple[str, str], list[Evaluated]] = {}
    for entry in entries:
        if entry.results.get("remedy"):
            sets.setdefault((entry.model, str(entry.results.get("items"))), []).append(entry)
    for (model, _), members in sets.items():
        if len(members) < 2:
            continue
        suite = str(members[0].results["suite"])
        names = [str(entry.evaluation) for entry in members]
        panels = []
        both = [[e.results["metrics"].get(m) or {} for m in ("accuracy", "hacc")] for e in members]
        if all(estimate.get("mean") is not None for pair in both for estimate in pair):
            places = [(float(x["mean"]), float(y["mean"])) for x, y in both]
            best = [not any(_beats(other, place) for other in places) for place in places]
            series = [
                Series(
                    name, [x["mean"]], [y["mean"]], style,
                    [y["low"]], [y["high"]], [x["low"]], [x["high"]], hollow=not on_front,
                )
                for style, (name, (x, y), on_front) in enumerate(zip(names, both, best, strict=True))
            ]  # fmt: skip
            front = sorted({place for place, on_front in zip(places, best, strict=True) if on_front})
            if len(front) > 1:
                line = sorted(front, key=lambda place: (place[0], -place[1]))
                series = [Series("front", [x for x, _ in line], [y for _, y in line], FRONT), *series]
            panels.append(Subplot("", series))
        costs = [(e.results["remedy"].get("tokens"), _headline(e)) for e in members]
        if all(tokens is not None and figure is not None for tokens, (_, figure) in costs):
            metric = costs[0][1][0]
            spent = [(-float(tokens), float(figure["mean"])) for tokens, (_, figure) in costs if figure is not None]
            cheap = [not any(_beats(other, place) for other in spent) for place in spent]
            series = [
                Series(name, [tokens], [figure["mean"]], style, [figure["low"]], [figure["high"]], hollow=not on_front)
                for style, (name, (tokens, (_, figure)), on_front) in enumerate(zip(names, costs, cheap, strict=True))
                if figure is not None
            ]
            panels.append(Subplot("", series, x_share=False, x_label="tokens a response", y_label=heading_of(metric)))
        if panels:
            number = f"_{len(found) + 1}" if found else ""
            found.append(
                Chart(
                    f"remedies{number}", f"Remedies on {suite}",
                    f"{model} with each remedy, with 95 % intervals over prompts. A hollow marker is beaten on both "
                    f"axes by another; fewer tokens are better.",
                    "; ".join(
                        f"{s.name} at {_number(s.x[0], panel.x_share)} and {_percent(s.y[0])}"
                        for panel in panels for s in panel.series if s.style != FRONT
                    ),
                    "points", "accuracy", "HAcc", panels,
                )
            )  # fmt: skip
    return found


def diagnostic_charts(results: Mapping[str, Any], number: str = "") -> list[Chart]:
    """Return the small figures of one ``diagnostics.json``, a panel a diagnostic, and the attention by layer."""
    sides = [side for side in ("model", "against") if results.get(side)]
    paths = [str(results[side]).rstrip("/") for side in sides]
    short = [path.rpartition("/")[2] for path in paths]
    names = dict(zip(sides, paths if len(set(short)) < len(short) else short, strict=True))
    panels, by_layer = [], []
    for diagnostic, found in results["diagnostics"].items():
        title, pattern, share = DIAGNOSTIC_PANELS.get(diagnostic, (diagnostic, "*", False))
        series = []
        for style, side in enumerate(sides):
            estimates = {
                name: e
                for name, e in _estimates(found.get(side, {}), pattern.split("."))
                if e.get("mean") is not None and not name.endswith("_of_right")
            }
            if estimates:
                series.append(_dots(names[side], list(estimates), list(estimates.values()), style))
        if series:
            panels.append(Subplot(title, series, share))
    phases = {side: results["diagnostics"].get("attention", {}).get(side, {}).get("phases", {}) for side in sides}
    for phase in dict.fromkeys(phase for of in phases.values() for phase in of):
        series = [
            Series(names[side], [float(layer) for layer in range(1, len(lift) + 1)], lift, style)
            for style, side in enumerate(sides)
            if (lift := (phases[side].get(phase, {}).get("layers") or {}).get("lift"))
        ]
        if series:
            by_layer.append(Subplot(phase, series, share=False))
    charts = []
    on = f"{results.get('prompts')} prompts"
    if panels:
        said = "; ".join(
            f"{p.title}: " + ", ".join(f"{s.name} {x} {_number(y, p.share)}" for s in p.series
                                       for x, y in zip(s.x, s.y, strict=True))
            for p in panels
        )  # fmt: skip
        what = f"Diagnostics of {' and '.join(names.values())} on {on}, with 95 % intervals; each beside its control."
        charts.append(Chart(f"diagnostics{number}", "Diagnostics", what, said, "dots", "figure", "", panels))
    if by_layer:
        what = f"Lift of the attention to the constraints by layer, on {on}; 1 is no preference."
        said = "; ".join(
            f"{p.title}: {s.name} at most {_number(max((y for y in s.y if y is not None), default=None), False)}"
            for p in by_layer for s in p.series
        )  # fmt: skip
        charts.append(Chart(f"attention{number}", "Attention by layer", what, said, "lines", "layer", "", by_layer))
    return charts


def _suites(entries: Sequence[Evaluated]) -> dict[str, str]:
    """Return the evaluations that have a figure, each with the name of its leading one."""
    return {e.evaluation: _headline(e)[0] for e in entries if _headline(e)[1] is not None}


def _headline(entry: Evaluated) -> tuple[str, Estimate | None]:
    metrics = entry.results["metrics"]
    for name in (entry.results.get("headline"), *LEADING):
        if name and (metrics.get(name) or {}).get("mean") is not None:
            return str(name), metrics[name]
    return "", None


def _over_seeds(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Return the mean over seeds, and as its interval the reach of all of theirs; ``None`` where nothing was scored."""
    known = [e for e in estimates if e is not None and e.get("mean") is not None]
    if not known:
        return None
    ends = {"low": min(e["low"] for e in known), "high": max(e["high"] for e in known)}
    return {"mean": mean_of_scored(e["mean"] for e in known), **ends}


def _mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates; its half-widths add as the roots of squares."""
    mean = sum(e["mean"] for e in estimates) / len(estimates)
    below, above = (
        sum((e["mean"] - e[end]) ** 2 for e in estimates) ** 0.5 / len(estimates) for end in ("low", "high")
    )
    return {"mean": mean, "low": max(0.0, mean - below), "high": min(1.0, mean + above)}


def _dots(name: str, x: Sequence[str], estimates: Sequence[Estimate | None], style: int) -> Series:
    mean, low, high = ([None if e is None else e[end] for e in estimates] for end in ("mean", "low", "high"))
    return Series(name, x, mean, style, low, high)


def _estimates(found: Any, pattern: Sequence[str]) -> Iterator[tuple[str, Estimate]]:
    """Yield the estimates that a dotted pattern names, ``*`` being every key; each is called as its stars are."""
    if not isinstance(found, Mapping):
        return
    if not pattern:
        if "low" in found and "mean" in found:
            yield "", found
        return
    first, *rest = pattern
    for key in list(found) if first == "*" else [first]:
        for name, estimate in _estimates(found.get(key), rest):
            yield (f"{key} {name}".strip() if first == "*" else name), estimate


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def _number(value: Any, share: bool) -> str:
    return _percent(value) if share else "n/a" if value is None else f"{value:.3g}"


def _percent(value: Any) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"
