"""The page: a template with everything escaped, scripts named by hash, data in blocks that are never run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.report.chart import Chart
from evaluation.report.collect import Arm, ReportData, differences
from evaluation.report.pack import Packed
from evaluation.report.plotly_charts import figures
from evaluation.report.rollouts import RolloutTable
from evaluation.report.summary import differences as group_differences
from evaluation.report.summary import headline, table_rows

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("data.js", "charts.js", "evidence.js", "browser.js", "compare.js", "page.js")
TABLE_ROWS = 400
"""Rows of a chart's table in the page; longer ones are in its CSV file."""


def render(data: ReportData, table: RolloutTable, charts: Sequence[Chart], packed: Packed) -> Iterator[str]:
    """Yield the page in parts; the rollouts' blocks, the bulk of it, come after all that is seen first."""
    import jinja2
    import plotly.offline

    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    plotly_js = plotly.offline.get_plotlyjs()
    script_source = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((ASSETS / "report.html").read_text(encoding="utf-8"))
    found = group_differences(data)
    yield template.render(
        policy=policy(plotly_js, script_source),
        style=_safe((ASSETS / "report.css").read_text(encoding="utf-8")),
        title=data.title,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=headline(data, found),
        differences=found,
        missing=data.missing,
        alarms=[(arm.name, alarm) for arm in data.arms for alarm in arm.alarms],
        rows=table_rows(data),
        evaluated=data.evaluated,
        charts=[{"chart": chart, "rows": chart.rows()[: TABLE_ROWS + 1]} for chart in charts],
        table_rows=TABLE_ROWS,
        arms=data.arms,
        keys=differences({arm.name: shown_recipe(arm) for arm in data.arms}),
        stages=data.stages,
        rollouts=len(table),
        with_text=packed.index["with_text"],
        components=table.components,
        statuses=table.statuses,
        requirements=sorted(table.requirements),
        table_arms=table.arms,
    )
    drawn = {chart.name: {"kind": chart.kind, "panels": figures(chart)} for chart in charts}
    yield _data("charts", json.dumps(drawn))
    yield _data("index", json.dumps(packed.index))
    yield f"<script>{plotly_js}</script>\n"
    for name, block in packed.blocks.items():
        yield f'<script type="application/gzip;base64" id="{name}">{block}</script>\n'
    yield f"<script>{script_source}</script>\n</body>\n</html>\n"


def policy(*scripts: str) -> str:
    """Return the content security policy: these scripts and nothing else run, and nothing is fetched.

    Plotly sets style attributes, so inline styles are allowed; they can load nothing.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"base-uri 'none'; form-action 'none'"
    )


def shown_recipe(arm: Arm) -> dict[str, Any]:
    """Return the settings of an arm that can differ between arms for a reason: all but where its run lies."""
    return {key: value for key, value in arm.recipe.items() if key not in ("run", "arms")}


def _data(name: str, content: str) -> str:
    """Return a block of JSON in which no text can close it or open another element."""
    for letter, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        content = content.replace(letter, escaped)
    return f'<script type="application/json" id="{name}">{content}</script>\n'


def _safe(css: str) -> Any:
    import markupsafe

    return markupsafe.Markup(css)  # our own file, no data in it
