"""A pool of killable processes, each of which works on one job at a time under a hard deadline.

Code that meets hostile text may never return, and no signal or thread stops C code for certain. So it runs in processes
of its own, which are killed with their process group at the deadline. They are fresh interpreters: they inherit neither
the threads nor the memory of a trainer, and never import its script. They end when the pool closes or its process dies.

A frame is four bytes of length and four of a sequence number (both big endian), then the body. Jobs arrive as frames on
standard input; replies leave as frames on standard output, JSON under the number of their job, so that what comes late
is never read as the answer to the next job. What a worker has to do before its first job of a kind (import a module,
close a sandbox) it reports as ``{"ready": ...}`` under the number 0, ahead of the reply; the job's time starts there.

Time is that of the wall, or that of the worker's processor (``clock``). The latter does not run while the machine is
busy with something else; a worker that neither computes nor waits for the machine is given up after ``IDLE_SECONDS``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_SECONDS = 60.0
"""Seconds to start an interpreter and import what a job needs."""

IDLE_SECONDS = 60.0
"""Seconds of wall time that a worker on the processor's clock may neither compute nor wait for the machine."""

Clock = Literal["wall", "cpu"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PoolTask:
    """One ``frame`` for a worker, to be answered in ``seconds``; ``key`` is what the caller knows it by.

    An empty frame is not sent: its answer is what the worker reports with ``ready``. A ``fresh`` job gets a process
    that has seen no other one.
    """

    key: Any
    frame: bytes
    seconds: float
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that got no reply: its time was up (``late``), or its worker ended with ``status`` or broke the protocol.

    ``ready`` says that the worker had reported so, ``spent`` that it has used up its processor time: on the processor's
    clock a job that is late without having spent that hangs without computing.
    """

    late: bool
    status: int
    ready: bool
    spent: bool = False


Settle = Callable[[PoolTask, Any, float], None]
"""Takes a job, the JSON value of its reply or :class:`Lost`, and the seconds since its deadline started."""


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    stdin: int
    stdout: int
    ready: dict[str, Any] = field(default_factory=dict)
    job: PoolTask | None = None
    number: int = 0
    began: float = 0.0
    expires: float = 0.0
    start_used: float | None = None
    used: float = 0.0
    active: float = 0.0
    outbox: memoryview = field(default_factory=lambda: memoryview(b""))
    inbox: bytearray = field(default_factory=bytearray)

    def assign(self, job: PoolTask, seconds: float) -> None:
        """Begin ``job``, for which there are ``seconds`` until the next look at the clock."""
        self.job, self.number = job, self.number + 1
        head = len(job.frame).to_bytes(4, "big") + self.number.to_bytes(4, "big")
        self.outbox = memoryview(head + job.frame if job.frame else b"")
        self.wind(time.monotonic(), seconds)

    def wind(self, now: float, seconds: float) -> None:
        """Start the clock of the current job."""
        self.began = self.active = now
        self.expires, self.start_used = now + seconds, None

    def read(self, max_reply: int) -> list[tuple[int, Any]] | None:
        """Return the complete replies with their numbers; ``None`` after the worker's end, or what is not a reply."""
        data = os.read(self.stdout, 2**16)
        self.inbox += data
        replies = []
        while len(self.inbox) >= 8:
            size, number = int.from_bytes(self.inbox[:4], "big"), int.from_bytes(self.inbox[4:8], "big")
            if not 0 < size <= max_reply:
                return None
            if len(self.inbox) < 8 + size:
                break
            try:
                replies.append((number, json.loads(self.inbox[8 : 8 + size])))
            except (ValueError, RecursionError):
                return None
            del self.inbox[: 8 + size]
        return replies if data else None

    def late(self, now: float, seconds: float, clock: Clock) -> Literal["spent", "idle"] | None:
        """Return why the job's time is up, ``None`` where the processor's clock says that it is not.

        Args:
            now: the time, as of ``time.monotonic``.
            seconds: how long the job may take.
            clock: which seconds these are.
        """
        if clock == "wall":
            return "idle"
        used, waits = _processor_time(self.process.pid)
        if self.start_used is None:
            self.start_used = used
        if used > self.used or waits:
            self.active = now
        self.used, self.expires = used, now + 1.0
        if used - self.start_used > seconds:
            return "spent"
        return "idle" if now - self.active >= IDLE_SECONDS else None

    def kill(self) -> int:
        """End the process and everything in its group at once; return its exit status."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


class Pool:
    """At most ``workers`` processes, started as jobs need them.

    Threads may share a pool: their batches run one after the other. A forked child gets workers of its own.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        environment: Callable[[], dict[str, str]],
        *,
        cwd: str | None = None,
        stderr: int | None = None,
        max_reply: int = 2**26,
        start_seconds: float = START_SECONDS,
        start_clock: Clock = "cpu",
        clock: Clock = "wall",
    ) -> None:
        """Start nothing yet.

        Args:
            command: program and arguments of a worker.
            workers: the most processes at once, at least 1.
            environment: called at each start; the whole environment of the worker.
            cwd: folder that a worker starts in; ``None`` is the caller's.
            stderr: where a worker's error output goes, as :class:`subprocess.Popen` takes it.
            max_reply: bytes of the longest reply; a worker that announces a longer one is killed.
            start_seconds: from the start of a worker until it is ready.
            start_clock: which seconds these are.
            clock: which seconds those of a job are. On the processor's clock a worker has to end itself by ``SIGPROF``
                when it has used them up (``setitimer(ITIMER_PROF)``); the pool does so a moment later.
        """
        self.workers = workers
        self._command, self._environment, self._cwd, self._stderr = list(command), environment, cwd, stderr
        self._max_reply, self._start_seconds = max_reply, start_seconds
        self._start_clock: Clock = start_clock
        self._clock: Clock = clock
        self._pool: list[_Worker] = []
        self._pid = os.getpid()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers. The pool may be used again: it starts new ones."""
        with self._lock:
            if self._pid == os.getpid():
                for worker in list(self._pool):
                    self._discard(worker)
        atexit.unregister(self._kill)

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that have been started."""
        return [worker.process.pid for worker in self._pool]

    def exchange(self, jobs: Iterable[PoolTask], settle: Settle, need: str = "") -> None:
        """Have every job answered; call ``settle`` once for each, in the order in which they end.

        Args:
            jobs: what is asked; read one by one as workers become free.
            settle: see :data:`Settle`. What it raises ends the exchange, and the workers that are busy.
            need: what a worker reports ``ready`` for, once, before it answers jobs of this kind.
        """
        left = iter(jobs)
        with self._lock:
            if self._pid != os.getpid():
                self._pool, self._pid = [], os.getpid()
            try:
                while True:
                    while (worker := self._idle()) is not None or len(self._pool) < self.workers:
                        job = next(left, None)
                        if job is None:
                            break
                        if worker is not None and job.fresh and worker.number:
                            self._discard(worker)
                            worker = None
                        worker = worker or self._start()
                        if not job.frame and need in worker.ready:
                            settle(job, worker.ready[need], 0.0)
                            continue
                        worker.assign(job, job.seconds if need in worker.ready else self._start_seconds)
                    busy = [worker for worker in self._pool if worker.job is not None]
                    if not busy:
                        return
                    self._serve(busy, settle, need)
            finally:
                for worker in [worker for worker in self._pool if worker.job is not None]:
                    self._discard(worker)

    def _idle(self) -> _Worker | None:
        for worker in [worker for worker in self._pool if worker.job is None]:
            if worker.process.poll() is None:
                return worker
            self._discard(worker)
        return None

    def _serve(self, busy: Sequence[_Worker], settle: Settle, need: str) -> None:
        """Wait until a worker can be read from or written to, or is late, and do so."""
        with selectors.PollSelector() as selector:
            for worker in busy:
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
                if worker.outbox:
                    selector.register(worker.stdin, selectors.EVENT_WRITE, worker)
            events = selector.select(max(0.0, min(worker.expires for worker in busy) - time.monotonic()))
        now = time.monotonic()
        for key, event in events:
            worker, job = key.data, key.data.job
            if job is None:
                continue
            if event & selectors.EVENT_WRITE:
                try:
                    worker.outbox = worker.outbox[os.write(key.fd, worker.outbox) :]
                except BrokenPipeError:  # the worker has just died: reading meets its end
                    worker.outbox = memoryview(b"")
                continue
            replies = worker.read(self._max_reply)
            if replies is None:
                # A process that ends closes its pipes a moment before it can be waited for.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(0.2)
                status, ready = self._discard(worker), need in worker.ready
                spent = ready and self._clock == "cpu" and status == -signal.SIGPROF
                settle(job, Lost(spent, status, ready, spent), now - worker.began)
                continue
            answers = [reply for number, reply in replies if number == worker.number]
            notices = [reply for number, reply in replies if number == 0 and isinstance(reply, dict)]
            if need not in worker.ready and (notice := next((n for n in notices if "ready" in n), None)) is not None:
                worker.ready[need] = notice["ready"]
                worker.wind(now, job.seconds)
                if not job.frame:
                    answers = [worker.ready[need]]
            if answers:
                worker.job = None
                settle(job, answers[0], now - worker.began)
        # What came before this moment was read above, so a reply that waits in the pipe is never late.
        for worker in busy:
            if worker.job is not None and worker.expires <= now:
                job, ready = worker.job, need in worker.ready
                seconds, clock = (job.seconds, self._clock) if ready else (self._start_seconds, self._start_clock)
                if not ready and clock == "cpu" and worker.start_used is None:
                    _log.warning("a worker is not ready after %g s: the machine is busy; waiting for it", seconds)
                why = worker.late(now, seconds, clock)
                if why is not None:
                    settle(job, Lost(True, self._discard(worker), ready, why == "spent"), now - worker.began)

    def _start(self) -> _Worker:
        atexit.unregister(self._kill)
        atexit.register(self._kill)
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=self._environment(),
            cwd=self._cwd,
            start_new_session=True,
            bufsize=0,
        )
        assert process.stdin is not None and process.stdout is not None
        worker = _Worker(process, process.stdin.fileno(), process.stdout.fileno())
        os.set_blocking(worker.stdin, False)
        self._pool.append(worker)
        return worker

    def _discard(self, worker: _Worker) -> int:
        self._pool.remove(worker)
        worker.job = None
        status = worker.kill()
        for stream in (worker.process.stdin, worker.process.stdout):
            if stream is not None:
                stream.close()
        return status

    def _kill(self) -> None:
        # Takes no lock: at the exit of the process a daemon thread may hold it in the middle of a batch.
        if self._pid == os.getpid():
            for worker in list(self._pool):
                worker.kill()


