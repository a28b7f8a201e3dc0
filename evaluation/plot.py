"""The comparison as a picture: one panel a metric, one line a model, dots with interval whiskers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adhere.evaluation.table import Comparison, Line, heading_of
from adhere.rewards.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours stay apart in all common forms of colour blindness; their yellow is too pale
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
GREY, INK = "#707070", "#222222"


def write_plot(path: Path, comparison: Comparison, dpi: int = 160) -> None:
    """Draw the comparison and write it as PNG; nothing needs a display."""
    figure = draw(comparison)
    with atomic_file(path, "wb") as out:
        figure.savefig(out, format="png", dpi=dpi, facecolor="white")


def draw(comparison: Comparison) -> Figure:
    """Return the figure: models from top to bottom, trivial floors in grey below a rule."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = comparison.rows
    figure = Figure(
        figsize=(2.3 * len(comparison.metrics) + 1.9, 0.38 * len(lines) + 1.3),
        layout=ConstrainedLayoutEngine(wspace=0.05),
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(comparison.metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, comparison.metrics, strict=True):
        for place, line in enumerate(lines):
            _dot(axes, place, line, metric)
        _frame(axes, metric, lines)
    panels[0].set_yticks(range(len(lines)), [line.name for line in lines])
    for label, line in zip(panels[0].get_yticklabels(), lines, strict=True):
        label.set_color(GREY if line.floor else INK)
        label.set_fontsize(10)
        label.set_parse_math(False)
    figure.suptitle(
        f"{comparison.suite}: percent of responses, 95 % bootstrap intervals ({comparison.mode} checkers)",
        fontsize=11,
        color=INK,
    )
    return figure


def _dot(axes: Axes, place: int, line: Line, metric: str) -> None:
    found: Any = line.estimates[metric]
    if found is None or found["mean"] is None:
        axes.annotate("n/a", (2, place), va="center", fontsize=8, color=GREY)
        return
    mean, low, high = (100.0 * found[key] for key in ("mean", "low", "high"))
    colour = GREY if line.floor else COLOURS[place % len(COLOURS)]
    axes.barh(place, mean, height=0.5, color=colour, alpha=0.16, zorder=1)
    whisker: dict[str, Any] = {"color": colour if line.floor else INK, "zorder": 3}
    axes.plot([low, high], [place, place], linewidth=1.3, **whisker)
    for end in (low, high):
        axes.plot([end, end], [place - 0.13, place + 0.13], linewidth=1.3, **whisker)
    marker = "o" if line.floor else MARKERS[place % len(MARKERS)]
    fill = "white" if line.floor else colour
    axes.plot(mean, place, marker, color=colour, markerfacecolor=fill, markersize=5.5, zorder=4)
    right = high < 80.0
    axes.annotate(
        f"{mean:.1f}",
        (high if right else low, place),
        xytext=(7 if right else -7, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=9,
        color=GREY if line.floor else INK,
        fontweight="bold" if metric == "joint" and not line.floor else "normal",
    )


def _frame(axes: Axes, metric: str, lines: tuple[Line, ...]) -> None:
    axes.set_title(heading_of(metric), fontsize=11, color=INK, fontweight="bold" if metric == "joint" else "normal")
    axes.set_xlim(-3, 103)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    if metric == "joint":
        axes.set_facecolor("#F5F7FA")
    models = sum(not line.floor for line in lines)
    if 0 < models < len(lines):
        axes.axhline(models - 0.5, color="#BBBBBB", linewidth=0.8, linestyle=(0, (3, 3)))
