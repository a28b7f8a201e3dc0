"""The page: a template with everything escaped, scripts named by hash, data in blocks that are never run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adhere.evaluation.ablation import Analysis
from adhere.evaluation.ablation.words import NAMES
from adhere.evaluation.report.benchmarks import suites_table
from adhere.evaluation.report.chart import Chart
from adhere.evaluation.report.collect import ReportData, recipe_differences, without_seeds
from adhere.evaluation.report.pack import Packed
from adhere.evaluation.report.plotly_charts import figures
from adhere.evaluation.report.rollouts import RolloutTable
from adhere.evaluation.report.verdict import ORDER, caution, change, headline, table, verdicts

ASSETS = Path(__file__).parent / "assets"
BENCHMARK_CHARTS = ("suites", "plane", "remedies", "diagnostics", "attention")
"""How the names of the charts of the section on benchmarks begin."""
SUMMARY_CHARTS = ("pareto", "constraints", "changes", "reasoning")
WIDE = 4
"""Groups above which the table of settings has one row a group, so that it grows downwards."""

SCRIPTS = ("data.js", "charts.js", "evidence.js", "browser.js", "compare.js", "page.js")
TABLE_ROWS = 400
"""Rows of a chart's table in the page; longer ones are in its CSV file."""


def render_page(
    data: ReportData, rollouts: RolloutTable, charts: Sequence[Chart], packed: Packed, analysis: Analysis | None
) -> Iterator[str]:
    """Yield the page in parts; the rollouts' blocks, the bulk of it, come after all that is seen first.

    Args:
        data: what was collected.
        rollouts: the table of rollouts, for its names.
        charts: in the order of the page.
        packed: the rollouts as blocks.
        analysis: the comparison of the models; ``None`` where none could be made.
    """
    import jinja2
    import plotly.offline

    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    plotly_js = plotly.offline.get_plotlyjs()
    script_source = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["breakable"] = breakable
    template = environment.from_string((ASSETS / "report.html").read_text(encoding="utf-8"))
    yield template.render(
        policy=policy(plotly_js, script_source),
        style=_safe((ASSETS / "report.css").read_text(encoding="utf-8")),
        title=data.title,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=headline(data, analysis),
        verdicts=verdicts(analysis) if analysis and len(analysis.means) > 1 else [],
        pairs=len(analysis.differences["joint"]) if analysis else 0,
        caution=caution(analysis),
        analysis=analysis,
        order=[(metric, NAMES[metric]) for metric in ORDER],
        change=change,
        parts=parts(analysis),
        courses=data.courses,
        rehearsals=data.rehearsals,
        missing=data.missing,
        alarms=raised_alarms(data),
        rows=table(data, analysis),
        evaluated=data.evaluated,
        charts=[{"chart": chart, "rows": chart.rows()[: TABLE_ROWS + 1]} for chart in charts],
        summary_charts=SUMMARY_CHARTS,
        benchmark_charts=[chart.name for chart in charts if chart.name.partition("_")[0] in BENCHMARK_CHARTS],
        suites=suites_table(data),
        table_rows=TABLE_ROWS,
        groups=data.groups,
        wide=len(data.groups) > WIDE,
        keys=recipe_differences(settings(data)),
        stages=data.stages,
        rollouts=len(rollouts),
        with_text=packed.index["with_text"],
        components=rollouts.components,
        judges=packed.index["judges"],
        statuses=rollouts.statuses,
        requirements=sorted(rollouts.requirements),
        table_arms=rollouts.arms,
    )
    drawn = {chart.name: {"kind": chart.kind, "panels": figures(chart)} for chart in charts}
    yield _data("charts", json.dumps(drawn))
    yield _data("index", json.dumps(packed.index))
    yield f"<script>{plotly_js}</script>\n"
    for name, block in packed.blocks.items():
        yield f'<script type="application/gzip;base64" id="{name}">{block}</script>\n'
    yield f"<script>{script_source}</script>\n</body>\n</html>\n"


def breakable(name: str) -> Any:
    """Return a name, escaped, that may be broken after its underscores and hyphens."""
    import markupsafe

    return markupsafe.escape(name).replace("_", markupsafe.Markup("_<wbr>")).replace("-", markupsafe.Markup("-<wbr>"))


def policy(*scripts: str) -> str:
    """Return the content security policy: these scripts and nothing else run, and nothing is fetched.

    Plotly sets style attributes, so inline styles are allowed; they can load nothing.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"base-uri 'none'; form-action 'none'"
    )


def settings(data: ReportData) -> dict[str, dict[str, Any]]:
    """Return the settings of every group that can differ for a reason: all but its seeds and where its run lies."""
    found: dict[str, dict[str, Any]] = {}
    for arm in data.trained:
        recipe = without_seeds(arm.recipe)
        found.setdefault(arm.group, {key: value for key, value in recipe.items() if key not in ("arms", "ablation")})
    return found


def raised_alarms(data: ReportData) -> list[dict[str, Any]]:
    """Return every alarm's name with the arms that it was raised in, each with its step and its words."""
    found: dict[str, list[tuple[str, Any, str]]] = {}
    for arm in data.trained:
        for alarm in arm.alarms:
            found.setdefault(str(alarm.get("name")), []).append((arm.name, alarm.get("step"), str(alarm.get("text"))))
    return [{"name": name, "raised": raised} for name, raised in found.items()]


def parts(analysis: Analysis | None) -> list[dict[str, Any]]:
    """Return the table of differences by part of the prompts: kind, name, prompts, and a cell for each other arm."""
    return [
        {"kind": part.kind, "name": part.name, "prompts": part.prompts, "cells": part.differences}
        for part in (analysis.slices if analysis and len(analysis.means) > 1 else [])
    ]


def _data(name: str, content: str) -> str:
    """Return a block of JSON in which no text can close it or open another element."""
    for letter, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        content = content.replace(letter, escaped)
    return f'<script type="application/json" id="{name}">{content}</script>\n'


def _safe(css: str) -> Any:
    import markupsafe

    return markupsafe.Markup(css)  # our own file, no data in it
