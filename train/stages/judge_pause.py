"""What training does while a judge or another endpoint is down: wait, the same on all ranks, and give up in order."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from adhere.rewards.services import Outage, Services

PROBE_EVERY = 5.0
"""Seconds between two probes."""

Restore = Callable[[], None]


class JudgePause:
    """Waits for the endpoints that a composite reward asks; every method is collective: all ranks call it, and agree.

    ``stop`` is the file that asks the stage to end; a pause does not outlast it.
    """

    def __init__(self, services: Services, accelerator: Accelerator, stop: Path) -> None:
        self._services, self._accelerator, self._stop = services, accelerator, stop
        self._since: float | None = None

    def begin(self) -> None:
        """A new batch: its pauses have the whole patience before them."""
        self._since = None

    def outage(self) -> Outage | None:
        """Return what did not answer some rank when the last batch was scored, or ``None``."""
        found: Outage | None = self._first(self._services.outage) if self._services else None
        return found

    def outlast(self, outage: Outage) -> bool:
        """Wait until every rank's endpoints answer; return whether they did within the patience, and before a stop.

        Pauses of one batch share the patience: an endpoint that answers probes, but no questions, does not renew it.
        """
        patience = self._services.patience
        if self._since is None:
            self._since = time.monotonic()
        self._say(f"training pauses for up to {patience:g} s: {outage.title} does not answer ({outage.reason})")
        while True:
            left = patience - (time.monotonic() - self._since)
            if self._first(left <= 0.0 or None) or self.asked_to_stop:
                return False
            time.sleep(max(0.0, min(PROBE_EVERY, left)))
            if self._first(self._services.probe()) is None:
                self._say(f"{outage.title} answers again; training goes on")
                return True

    @property
    def asked_to_stop(self) -> bool:
        """Whether the stage was asked to end, by rank 0's sight of its ``STOP``."""
        return bool(self._first((self._accelerator.is_main_process and self._stop.exists()) or None))

    def _first(self, mine: Any) -> Any:
        return next((theirs for theirs in gather_object([mine]) if theirs is not None), None)

    def _say(self, message: str) -> None:
        if self._accelerator.is_main_process:
            print(f"\nadhere: {message}", file=sys.stderr, flush=True)


def random_state() -> Restore:
    """Return a function that puts the generators of Python, numpy and torch back to where they are now."""
    python, arrays, cpu = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore() -> None:
        random.setstate(python)
        numpy.random.set_state(arrays)
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)

    return restore
