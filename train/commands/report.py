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
    run: Path,
    /,
    *more: Path,
    to: Path | None = None,
    text_mb: Annotated[int, WHOLE] = TEXT_MEGABYTES,
    open: bool = False,
    serve: bool = False,
    port: Annotated[int, WHOLE] = 0,
) -> int:
    """Write the report of a run, an ablation or a stage, or of several runs: one HTML page, and its figures for papers.

    Args:
        run: A run's folder, a folder of runs, or one stage's artifact.
        more: Further runs, on the same page.
        to: Folder to write; default: RUN/report, of several runs reports/NAME+NAME beside the first.
        text_mb: Megabytes of rollout text in the page before compression; 0 leaves all texts out.
        open: Open the page in the browser.
        serve: Serve the page to this machine alone (127.0.0.1) until Ctrl-C.
        port: Of --serve; 0 takes a free one.
    """
    if text_mb < 0:
        raise ConfigError(f"--text-mb: {text_mb} is negative; 0 leaves all texts out")
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port: {port} is not a port; 0 takes a free one")
    for path in (run, *more):
        if not path.is_dir():
            raise ConfigError(f"{path}: there is no such folder; runs are below runs/, the newest is runs/latest")
    started = time.perf_counter()
    made = write_report([run, *more] if more else run, to, text_mb)
    for line in made.data.missing:
        print(f"  {line}")
    texts = "" if made.with_text == made.rollouts else f", text of {made.with_text:,}"
    size = made.page.stat().st_size / 1e6
    print(f"{made.page}: {made.rollouts:,} rollouts{texts}, {size:.1f} MB, {time.perf_counter() - started:.1f} s")
    print(f"figures: {len(made.figures)} files in {made.page.parent / 'figures'}")

    def show(address: str) -> None:
        if serve:
            print(f"serving {address} to this machine alone; Ctrl-C ends it", flush=True)
        if open and not webbrowser.open(address):
            print("there is no browser here; copy the file to where there is one")

    if not serve:
        show(made.page.resolve().as_uri())
        return 0
    from adhere.evaluation.report.serve import serve as serve_report

    try:
        serve_report(made.page.parent, port, show)
    except OSError as error:
        raise ConfigError(f"--port: {port} cannot be used ({error.strerror}); leave it out for a free one") from error
    return 0
