"""A user's Python function in a process of its own, which is killed when it takes too long and started again.

The process may import torch and has no limit of memory. It is a fresh interpreter that finds our modules as this one
does, searches the working folder last, and ends with this process.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import plugin_modules
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

LOAD_SECONDS = 900.0
"""For importing the function's module, or for making its object: a model may have to be downloaded first."""

HIDDEN = ("ACCELERATE_", "MASTER_", "TORCHELASTIC_")
"""Beginnings of variables that would make the process take part in the training's own communication."""


class BatchLost(Exception):
    """A batch without any result: ``status`` is ``timeout`` or ``error``."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class FunctionProcess:
    """Calls a function with batches of rollouts, each for at most ``timeout`` seconds of wall time.

    Threads may share one. A forked child starts a process of its own.

    Args:
        function: ``package.module:name``; a class is made into an object once, with ``params``.
        params: keyword arguments after the rollouts, or of the class; JSON values.
        key: dotted key of the component, with which messages begin.
        timeout: seconds for a batch.
        blame: the key below ``key`` that messages on a function without parameters of the user's name.
    """

    def __init__(
        self, function: str, params: Mapping[str, Any], *, key: str, timeout: float, blame: str = "function"
    ) -> None:
        self.function, self.key, self.timeout, self.blame = function, key, timeout, blame
        self.proven = False
        """Whether a batch has come back whole; until then faults of the function are errors of the recipe."""
        self._params = dict(params)
        self._process: subprocess.Popen[bytes] | None = None
        self._pid, self._batch = -1, 0
        self._lock = threading.Lock()

    def call(self, rollouts: Sequence[Rollout]) -> list[Any]:
        """Return one row for each rollout, in order, as :mod:`adhere.rewards.process_child` writes it.

        Raises:
            ConfigError: the function cannot be loaded; or, before the first whole batch, its result is not one value
                for each rollout.
            BatchLost: it took too long, or ended its process, or later returns something else than one value each.
        """
        with self._lock:
            if self._process is None or self._pid != os.getpid() or self._process.poll() is not None:
                self._start(check=False)
            reply = self._ask({"rollouts": [rollout.to_dict() for rollout in rollouts]}, self.timeout)
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
        with self._lock:
            self._start(check=True)
        self.close()

    def close(self) -> None:
        """End the process; the next batch starts it again."""
        with self._lock:
            self._kill()

    def _start(self, *, check: bool) -> None:
        self._kill()
        ours, theirs = Pipe()
        paths = [str(Path(entry).resolve()) for entry in sys.path if entry]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        self._process = subprocess.Popen(
            # -P: the working folder must not shadow modules of ours or of a library.
            [sys.executable, "-P", "-m", "adhere.rewards.process_child", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,  # what the function prints belongs to the log
            env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        theirs.close()
        self._pipe, self._pid = ours, os.getpid()
        atexit.register(self._kill)
        request = {"load": self.function, "params": self._params, "plugins": plugin_modules(), "check": check}
        try:
            reply = self._ask(request, LOAD_SECONDS)
        except BatchLost as lost:
            raise ConfigError(f"{self.key}.{self.blame}: {self.function} cannot be loaded: {lost.detail}") from lost
        if "problem" in reply:
            self._kill()
            blamed = self.blame if reply["key"] == "function" else reply["key"]
            raise ConfigError(f"{self.key}.{blamed}: {reply['problem']}")

    def _ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and return its reply; whatever goes wrong ends the process."""
        process, pipe = self._process, self._pipe
        assert process is not None
        self._batch += 1
        expires = time.monotonic() + seconds
        # The timer also ends a read or a write that the process leaves half done.
        timer = threading.Timer(seconds, _end, [process])
        timer.start()
        try:
            pipe.send_bytes(json.dumps(request | {"batch": self._batch}).encode())
            while time.monotonic() < expires:
                ended = process.poll() is not None  # before the look at the pipe: its last words count
                if pipe.poll(0.0 if ended else min(0.2, max(0.0, expires - time.monotonic()))):
                    reply: dict[str, Any] = json.loads(pipe.recv_bytes())
                    if reply["batch"] == self._batch:
                        return reply
                elif ended:
                    raise EOFError
        except (EOFError, OSError, ValueError):
            pass  # it has ended, or written what is not a reply
        finally:
            timer.cancel()
        late = time.monotonic() >= expires
        status = None if late else _wait(process)
        self._kill()
        if late:
            raise BatchLost(Status.TIMEOUT, f"took longer than {seconds:g} s ({self.key}.timeout)")
        raise BatchLost(Status.ERROR, f"{self.function} ended its process (status {status})")

    def _kill(self) -> None:
        if self._process is not None and self._pid == os.getpid():
            _end(self._process)
            self._process.wait()
            self._pipe.close()
        self._process = None
        atexit.unregister(self._kill)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, and what it has started in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        return None  # it has closed its end, and lives on


@lru_cache(maxsize=64)
def _checked(function: str, params: str, key: str, folder: str) -> str | None:
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
    if (problem := _checked(function, written, key, str(Path.cwd()))) is not None:
        raise ConfigError(problem)
