"""``adhere report`` and ``adhere watch``: what a run has found, and how it is going, from its files alone."""

from __future__ import annotations

import argparse
import signal
import threading
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from adhere.rewards.errors import ConfigError

REFRESH = 2.0
"""Seconds between two looks of ``adhere watch`` at the files."""


def report(arguments: Sequence[str]) -> int:
    """Write the report of a run, an ablation or a stage: ``RUN [--to FOLDER] [--text-mb N] [--open]``."""
    from adhere.evaluation.report.write import TEXT_MEGABYTES, write_report

    parser = argparse.ArgumentParser(prog="adhere report")
    parser.add_argument("run", type=Path, help="a run's folder, a folder of runs, or one stage's artifact")
    parser.add_argument("--to", type=Path, default=None, help="folder to write; default: RUN/report")
    parser.add_argument(
        "--text-mb", type=int, default=TEXT_MEGABYTES, help="rollout text in the page before compression (default: 64)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parsed = parser.parse_args(arguments)
    if parsed.text_mb < 0:
        raise ConfigError(f"--text-mb: {parsed.text_mb} is negative; 0 leaves all texts out")
    started = time.perf_counter()
    made = write_report(_existing(parsed.run), parsed.to, parsed.text_mb)
    for line in made.data.missing:
        print(f"  {line}")
    texts = "" if made.with_text == made.rollouts else f", text of {made.with_text:,}"
    size = made.page.stat().st_size / 1e6
    print(f"{made.page}: {made.rollouts:,} rollouts{texts}, {size:.1f} MB, {time.perf_counter() - started:.1f} s")
    print(f"figures: {len(made.figures)} files in {made.page.parent / 'figures'}")
    if parsed.open and not webbrowser.open(made.page.resolve().as_uri()):
        print("there is no browser here; copy the file to where there is one")
    return 0


def watch(arguments: Sequence[str]) -> int:
    """Show a run's progress in the terminal until it has ended, or until Ctrl-C: ``RUN [--once]``."""
    from adhere.evaluation.report.watch import ended, frame

    parser = argparse.ArgumentParser(prog="adhere watch")
    parser.add_argument("run", type=Path, help="a run's folder, or one stage's artifact")
    parser.add_argument("--once", action="store_true", help="print one picture and end")
    parsed = parser.parse_args(arguments)
    run = _existing(parsed.run)
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if parsed.once or not console.is_terminal:
        console.print(frame(run))
        return 0
    # A flag, as an exception that reaches a destructor while a picture is made is lost there.
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        with Live(frame(run), console=console, auto_refresh=False) as live:
            live.refresh()
            while not (asked.is_set() or ended(run)):
                looked = time.monotonic()
                while not asked.is_set() and time.monotonic() < looked + REFRESH:
                    time.sleep(0.1)
                live.update(frame(run), refresh=True)
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _existing(run: Path) -> Path:
    if not run.is_dir():
        raise ConfigError(f"{run}: there is no such folder; runs are below runs/, the newest is runs/latest")
    return run
