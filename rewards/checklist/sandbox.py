"""Runs generated verifier programs in processes that are shut off from network, files, other processes and secrets.

RLCF (arXiv 2507.18624) lets a model write ``verify_requirement(text) -> bool`` where a rule can decide a requirement.
Nobody has read that code, so it never runs in this process. ``sandbox_child`` holds the process side.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from adhere.rewards.checklist.check_tree import ProgramCall
from adhere.rewards.errors import AdhereError
from adhere.rewards.verdict import Status, Verdict, unscored

Layer = Literal["namespaces", "seccomp"]

STRIKES = 3
"""After so many time-outs in one batch a program is not run on the batch's other texts: they time out as well."""

_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_MAX_FRAME = 2**20
_CHILD = Path(__file__).with_name("sandbox_child.py")
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH",)  # without it some clusters' interpreters do not start


class SandboxError(AdhereError, RuntimeError):
    """The sandbox's process does not start."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a program may use for one text.

    ``timeout`` is in seconds of wall time, ``memory_mb`` in MiB of address space, its interpreter included.
    ``allow_unisolated`` runs programs where this machine can keep them neither from the network nor from files:
    only for programs that you have read.
    """

    timeout: float = 2.0
    memory_mb: int = 256
    allow_unisolated: bool = False

    def __post_init__(self) -> None:
        if self.timeout <= 0 or self.memory_mb < 64:
            raise ValueError(
                f"a sandbox needs timeout > 0 and memory_mb >= 64, got {self.timeout} and {self.memory_mb}"
            )


