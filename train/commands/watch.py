"""``adhere watch``: how a run is going, in the terminal, from its files alone."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from adhere.rewards.errors import ConfigError

REFRESH = 2.0
"""Seconds between two looks at the files."""


def watch(run: Path, /, *, once: bool = False) -> int:
    """Show a run's progress in the terminal until it has ended, or until Ctrl-C.

    Args:
        run: A run's folder, or one stage's artifact.
        once: Print one picture and end.
    """
    from rich.console import Console
    from rich.live import Live

    from adhere.evaluation.report.watch import ended, frame

    if not run.is_dir():
        raise ConfigError(f"{run}: there is no such folder; runs are below runs/, the newest is runs/latest")
    console = Console()
    if once or not console.is_terminal:
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
