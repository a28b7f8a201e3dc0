"""Write a report's folder: ``report.html``, and ``figures/`` for papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adhere.evaluation.report.charts import build_charts
from adhere.evaluation.report.collect import ReportData, collect
from adhere.evaluation.report.pack import pack
from adhere.evaluation.report.page import render_page
from adhere.evaluation.report.rollouts import read_rollout_table
from adhere.evaluation.report.static import write_static
from adhere.evaluation.report.verdict import compare_models
from adhere.records.run import RunFolder
from adhere.rewards.files import atomic_file

PAGE, FIGURES = "report.html", "figures"
TEXT_MEGABYTES = 64


@dataclass(frozen=True, slots=True)
class Report:
    """What was written: the page, the figures' files, and how many rollouts it shows, with and without their text."""

    page: Path
    figures: tuple[Path, ...]
    rollouts: int
    with_text: int
    data: ReportData


def write_report(
    source: Path | Sequence[Path], folder: Path | None = None, text_megabytes: int = TEXT_MEGABYTES
) -> Report:
    """Write the report of a run, an ablation or a stage, or one of several runs.

    Args:
        source: a run's folder, a folder of runs, or a stage's artifact; several are runs in one page.
        folder: where to write; default: ``report/`` in ``source``, of several ``reports/NAME+NAME/`` beside the first.
        text_megabytes: text of rollouts that the page carries, before compression. The figures of all rollouts are
            in it whatever this says.

    Raises:
        ConfigError: ``source`` is none of the three, or holds no run.
        DataError: a file of the run cannot be read.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    data = collect(*sources)
    if folder is None:
        together = "+".join(place.resolve().name for place in sources)
        alone = len(sources) == 1
        folder = RunFolder(sources[0]).report if alone else sources[0].resolve().parent / "reports" / together[:200]
    table = read_rollout_table(data)
    analysis = compare_models(data)
    charts = build_charts(data, table, analysis)
    packed = pack(table, text_megabytes * 1_000_000)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / PAGE) as out:
        for part in render_page(data, table, charts, packed, analysis):
            out.write(part)
    figures = [path for chart in charts for path in write_static(folder / FIGURES, chart)]
    return Report(folder / PAGE, tuple(figures), len(table), int(packed.index["with_text"]), data)
