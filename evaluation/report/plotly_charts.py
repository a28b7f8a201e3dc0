"""Charts as plotly.js takes them. Colours are the page's: a trace names its style, the page's theme paints it."""

from __future__ import annotations

from typing import Any

from adhere.evaluation.report.chart import FRONT, Chart, Series, Subplot

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
MAPS = ("heat", "changes")
MARKED = 30
"""A line of more points than this has no marker at each of them."""

LABELLED = 6
"""Points up to which each has its name beside it; the legend names them all."""


def figures(chart: Chart) -> list[dict[str, Any]]:
    """Return one plotly figure a panel, ``{title, data, layout}``; checked by plotly's own schema."""
    import plotly.graph_objects

    found = []
    for panel in chart.panels:
        layout: dict[str, Any] = {
            "xaxis": {"title": {"text": panel.x_label or chart.x_label}},
            "yaxis": {"title": {"text": panel.y_label or chart.y_label}},
            "hovermode": "x unified" if chart.kind in ("lines", "area") else "closest",
        }
        if panel.share and chart.kind not in MAPS:
            layout["yaxis"] |= {"tickformat": ".0%", "range": [-0.02, 1.02]}
        elif chart.kind == "lines":
            layout["yaxis"] |= {"rangemode": "tozero", "exponentformat": "e"}
        if chart.kind == "points":
            for axis in ("xaxis", "yaxis") if panel.x_share else ("yaxis",):
                layout[axis] |= {"tickformat": ".0%", "range": [-0.05, 1.08], "dtick": 0.2}
            if not panel.x_share:
                layout["xaxis"] |= {"rangemode": "tozero", "range": room(panel)}
            layout["annotations"] = [
                {"x": a.x1, "y": a.y1, "ax": a.x0, "ay": a.y0, "xref": "x", "yref": "y", "axref": "x", "ayref": "y",
                 "showarrow": True, "arrowhead": 2, "arrowwidth": 1.5, "standoff": 7, "startstandoff": 7, "text": ""}
                for a in panel.arrows
            ]  # fmt: skip
        if chart.kind == "dots":
            layout["xaxis"] = {"type": "category"}
            layout |= {"scattermode": "group", "scattergap": 0.5}
        if chart.kind in MAPS:
            names = [str(x) for x in panel.series[0].x]
            ticks = {"tickmode": "array", "tickvals": names, "ticktext": short(names)}
            layout |= {"xaxis": {"type": "category"}, "yaxis": {"type": "category", "autorange": "reversed", **ticks}}
            traces = [heat_trace(panel) if chart.kind == "heat" else changes_trace(panel)]
        else:
            traces = [trace for series in panel.series for trace in line_traces(chart, panel, series)]
        figure = plotly.graph_objects.Figure(data=traces, layout=layout)
        plain = figure.to_plotly_json()
        plain["layout"].pop("template", None)
        found.append({"title": panel.title, "data": plain["data"], "layout": plain["layout"]})
    return found


def short(names: list[str]) -> list[str]:
    """Return constraints' names without their family where they can still be told apart."""
    ends = [name.rpartition(":")[2] for name in names]
    return ends if len(set(ends)) == len(ends) else names


def line_traces(chart: Chart, panel: Subplot, series: Series) -> list[dict[str, Any]]:
    """Return the traces of one series: its band, if it has bounds, and its line or point."""
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": series.name,
        "x": list(series.x),
        "y": list(series.y),
        "mode": "lines+markers" if len(series.x) <= MARKED else "lines",
        "line": {"dash": DASHES[series.style % len(DASHES)], "width": 2},
        "marker": {"symbol": SYMBOLS[series.style % len(SYMBOLS)], "size": 7},
        "meta": {"style": series.style, "series": series.name},
        "hovertemplate": "%{y:.1%}" if panel.share else "%{y:.4g}",
    }
    if chart.kind == "area":
        return [trace | {"mode": "lines", "stackgroup": "one", "line": {"width": 0.5}}]
    if series.style == FRONT:
        return [trace | {"mode": "lines", "line": {"shape": "vh", "width": 1.5, "dash": "dot"}, "hoverinfo": "skip"}]
    if chart.kind == "points":
        return [point_trace(trace, chart, panel, series)]
    if chart.kind == "dots":
        bounds = [
            [
                0.0 if y is None or end is None else abs(end - y)
                for y, end in zip(series.y, ends or series.y, strict=True)
            ]
            for ends in (series.high, series.low)
        ]
        bars = {"type": "data", "array": bounds[0], "arrayminus": bounds[1], "thickness": 1.2}
        return [trace | {"mode": "markers", "error_y": bars, "offsetgroup": series.name}]
    if series.low is None or series.high is None:
        return [trace]
    edge = {"type": "scatter", "mode": "lines", "x": list(series.x), "line": {"width": 0}, "hoverinfo": "skip"}
    edge["meta"] = {"style": series.style, "series": series.name, "band": True}
    return [edge | {"y": list(series.low)}, edge | {"y": list(series.high), "fill": "tonexty"}, trace]


