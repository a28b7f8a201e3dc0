"""A notice to this process is passed on to the stage it runs: a signal asks for a stop, a second Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from adhere.rewards.errors import AdhereError, ConfigError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(AdhereError, RuntimeError):
    """A run ended early because somebody asked; ``exit_code`` is the shell's of that signal, 128 and its number."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Notice:
    """While it is entered, SIGINT, SIGTERM and SIGUSR1 touch ``stop``, the file that a worker looks for at every step.

    ``follow`` names the file of the stage that the same worker runs next.

    ``signum`` is the first signal that came, ``None`` before. ADHERE_NOTICE_SECONDS, where it is set, is how long the
    stage then has. Outside the main thread, where Python takes no signals, nothing is changed.
    """

    def __init__(self, stop: Path) -> None:
        self._stop = stop
        self._seconds = notice_seconds()
        self._deadline: float | None = None
        self._before: dict[int, Any] = {}
        self.signum: int | None = None

    def __enter__(self) -> Notice:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def follow(self, stop: Path) -> None:
        """Let notices touch ``stop`` from now on, and touch it at once where one came before."""
        self._stop = stop
        if self.signum is not None:
            stop.touch()

    @property
    def expired(self) -> bool:
        """Whether the time between notice and end is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def exit_code(self) -> int:
        """Exit code of a run that this notice ended; that of a plain failure where none came."""
        return 128 + self.signum if self.signum is not None else 1

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.signum = number
        self._deadline = None if self._seconds is None else time.monotonic() + self._seconds
        again = "; Ctrl-C again ends it at once, back to the newest checkpoint" if number == signal.SIGINT else ""
        try:
            print(f"\nadhere: stopping at the end of this step, with a checkpoint{again}", file=sys.stderr, flush=True)
        finally:
            self._stop.touch()  # also where nobody reads the message


def notice_seconds() -> float | None:
    """Return the seconds between notice and end that ADHERE_NOTICE_SECONDS states, ``None`` where it is not set.

    Raises:
        ConfigError: it is not a positive number.
    """
    given = os.environ.get("ADHERE_NOTICE_SECONDS", "")
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise ConfigError(
            f"ADHERE_NOTICE_SECONDS: '{given}' is not a number of seconds above 0; unset it, or correct it"
        )
    return seconds