def _processor_time(session: int) -> tuple[float, bool]:
    """Return the seconds of processor time of the processes of ``session``, and whether one waits for the machine.

    That is one that could run, waits for a disk, or was stopped from outside.
    """
    ticks, waits = 0, False
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == session:
                    ticks += sum(int(field) for field in fields[11:15])
                    waits = waits or fields[0] in "RDTt"
    return ticks / os.sysconf("SC_CLK_TCK"), waits


def watch_parent(parent: int) -> None:
    """End this process, a worker, and its group soon after ``parent`` has died; run in a thread of its own."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)


def environment(hidden: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the environment of a worker that finds modules as this process does.

    Variables that begin with one of ``hidden`` are left out. So is the empty entry of ``sys.path``: it is the working
    folder, whose files must not shadow modules.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)}


def cpu_share() -> int:
    """Return how many workers a process may keep busy.

    It is the CPUs that this process may use, divided among the ranks of the node (``LOCAL_WORLD_SIZE``, set by torchrun
    and accelerate), at least one and at most eight.
    """
    return min(max(len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1), 8)


def per_process(make: Callable[[*Ts], T]) -> Callable[[*Ts], T]:
    """Return ``make``, which keeps what it made, by its arguments; threads share it, a forked child starts afresh."""
    made: dict[tuple[*Ts], T] = {}
    lock = threading.Lock()

    def forget() -> None:
        # A lock that another thread held at the fork would never be released in the child.
        nonlocal lock
        lock = threading.Lock()
        made.clear()

    @functools.wraps(make)
    def kept(*arguments: *Ts) -> T:
        with lock:
            if arguments not in made:
                made[arguments] = make(*arguments)
            return made[arguments]

    os.register_at_fork(after_in_child=forget)
    return kept
