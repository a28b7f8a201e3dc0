"""A user's Python function in a process of its own, which is killed when it takes too long and started again.

The process may import torch and has no limit of memory. It is a fresh interpreter that finds our modules as this one
does, searches the working folder last, and ends with this process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import plugin_modules
from adhere.rewards.pool import Lost, Pool, PoolTask, environment
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

LOAD_SECONDS = 900.0
"""For importing the function's module, or for making its object: a model may have to be downloaded first."""

HIDDEN = ("ACCELERATE_", "MASTER_", "TORCHELASTIC_")
"""Beginnings of variables that would make the process take part in the training's own communication."""


class BatchLost(Exception):
    """A batch without any result; its ``status`` is ``timeout`` or ``error``."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.row = {"late" if status is Status.TIMEOUT else "error": detail}
        """What stands for the result of a rollout."""


class FunctionProcess(Pool):
    """Calls a function with batches of rollouts, each for at most ``timeout`` seconds of wall time.

    Threads may share one. A forked child starts a process of its own.
    """

    def __init__(
        self, function: str, params: Mapping[str, Any], *, key: str, timeout: float, blame: str = "function"
    ) -> None:
        """Start nothing yet.

        Args:
            function: ``package.module:name``; a class is made into an object once, with ``params``.
            params: keyword arguments after the rollouts, or of the class; JSON values.
            key: dotted key of the component, with which messages begin.
            timeout: seconds for a batch, above 0; loading the function does not count.
            blame: the key below ``key`` that messages on a function without parameters of the user's name.
        """
        command = [sys.executable, "-P", "-m", "adhere.rewards.process_child"]
        super().__init__(command, 1, lambda: environment(HIDDEN), start_seconds=LOAD_SECONDS, start_clock="wall")
        self.function, self.key, self.timeout, self.blame = function, key, timeout, blame
        self.proven = False
        """Whether a batch has come back whole; until then faults of the function are errors of the recipe."""
        self._params = dict(params)

    def call_each(self, rollouts: Sequence[Rollout]) -> list[Any]:
        """Return one row for each rollout, in order; ``{"late": reason}`` or ``{"error": reason}`` where it was lost.

        A batch that is lost is called again rollout by rollout, each for its share of ``timeout`` (a second at least)
        and in a fresh process after a loss, so that one which hangs or ends the process costs no other.

        Raises:
            ConfigError: see :meth:`call`.
        """
        try:
            return self.call(rollouts)
        except BatchLost as lost:
            if len(rollouts) == 1:
                return [lost.row]
        return [self.call_one(rollout, self.share(len(rollouts))) for rollout in rollouts]

    def share(self, rollouts: int) -> float:
        """Return the seconds that one rollout of a batch gets by itself."""
        return max(1.0, self.timeout / rollouts)

    def call_one(self, rollout: Rollout, seconds: float) -> Any:
        """Return the row of one rollout, for which there are ``seconds``."""
        try:
            return self.call([rollout], seconds)[0]
        except BatchLost as lost:
            return lost.row

    def call(self, rollouts: Sequence[Rollout], seconds: float | None = None) -> list[Any]:
        """Return one row for each rollout, in order, as :mod:`adhere.rewards.process_child` writes it.

        ``seconds`` is how long the call may take, where it differs from ``timeout``.

        Raises:
            ConfigError: the function cannot be loaded; or, before the first whole batch, its result is not one value
                for each rollout.
            BatchLost: it took too long, or ended its process, or later returns something else than one value each.
        """
        reply = self._ask({"rollouts": [rollout.to_dict() for rollout in rollouts]}, seconds)
        if "wrong" in reply:
            if not self.proven:
                raise ConfigError(f"{self.key}.{self.blame}: {self.function} {reply['wrong']}")
            raise BatchLost(Status.ERROR, f"{self.key}.{self.blame}: {reply['wrong']}")
        rows: list[Any] = reply["rows"]
        return rows

    def check(self) -> None:
        """Load the function, see that it can be called with the parameters, and end the process.

        Raises:
            ConfigError: it cannot; names the key.
        """
        self._ask({"check": True})
        self.close()

    def _ask(self, request: Mapping[str, Any], seconds: float | None = None) -> Any:
        """Return the reply to a request, which also says what to load where the process has just been started."""
        load = {"load": self.function, "params": self._params, "plugins": plugin_modules(), "check": False}
        replies: list[Any] = []
        job = PoolTask(None, json.dumps(load | dict(request)).encode(), seconds or self.timeout)
        self.exchange([job], lambda job, reply, seconds: replies.append(reply), self.function)
        match replies[0]:
            case {"key": key, "problem": problem}:
                self.close()
                raise ConfigError(f"{self.key}.{self.blame if key == 'function' else key}: {problem}")
            case Lost(late=late, ready=False, status=status):
                why = f"took longer than {LOAD_SECONDS:g} s" if late else self._ended(status)
                raise ConfigError(f"{self.key}.{self.blame}: {self.function} cannot be loaded: {why}")
            case Lost(late=True):
                raise BatchLost(Status.TIMEOUT, f"took longer than {job.seconds:g} s ({self.key}.timeout)")
            case Lost(status=status):
                raise BatchLost(Status.ERROR, self._ended(status))
        return replies[0]

    def _ended(self, status: int) -> str:
        return f"{self.function} ended its process (status {status})"


@lru_cache(maxsize=64)
def _problem(function: str, params: str, key: str, folder: str) -> str | None:
    """Return why a function cannot be used, as it is found from the working ``folder``; kept for later questions."""
    try:
        FunctionProcess(function, json.loads(params), key=key, timeout=LOAD_SECONDS).check()
    except ConfigError as error:
        return str(error)
    return None


def check_function(function: str, params: Mapping[str, Any], key: str) -> None:
    """Check in a process of its own that ``function`` can be imported and called with ``params``; once for each.

    Raises:
        ConfigError: it cannot; begins with ``key``.
    """
    try:
        written = json.dumps(dict(params), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}.params: {error}; write numbers, texts, lists and maps") from error
    if (problem := _problem(function, written, key, str(Path.cwd()))) is not None:
        raise ConfigError(problem)
