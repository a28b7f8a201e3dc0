"""``adhere report``: what a run has found, from its files alone."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path
from typing import Annotated

from adhere.evaluation.report.write import TEXT_MEGABYTES, write_report
from adhere.rewards.errors import ConfigError
from adhere.train.commands.words import WHOLE


def report(
    run: Path, /, *, to: Path | None = None, text_mb: Annotated[int, WHOLE] = TEXT_MEGABYTES, open: bool = False
) -> int:
    """Write the report of a run, an ablation or a stage: one HTML page, and its figures for papers.

    Args:
        run: A run's folder, a folder of runs, or one stage's artifact.
        to: Folder to write; default: RUN/report.
        text_mb: Megabytes of rollout text in the page before compression; 0 leaves all texts out.
        open: Open the page in the browser.
    """
    if text_mb < 0:
        raise ConfigError(f"--text-mb: {text_mb} is negative; 0 leaves all texts out")
    if not run.is_dir():
        raise ConfigError(f"{run}: there is no such folder; runs are below runs/, the newest is runs/latest")
    started = time.perf_counter()
    made = write_report(run, to, text_mb)
    for line in made.data.missing:
        print(f"  {line}")
    texts = "" if made.with_text == made.rollouts else f", text of {made.with_text:,}"
    size = made.page.stat().st_size / 1e6
    print(f"{made.page}: {made.rollouts:,} rollouts{texts}, {size:.1f} MB, {time.perf_counter() - started:.1f} s")
    print(f"figures: {len(made.figures)} files in {made.page.parent / 'figures'}")
    if open and not webbrowser.open(made.page.resolve().as_uri()):
        print("there is no browser here; copy the file to where there is one")
    return 0