class Sandbox:
    """Runs programs in ``workers`` isolated processes; each (program, text) pair in a fork of its own.

    Two layers of isolation are tried, and either is enough: new user, network, mount, PID and IPC namespaces with an
    empty read-only root; and a filter that refuses every system call but those for computing in memory. Each is tested
    by attempts to escape before a program runs. Where neither holds every verdict is ``error`` and says why, unless
    ``limits.allow_unisolated``. ``layers`` names the ones to try.

    The processes start at the first call, and end with :meth:`close` or with this process. Threads may share a sandbox.
    A forked child gets processes of its own.
    """

    def __init__(
        self,
        limits: SandboxLimits | None = None,
        workers: int = 1,
        layers: Sequence[Layer] = get_args(Layer),
    ) -> None:
        if workers < 1:
            raise ValueError(f"a sandbox needs workers > 0, got {workers}")
        self.limits = limits or SandboxLimits()
        self.workers = workers
        self._layers = ",".join(layers)
        self._pool: list[_Process] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes. The sandbox may be used again: it starts new ones."""
        with self._lock:
            self._end()
        atexit.unregister(self._end)

    def run(self, calls: Sequence[ProgramCall]) -> list[Verdict]:
        """Return 1.0 or 0.0 for each program that returned True or False of its text, in order.

        Anything else a program does has no score: ``timeout`` at the wall clock, else ``error``. Equal calls run once.

        Raises:
            SandboxError: the interpreter of the sandbox does not start.
        """
        jobs = deque(dict.fromkeys(calls))
        verdicts: dict[ProgramCall, Verdict] = {}
        strikes: Counter[str] = Counter()
        with self._lock:
            pool = self._ready(min(self.workers, len(jobs)))

            def serve(process: _Process) -> None:
                while jobs:
                    try:
                        call = jobs.popleft()
                    except IndexError:
                        return
                    verdicts[call] = self._one(process, call, strikes)

            if len(pool) <= 1:
                for process in pool:
                    serve(process)
            else:
                with ThreadPoolExecutor(len(pool)) as threads:
                    list(threads.map(serve, pool))
        return [verdicts[call] for call in calls]

    def isolation(self) -> dict[str, str]:
        """Return, for each layer, an empty text where it holds, else why it does not."""
        with self._lock:
            return dict(self._ready(1)[0].state)

    def _one(self, process: _Process, call: ProgramCall, strikes: Counter[str]) -> Verdict:
        refused = process.refused(self.limits)
        if refused:
            return unscored(Status.ERROR, refused)
        if strikes[call.code] >= STRIKES:
            return unscored(Status.TIMEOUT, f"not run: the program timed out on {STRIKES} texts of this batch")
        started = time.perf_counter()
        reply = process.ask(call, self.limits)
        seconds = time.perf_counter() - started
        match reply.get("verdict"):
            case True:
                return Verdict(1.0, detail="the program says yes", seconds=seconds)
            case False:
                return Verdict(0.0, detail="the program says no", seconds=seconds)
            case "timeout":
                strikes[call.code] += 1
                return unscored(Status.TIMEOUT, str(reply["detail"]), seconds)
            case _:
                return unscored(Status.ERROR, f"program: {reply['detail']}", seconds)

    def _ready(self, count: int) -> list[_Process]:
        if self._pid != os.getpid():
            self._pool, self._pid = [], os.getpid()
        if count and not self._pool:
            atexit.register(self._end)
        while len(self._pool) < count:
            self._pool.append(_Process(self._layers, self.limits.allow_unisolated))
        return self._pool[:count]

    def _end(self) -> None:
        # Takes no lock: at the exit of the process a daemon thread may hold it in the middle of a batch.
        if self._pid == os.getpid():
            for process in self._pool:
                process.kill()
            self._pool = []


class _Process:
    """One ``sandbox_child``; killed with its whole process group, and started again, when it does not answer."""

    def __init__(self, layers: str, unisolated: bool) -> None:
        self._arguments = [layers, "1" if unisolated else "0"]
        self._start()

    def _start(self) -> None:
        # -I -S: no environment, no site packages, and no import from the current folder.
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        state = self._receive(_START_SECONDS)
        if state is None:
            self.kill()
            raise SandboxError(
                f"the program sandbox ended before it was ready (status {self._popen.returncode}); "
                f"run `{sys.executable} -I -S {_CHILD} namespaces,seccomp 0` by hand to see why"
            )
        self.state: dict[str, str] = state

    def refused(self, limits: SandboxLimits) -> str:
        """Return why programs may not run here, or an empty text."""
        if not all(self.state.values()) or limits.allow_unisolated:
            return ""
        reasons = "; ".join(f"{layer}: {reason}" for layer, reason in self.state.items())
        return (
            f"programs cannot be isolated on this machine ({reasons}); allow user namespaces or seccomp, "
            f"or set programs.allow_unisolated for programs that you have read"
        )

    def ask(self, call: ProgramCall, limits: SandboxLimits) -> dict[str, Any]:
        """Return the reply to one call; a process that gives none in time is killed and replaced."""
        job = {"code": call.code, "text": call.text, "timeout": limits.timeout, "memory_mb": limits.memory_mb}
        body = json.dumps(job).encode()
        deadline = time.monotonic() + limits.timeout + _GRACE_SECONDS
        sent = self._write(struct.pack("!I", len(body)) + body, deadline)
        reply = self._receive(deadline - time.monotonic()) if sent else None
        if reply is not None:
            return reply
        late = time.monotonic() >= deadline
        self.kill()
        what = "did not answer in time" if late else f"ended with status {self._popen.returncode}"
        self._start()
        return {"verdict": "timeout" if late else "error", "detail": f"the sandbox {what}"}

    def kill(self) -> None:
        """End the process and everything in its group at once."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()

    def _write(self, data: bytes, deadline: float) -> bool:
        assert self._popen.stdin is not None
        descriptor = self._popen.stdin.fileno()
        os.set_blocking(descriptor, False)
        view = memoryview(data)
        while view:
            if not select.select([], [descriptor], [], max(0.0, deadline - time.monotonic()))[1]:
                return False
            try:
                view = view[os.write(descriptor, view) :]
            except BrokenPipeError:
                return False
        return True

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + seconds
        head = self._exactly(4, deadline)
        size = struct.unpack("!I", head)[0] if head else 0
        body = self._exactly(size, deadline) if 0 < size <= _MAX_FRAME else b""
        reply: dict[str, Any] | None = json.loads(body) if body else None
        return reply

    def _exactly(self, size: int, deadline: float) -> bytes:
        assert self._popen.stdout is not None
        descriptor, data = self._popen.stdout.fileno(), b""
        while len(data) < size:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return b""
            more = os.read(descriptor, size - len(data))
            if not more:
                return b""
            data += more
        return data


_shared: dict[SandboxLimits, Sandbox] = {}
_shared_lock = threading.Lock()


def shared_sandbox(limits: SandboxLimits | None = None) -> Sandbox:
    """Return this process's sandbox for ``limits``.

    Its workers are as many as the CPUs that this process may use, divided among the ranks of the node
    (``LOCAL_WORLD_SIZE``), at least one and at most eight.
    """
    with _shared_lock:
        wanted = limits or SandboxLimits()
        if wanted not in _shared:
            cpus = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            _shared[wanted] = Sandbox(wanted, workers=min(max(cpus, 1), 8))
        return _shared[wanted]


def _forget_shared() -> None:
    # A lock that another thread held at the fork would never be released in the child.
    global _shared, _shared_lock
    _shared, _shared_lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forget_shared)
