"""A chart before it is drawn: what the page, the PNG, the CSV and the LaTeX file all show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "points", "dots", "area", "heat", "changes"]
"""``dots`` are values with intervals over names, the series side by side. ``changes`` is a heat map around 0: gains and
losses in opposite colours, marked where the interval excludes 0."""

FRONT = -1
"""The style of the Pareto front: a dotted line in the colour of the text."""
Number = float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One line, set of points or layer; ``low`` and ``high`` bound ``y``, ``x_low`` and ``x_high`` bound ``x``.

    ``style`` picks colour, dash and marker: the same arm has the same style in every chart. ``support`` is the share of
    resamples in which a point is on the Pareto front; a ``hollow`` marker is a point that is not on it.
    """

    name: str
    x: Sequence[Number | str]
    y: Sequence[Number]
    style: int
    low: Sequence[Number] | None = None
    high: Sequence[Number] | None = None
    x_low: Sequence[Number] | None = None
    x_high: Sequence[Number] | None = None
    support: float | None = None
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From the point (``x0``, ``y0``) to (``x1``, ``y1``)."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Subplot:
    """One pair of axes; ``share`` says that its values lie in [0, 1] and are read as percent.

    Of points, ``x_share`` says it of the horizontal axis, the labels take the place of the chart's, and ``arrows`` lead
    from one point to another.
    """

    title: str
    series: Sequence[Series]
    share: bool = True
    x_share: bool = True
    x_label: str = ""
    y_label: str = ""
    arrows: Sequence[Arrow] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the report. ``alt`` says in words what it shows, for who cannot see it."""

    name: str
    title: str
    caption: str
    alt: str
    kind: Kind
    x_label: str
    y_label: str
    panels: Sequence[Subplot]

    def rows(self) -> list[dict[str, str]]:
        """Return what is drawn as a table, one row a point; the heat map has one row a cell."""
        rows = []
        for panel in self.panels:
            for series in panel.series:
                for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
                    row = {"panel": panel.title, "series": series.name, self.x_label or "x": text(x), "value": text(y)}
                    for name in ("low", "high", "x_low", "x_high"):
                        bound = getattr(series, name)
                        row[name] = text(bound[i]) if bound is not None else ""
                    if self.kind == "points":
                        row["front_support"] = text(series.support)
                    rows.append(row)
        return rows


def text(value: Number | str) -> str:
    """Return a value as it stands in a CSV file: six significant digits, nothing for a missing one."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"