def room(panel: Subplot) -> list[float]:
    """Return a range from 0 that holds all points of a panel whose horizontal axis is not a share."""
    most = max((float(x) for series in panel.series for x in series.x if x is not None), default=1.0) or 1.0
    return [-0.05 * most, 1.15 * most]


def point_trace(trace: dict[str, Any], chart: Chart, panel: Subplot, series: Series) -> dict[str, Any]:
    """Return ``trace`` as one marker with whiskers on both axes; where few are drawn, its name stands beside it."""

    def bars(value: Any, low: Any, high: Any) -> dict[str, Any]:
        if low is None or high is None:
            return {"type": "data", "array": [0.0], "visible": False}
        return {"type": "data", "array": [high[0] - value[0]], "arrayminus": [value[0] - low[0]], "thickness": 1.2}

    front = "" if series.support is None else f"<br>on the front in {series.support:.0%} of resamples"
    x: Any = series.x[0]
    y: Any = series.y[0]
    labelled = len(panel.series) <= LABELLED
    right = x > 0.75 * (1.0 if panel.x_share else room(panel)[1])
    heads = [panel.x_label or chart.x_label, panel.y_label or chart.y_label]
    return trace | {
        "mode": "markers+text" if labelled else "markers",
        "text": [series.name],
        "textposition": f"{'bottom' if y > 0.85 else 'top'} {'left' if right else 'right'}",
        "marker": {"symbol": SYMBOLS[series.style % len(SYMBOLS)] + ("-open" if series.hollow else ""), "size": 12},
        "error_y": bars(series.y, series.low, series.high),
        "error_x": bars(series.x, series.x_low, series.x_high),
        "hovertemplate": f"%{{text}}<br>{heads[0]} %{{x:{'.1%' if panel.x_share else '.4g'}}}<br>"
        f"{heads[1]} %{{y:.1%}}{front}<extra></extra>",
    }


def heat_trace(panel: Subplot) -> dict[str, Any]:
    """Return a map of shares in percent: a row for each ``x``, a column for each series."""
    values = [[None if y is None else round(100 * y, 1) for y in series.y] for series in panel.series]
    cells = list(map(list, zip(*values, strict=True)))
    return {
        "type": "heatmap",
        "x": [series.name for series in panel.series],
        "y": list(panel.series[0].x),
        "z": cells,
        "zmin": 0,
        "zmax": 100,
        "text": [["n/a" if v is None else f"{v:.0f}" for v in row] for row in cells],
        "texttemplate": "%{text}",
        "colorscale": "Cividis",
        "showscale": False,
        "hovertemplate": "%{y}<br>%{x}: %{z:.1f} %<extra></extra>",
        "xgap": 2,
        "ygap": 2,
    }


def changes_trace(panel: Subplot) -> dict[str, Any]:
    """A map around 0, purple for gains and orange for losses, which the colour-blind can tell apart too."""
    trace = heat_trace(panel)
    reach = max((abs(v) for row in trace["z"] for v in row if v is not None), default=1.0) or 1.0
    starred = list(map(list, zip(*[[star(s, i) for i in range(len(s.y))] for s in panel.series], strict=True)))
    words = [
        ["n/a" if v is None else f"{v:+.0f}{mark}" for v, mark in zip(row, marks, strict=True)]
        for row, marks in zip(trace["z"], starred, strict=True)
    ]
    return trace | {
        "zmin": -reach,
        "zmax": reach,
        "text": words,
        "colorscale": [[0.0, "#b35806"], [0.5, "#f7f7f7"], [1.0, "#542788"]],
        "hovertemplate": "%{y}<br>%{x}: %{z:+.1f} points<extra></extra>",
    }


def star(series: Series, place: int) -> str:
    """Return a star where the interval of a difference excludes 0."""
    low, high = (None if bound is None else bound[place] for bound in (series.low, series.high))
    return "" if low is None or high is None or low <= 0.0 <= high else "*"
