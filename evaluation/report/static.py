"""Charts for papers: PNG by matplotlib, CSV of what is drawn, and LaTeX to include both."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adhere.evaluation.plot import COLOURS, GREY, INK, MARKERS
from adhere.evaluation.report.chart import FRONT, Chart, Series, Subplot
from adhere.evaluation.report.charts import CELLS
from adhere.evaluation.report.plotly_charts import LABELLED, MAPS, star
from adhere.evaluation.table import latex_text
from adhere.rewards.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
LONG = 20
"""Characters of a name from which a legend has two columns."""

DASHES = ("-", "--", ":", "-.")
TABULAR = ("points", "dots", *MAPS)
"""Charts of few numbers: their LaTeX file has the numbers as a table too."""

HEAT = {"cmap": "cividis", "vmin": 0, "vmax": 100}


def write_static(folder: Path, chart: Chart) -> list[Path]:
    """Write ``NAME.png``, ``NAME.csv`` and ``NAME.tex`` into ``folder``; return them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{chart.name}.{ending}" for ending in ("png", "csv", "tex")]
    _write_png(paths[0], chart)
    rows = chart.rows()
    with atomic_file(paths[1]) as out:
        writer = csv.DictWriter(out, list(rows[0]) if rows else ["series"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with atomic_file(paths[2]) as out:
        out.write(latex(chart))
    return paths


def latex(chart: Chart) -> str:
    """Return a figure environment; for a chart of few numbers also their table (needs booktabs and graphicx)."""
    caption = f"{latex_text(chart.title)}. {latex_text(chart.caption)}"
    out = io.StringIO()
    out.write(f"\\begin{{figure}}\n  \\centering\n  \\includegraphics[width=\\linewidth]{{{chart.name}.png}}\n")
    out.write(f"  \\caption{{{caption}}}\n  \\label{{fig:{chart.name}}}\n\\end{{figure}}\n")
    if chart.kind in TABULAR:
        heads, rows = _cells(chart)
        out.write(f"\n\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}\n  \\toprule\n")
        out.write("  " + " & ".join(map(latex_text, heads)) + " \\\\\n  \\midrule\n")
        out.writelines("  " + " & ".join(map(latex_text, row)) + " \\\\\n" for row in rows)
        out.write("  \\bottomrule\n\\end{tabular}\n")
    return out.getvalue()


def _cells(chart: Chart) -> tuple[list[str], list[list[str]]]:
    series = [s for panel in chart.panels for s in panel.series]
    if chart.kind in MAPS:
        said = _number if chart.kind == "heat" else _signed
        rows = [[str(name), *(said(s.y[i]) + star(s, i) for s in series)] for i, name in enumerate(series[0].x)]
        return [chart.x_label, *(s.name for s in series)], rows
    if chart.kind == "dots":
        titled = len(chart.panels) > 1
        rows = [
            [*([panel.title] if titled else []), s.name, str(x), _interval(y, low, high, panel.share)]
            for panel in chart.panels
            for s in panel.series
            for x, y, low, high in zip(s.x, s.y, s.low or s.y, s.high or s.y, strict=True)
        ]
        return [*(["panel"] if titled else []), "model", chart.x_label, "value"], rows
    heads = ["model", f"{chart.x_label} (%)", f"{chart.y_label} (%)", "on front (%)"]
    rows = [
        [
            f"{panel.title}: {s.name}" if panel.title else s.name,
            _interval(s.x[0], s.x_low and s.x_low[0], s.x_high and s.x_high[0], panel.x_share),
            _interval(s.y[0], s.low and s.low[0], s.high and s.high[0], True),
            _number(s.support),
        ]
        for panel in chart.panels
        for s in panel.series
        if s.style != FRONT
    ]
    return heads, rows


def _interval(value: Any, low: Any, high: Any, share: bool) -> str:
    said: Callable[[float | None], str] = _number if share else lambda v: "n/a" if v is None else f"{v:.3g}"
    return said(value) if low is None or high is None else f"{said(value)} [{said(low)}, {said(high)}]"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:+.1f}"


def _write_png(path: Path, chart: Chart, dpi: int = 160) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = min(COLUMNS, len(chart.panels))
    high = -(-len(chart.panels) // wide)
    size = (4.2 * wide + 0.6, 3.1 * high + 0.5) if wide > 1 else (7.2, 4.6 + 0.12 * len(chart.panels[0].series))
    if chart.kind in MAPS:
        (panel,) = chart.panels
        size = (3.4 + 0.75 * len(panel.series), 1.6 + 0.32 * len(panel.series[0].x))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(high, wide, squeeze=False).ravel()
    for panel, place in zip(chart.panels, axes, strict=False):
        _heat(place, chart, panel) if chart.kind in MAPS else _draw(place, chart, panel)
    for place in axes[len(chart.panels) :]:
        place.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    if chart.kind not in MAPS and handles and (chart.kind != "points" or len(handles) > LABELLED):
        columns = min(4, len(labels)) if max(map(len, labels)) < LONG else 2
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        for entry in legend.get_texts():
            entry.set_parse_math(False)
    with atomic_file(path, "wb") as out:
        figure.savefig(out, format="png", dpi=dpi, facecolor="white")


def _draw(axes: Axes, chart: Chart, panel: Subplot) -> None:
    scale = 100.0 if panel.share else 1.0
    if chart.kind == "area":
        layers = [[100 * (y or 0.0) for y in s.y] for s in panel.series]
        axes.stackplot(panel.series[0].x, layers, labels=CELLS, colors=[COLOURS[s.style] for s in panel.series])  # type: ignore[arg-type]
    for place, series in enumerate(panel.series if chart.kind != "area" else ()):
        _dots(axes, panel, series, place, scale) if chart.kind == "dots" else _line(axes, chart, panel, series, scale)
    for arrow in panel.arrows:
        start, end = (100 * arrow.x0, 100 * arrow.y0), (100 * arrow.x1, 100 * arrow.y1)
        look = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 7, "shrinkB": 7}
        axes.annotate("", xy=end, xytext=start, arrowprops=look)
    axes.set_title(panel.title, fontsize=11, color=INK, parse_math=False)
    across, up = panel.x_label or chart.x_label, panel.y_label or chart.y_label
    axes.set_xlabel(f"{across} (%)" if chart.kind == "points" and panel.x_share else across)
    axes.set_ylabel(f"{up} (%)" if chart.kind == "points" else "%" if panel.share else "")
    if panel.share:
        axes.set_ylim(-2, 102)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _dots(axes: Axes, panel: Subplot, series: Series, place: int, scale: float) -> None:
    """Draw a series of values over names, beside the other series of its panel."""
    names = list(dict.fromkeys(str(x) for one in panel.series for x in one.x))
    beside = 0.5 * ((place + 0.5) / len(panel.series) - 0.5)
    for i, (name, value) in enumerate(zip(series.x, series.y, strict=True)):
        if value is None:
            continue
        at, colour = names.index(str(name)) + beside, COLOURS[series.style % len(COLOURS)]
        low, high = ((value if ends is None or ends[i] is None else ends[i]) for ends in (series.low, series.high))
        axes.plot([at, at], [scale * (low or 0.0), scale * (high or 0.0)], color=colour, linewidth=1.2)
        label = series.name if i == 0 else None
        axes.plot([at], [scale * value], MARKERS[series.style % len(MARKERS)], color=colour, markersize=6, label=label)
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right", fontsize=8)
    axes.set_xlim(-0.6, len(names) - 0.4)
    for label_ in axes.get_xticklabels():
        label_.set_parse_math(False)


def _line(axes: Axes, chart: Chart, panel: Subplot, series: Series, scale: float) -> None:
    # there are as many markers as colours: after one round of colours the markers are shifted
    round_, place = divmod(series.style, len(COLOURS))
    colour, marker = COLOURS[place], MARKERS[(place + round_) % len(MARKERS)]
    y = [float("nan") if value is None else scale * value for value in series.y]
    if chart.kind == "points":
        across = 100.0 if panel.x_share else 1.0
        x = [across * float(value) for value in series.x if value is not None]
        if series.style == FRONT:
            axes.step(x, y, ":", where="pre", color=INK, linewidth=1.2, label=series.name)
            return
        fill = "white" if series.hollow else colour
        axes.plot(x, y, marker, color=colour, markersize=8, markerfacecolor=fill, label=series.name, zorder=3)
        if len(panel.series) <= LABELLED:
            # a name at the right edge stands to the left of its point
            right = panel.x_share and x[0] > 75
            look_of: dict[str, Any] = {"xytext": (-6 if right else 6, 6), "ha": "right" if right else "left"}
            axes.annotate(series.name, (x[0], y[0]), textcoords="offset points", parse_math=False, **look_of)
        for low, high, horizontal in ((series.low, series.high, False), (series.x_low, series.x_high, True)):
            if low is not None and high is not None:
                ends = [(across if horizontal else scale) * (end[0] or 0.0) for end in (low, high)]
                axes.plot(*((ends, y * 2) if horizontal else (x * 2, ends)), color=colour, linewidth=1.2)
        return
    steps: list[Any] = list(series.x)
    look: dict[str, Any] = {"color": colour, "linewidth": 1.6, "marker": marker if len(y) <= 30 else None}
    axes.plot(steps, y, DASHES[series.style % len(DASHES)], label=series.name, markersize=4, **look)
    if series.low is not None and series.high is not None:
        bounds = [[scale * (value or 0.0) for value in bound] for bound in (series.low, series.high)]
        axes.fill_between(steps, bounds[0], bounds[1], color=colour, alpha=0.15, linewidth=0)


def _heat(axes: Axes, chart: Chart, panel: Subplot) -> None:
    cells = [[float("nan") if y is None else 100 * y for y in s.y] for s in panel.series]
    turned = list(map(list, zip(*cells, strict=True)))
    reach = max((abs(v) for row in cells for v in row if v == v), default=1.0) or 1.0
    changes = chart.kind == "changes"
    look: dict[str, Any] = {"cmap": "PuOr", "vmin": -reach, "vmax": reach} if changes else HEAT
    axes.imshow(turned, aspect="auto", **look)
    axes.set_xticks(range(len(panel.series)), [s.name for s in panel.series], rotation=30, ha="right")
    axes.set_yticks(range(len(turned)), [str(x) for x in panel.series[0].x])
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    for i, row in enumerate(turned):
        for j, value in enumerate(row):
            said = f"{value:+.0f}{star(panel.series[j], i)}" if changes else f"{value:.0f}"
            light = abs(value) > 0.45 * reach if changes else value <= 55
            shown, ink = ("n/a", GREY) if value != value else (said, "white" if light else "black")
            axes.text(j, i, shown, ha="center", va="center", color=ink, fontsize=9)
