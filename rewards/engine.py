"""A pool of killable worker processes: run a check on many items, each under a hard deadline.

A check that meets hostile text (``9^{9^{9^9}}``, 10^5 nested brackets) may never return, and no signal or
thread stops C code for certain. So checks run in separate processes, which are killed and replaced at the
deadline. Workers are fresh interpreters: they inherit neither the threads nor the memory of a trainer and
never import its script. They end when the engine closes or its process dies.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any

from adhere.rewards.engine_worker import decode_verdict
from adhere.rewards.errors import AdhereError
from adhere.rewards.verdict import Status, Verdict, unscored

_LOAD_SECONDS = 60.0  # to start an interpreter and import a task's module, on a busy machine
_REPEATABLE = (Status.OK, Status.UNPARSED, Status.NOT_APPLICABLE)


class EngineError(AdhereError, RuntimeError):
    """A task that no worker can load: its name is wrong, or its module cannot be imported."""

    exit_code = 1


@dataclass(slots=True)
class EngineStats:
    """What an engine has done since it was made; ``seconds`` is the wall time spent in :meth:`Engine.map`."""

    items: int = 0
    cache_hits: int = 0
    timeouts: int = 0
    errors: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Job:
    key: bytes
    args: str
    places: list[int]


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    loaded: set[str] = field(default_factory=set)
    job: _Job | None = None
    expires: float = 0.0

    def kill(self) -> int:
        """End the process at once and return its exit status."""
        self.pipe.close()
        self.process.kill()
        return self.process.wait()


class Engine:
    """Run tasks in ``workers`` processes, an item for at most ``deadline`` seconds and ``memory_mb`` MiB.

    Processes start when the first item needs them. Equal items of a batch run once; verdicts that would come
    out the same again are kept for ``cache_size`` items (least recently used first out). Threads may share an
    engine: their batches run one after the other. A forked child gets workers of its own.
    """

    def __init__(
        self, workers: int = 1, deadline: float = 5.0, memory_mb: int = 1024, *, cache_size: int = 65_536
    ) -> None:
        if workers < 1 or deadline <= 0 or memory_mb < 1:
            raise ValueError(
                f"an engine needs workers, deadline and memory_mb > 0, got {workers}, {deadline}, {memory_mb}"
            )
        self.workers, self.deadline, self.memory_mb = workers, deadline, memory_mb
        self.stats = EngineStats()
        self._cache: OrderedDict[bytes, Verdict] = OrderedDict()
        self._cache_size = cache_size
        self._pool: list[_Worker] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers. The engine may be used again: it starts new ones."""
        with self._lock:
            self._kill()
            self._pool.clear()
        atexit.unregister(self._kill)

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that have been started."""
        return [worker.process.pid for worker in self._pool]

    def _kill(self) -> None:
        # Takes no lock: at the exit of the process a daemon thread may hold it in the middle of a batch.
        if self._pid == os.getpid():
            for worker in self._pool:
                worker.kill()

    def map(
        self,
        task: str | Callable[..., Verdict],
        items: Sequence[tuple[Any, ...]],
        *,
        deadline: float | None = None,
    ) -> list[Verdict]:
        """Return the verdict of ``task(*item)`` for each item, in order.

        Args:
            task: ``"package.module:function"``, or a function that can be imported by its name.
            items: the arguments, as JSON values (tuples inside arrive as lists).
            deadline: seconds for one item, where it differs from the engine's.

        An item that runs into the deadline gets ``timeout``, one that raises or ends its worker ``error``.

        Raises:
            EngineError: workers cannot import the task.
            ValueError: the task is a lambda, a local function or lives in ``__main__``.
        """
        name = task if isinstance(task, str) else _importable_name(task)
        start = time.perf_counter()
        with self._lock:
            verdicts: list[Verdict | None] = [None] * len(items)
            jobs = self._collect(name, items, verdicts)
            try:
                self._work(name, jobs, verdicts, self.deadline if deadline is None else deadline)
            finally:
                for worker in [worker for worker in self._pool if worker.job is not None]:
                    self._discard(worker)
            self.stats.items += len(items)
            self.stats.seconds += time.perf_counter() - start
        return [verdict for verdict in verdicts if verdict is not None]

    def _collect(self, name: str, items: Sequence[tuple[Any, ...]], verdicts: list[Verdict | None]) -> deque[_Job]:
        """Fill in what the cache knows; return one job for each distinct item that is left."""
        jobs: dict[bytes, _Job] = {}
        for place, item in enumerate(items):
            args = json.dumps(item, sort_keys=True)
            key = hashlib.blake2b(f"{name}\0{args}".encode(), digest_size=16).digest()
            if key in self._cache:
                self._cache.move_to_end(key)
                verdicts[place] = self._cache[key]
                self.stats.cache_hits += 1
            elif key in jobs:
                jobs[key].places.append(place)
                self.stats.cache_hits += 1
            else:
                jobs[key] = _Job(key, args, [place])
        return deque(jobs.values())

    def _work(self, name: str, jobs: deque[_Job], verdicts: list[Verdict | None], deadline: float) -> None:
        if self._pid != os.getpid():
            self._pool, self._pid = [], os.getpid()
        while len(self._pool) < min(self.workers, len(jobs)):
            self._pool.append(self._start())
        for worker in [worker for worker in self._pool if worker.process.poll() is not None]:
            self._replace(worker)  # killed from outside while it was idle
        while jobs or any(worker.job for worker in self._pool):
            for worker in self._pool:
                if worker.job is None and jobs:
                    self._send(worker, name, jobs.popleft(), deadline)
            busy = {worker.pipe: worker for worker in self._pool if worker.job is not None}
            first = min(worker.expires for worker in busy.values())
            for pipe in wait(list(busy), max(0.0, first - time.monotonic())):
                assert isinstance(pipe, Connection)
                self._receive(busy.pop(pipe), name, verdicts, deadline)
            for worker in busy.values():
                if worker.expires <= time.monotonic():
                    self._expire(worker, name, verdicts, deadline)

    def _send(self, worker: _Worker, name: str, job: _Job, deadline: float) -> None:
        worker.job = job
        worker.expires = time.monotonic() + (deadline if name in worker.loaded else _LOAD_SECONDS)
        frame = f"[{json.dumps(name)}, {deadline}, {job.args}]".encode()
        # A worker that has just died cannot take it; the read that follows meets its end, and reports it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send_bytes(frame)

    def _receive(self, worker: _Worker, name: str, verdicts: list[Verdict | None], deadline: float) -> None:
        try:
            reply = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            status = worker.process.wait()
            if name not in worker.loaded:
                raise EngineError(
                    f"task '{name}': its worker ended with status {status} before the task was loaded; "
                    f"import its module by hand, and look at memory_mb={self.memory_mb}"
                ) from None
            self._finish(worker, verdicts, unscored(Status.ERROR, f"the worker died (status {status})"))
            self._replace(worker)
            return
        if isinstance(reply, list):
            self._finish(worker, verdicts, decode_verdict(reply))
        elif "load_error" in reply:
            raise EngineError(f"task '{name}' cannot be loaded in a worker: {reply['load_error']}")
        else:
            worker.loaded.add(name)
            worker.expires = time.monotonic() + deadline

    def _expire(self, worker: _Worker, name: str, verdicts: list[Verdict | None], deadline: float) -> None:
        if name not in worker.loaded:
            raise EngineError(f"task '{name}' took over {_LOAD_SECONDS:g} s to load; is the machine overloaded?")
        self._finish(worker, verdicts, unscored(Status.TIMEOUT, f"took longer than {deadline:g} s", deadline))
        self._replace(worker)

    def _finish(self, worker: _Worker, verdicts: list[Verdict | None], verdict: Verdict) -> None:
        job, worker.job = worker.job, None
        assert job is not None
        for place in job.places:
            verdicts[place] = verdict
        self.stats.timeouts += verdict.status is Status.TIMEOUT
        self.stats.errors += verdict.status is Status.ERROR
        if verdict.status in _REPEATABLE:
            self._cache[job.key] = verdict
            if len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def _start(self) -> _Worker:
        if not self._pool:
            atexit.register(self._kill)
        ours, theirs = Pipe()
        paths = [str(Path(entry).resolve()) for entry in sys.path]
        # -P: the folder in which the trainer was started must not shadow modules of the worker.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "adhere.rewards.engine_worker", str(theirs.fileno()), str(self.memory_mb)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        return _Worker(process, ours)

    def _discard(self, worker: _Worker) -> None:
        worker.kill()
        self._pool.remove(worker)

    def _replace(self, worker: _Worker) -> None:
        self._discard(worker)
        self._pool.append(self._start())


def _importable_name(task: Callable[..., Verdict]) -> str:
    name = f"{task.__module__}:{task.__qualname__}"
    if task.__module__ == "__main__" or not task.__qualname__.isidentifier():
        raise ValueError(f"task {name} cannot be imported by a worker; move it to the top level of a module")
    return name


_shared: Engine | None = None
_shared_lock = threading.Lock()


def default_engine() -> Engine:
    """Return the engine that this process shares.

    It has one worker for each CPU that this process may use, divided among the ranks of the node
    (``LOCAL_WORLD_SIZE``, set by torchrun and accelerate), at least one and at most eight.
    """
    global _shared
    with _shared_lock:
        if _shared is None:
            cpus = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            _shared = Engine(workers=min(max(cpus, 1), 8))
        return _shared


def _forget_shared() -> None:
    # A lock that another thread held at the fork would never be released in the child.
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_shared)
