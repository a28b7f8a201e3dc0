"""The engine: run a check on many items, each in a process of a pool, within a bound of processor time.

A check that meets hostile text (``9^{9^{9^9}}``, 10^5 nested brackets) may never return. An item that does not costs
only itself: its worker is killed, and the item has the status ``timeout``. The bound is in the worker's own processor
time, so a busy machine changes no verdict. A failure that may be the machine's (a worker that died, ran out of memory
or hangs without computing) is not a verdict yet: the item is tried again alone, in a fresh process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adhere.rewards.errors import AdhereError
from adhere.rewards.pool import START_SECONDS, Lost, Pool, PoolTask, cpu_share, environment, per_process
from adhere.rewards.verdict import Status, Verdict, unscored

_REPEATABLE = (Status.OK, Status.UNPARSED, Status.NOT_APPLICABLE)

LOADS = 4
"""Processes that may fail to load a task for a reason of the machine before that is an error."""

OUT_OF_MEMORY = "the worker's memory limit was reached"
IDLE = "machine failure: the worker hung without computing"

_log = logging.getLogger(__name__)


def machine_failed(verdict: Verdict) -> bool:
    """Whether an engine's verdict on an item is not the item's fault."""
    return verdict.status is Status.ERROR and verdict.detail == IDLE


def as_unmet(verdict: Verdict) -> Verdict:
    """Return an engine's verdict on a check of a text, with 0.0 where the text made the check fail.

    It must not earn more than a wrong one; where the machine failed, the verdict stays without a score.
    """
    if verdict.undecided and not machine_failed(verdict):
        return Verdict(0.0, detail=f"not met by this text: the check {verdict.detail}", seconds=verdict.seconds)
    return verdict


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


class Engine(Pool):
    """Run tasks in ``workers`` processes, an item within ``deadline`` seconds of processor time and ``memory_mb`` MiB.

    Equal items of a batch run once; verdicts that would come out the same again are kept for ``cache_size`` items
    (least recently used first out).
    """

    def __init__(
        self, workers: int = 1, deadline: float = 10.0, memory_mb: int = 1024, *, cache_size: int = 65_536
    ) -> None:
        """Start nothing yet.

        Args:
            workers: the most processes at once, at least 1.
            deadline: seconds of the worker's processor time for one item, above 0.
            memory_mb: MiB of address space of one worker, at least 1.
            cache_size: verdicts that are kept.
        """
        if workers < 1 or deadline <= 0 or memory_mb < 1:
            raise ValueError(
                f"an engine needs workers, deadline and memory_mb > 0, got {workers}, {deadline}, {memory_mb}"
            )
        # -P: the folder in which the trainer was started must not shadow modules of the worker.
        command = [sys.executable, "-P", "-m", "adhere.rewards.engine_worker", str(memory_mb)]
        super().__init__(command, workers, lambda: {**environment(), "OMP_NUM_THREADS": "1"}, clock="cpu")
        self.deadline, self.memory_mb = deadline, memory_mb
        self.stats = EngineStats()
        self._cache: OrderedDict[bytes, Verdict] = OrderedDict()
        self._cache_size = cache_size

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
            deadline: seconds of processor time for one item, where it differs from the engine's.

        An item that runs into the deadline gets ``timeout``; one that raises, or that ends its worker also when it is
        alone in a fresh one, ``error``.

        Raises:
            EngineError: workers cannot import the task.
            ValueError: the task is a lambda, a local function or lives in ``__main__``.
        """
        if isinstance(task, str):
            name = task
        else:
            name = f"{task.__module__}:{task.__qualname__}"
            if task.__module__ == "__main__" or not task.__qualname__.isidentifier():
                raise ValueError(f"task {name} cannot be imported by a worker; move it to the top level of a module")
        seconds = self.deadline if deadline is None else deadline
        start = time.perf_counter()
        with self._lock:
            verdicts: list[Verdict | None] = [None] * len(items)
            # One job for each distinct item that the cache does not know: its arguments, and the places that wait.
            asked: dict[bytes, tuple[str, list[int]]] = {}
            for place, item in enumerate(items):
                args = json.dumps(item, sort_keys=True)
                key = hashlib.blake2b(f"{name}\0{args}".encode(), digest_size=16).digest()
                if key in self._cache:
                    self._cache.move_to_end(key)
                    verdicts[place] = self._cache[key]
                    self.stats.cache_hits += 1
                elif key in asked:
                    asked[key][1].append(place)
                    self.stats.cache_hits += 1
                else:
                    asked[key] = args, [place]

            again: list[PoolTask] = []

            def jobs() -> Iterator[PoolTask]:
                for key, (args, _) in asked.items():
                    yield PoolTask(key, f"[{json.dumps(name)}, {seconds}, {args}]".encode(), seconds)

            def settle(job: PoolTask, reply: Any, _: float) -> None:
                verdict = self._verdict(name, seconds, reply)
                if verdict is None or verdict.detail == OUT_OF_MEMORY:
                    again.append(job)
                    return
                for place in asked[job.key][1]:
                    verdicts[place] = verdict
                self.stats.timeouts += verdict.status is Status.TIMEOUT
                self.stats.errors += verdict.status is Status.ERROR
                if verdict.status in _REPEATABLE:
                    self._cache[job.key] = verdict
                    if len(self._cache) > self._cache_size:
                        self._cache.popitem(last=False)

            self.exchange(jobs(), settle, name)
            alone: list[Any] = []
            for job in again:
                for _ in range(LOADS):
                    self.exchange([replace(job, fresh=True)], lambda _, reply, __: alone.append(reply), name)
                    if not isinstance(alone[-1], Lost) or alone[-1].ready:
                        break
                verdict = self._verdict(name, seconds, alone[-1], last=True)
                assert verdict is not None
                for place in asked[job.key][1]:
                    verdicts[place] = verdict
                self.stats.timeouts += verdict.status is Status.TIMEOUT
                self.stats.errors += verdict.status is Status.ERROR
            self.stats.items += len(items)
            self.stats.seconds += time.perf_counter() - start
        return [verdict for verdict in verdicts if verdict is not None]

    def _verdict(self, name: str, seconds: float, reply: Any, *, last: bool = False) -> Verdict | None:
        """Return what a worker's reply says; ``None`` where a fresh worker has to be asked, which ``last`` rules out.

        Raises:
            EngineError: the task cannot be loaded.
        """
        match reply:
            case {"load_error": why}:
                raise EngineError(f"task '{name}' cannot be loaded in a worker: {why}")
            case Lost(ready=False, spent=True):
                raise EngineError(f"task '{name}' used over {START_SECONDS:g} s of processor time without being loaded")
            case Lost(ready=False, late=late, status=status):
                if (late or status == -signal.SIGKILL) and not last:
                    why = "hangs without computing" if late else "was killed"
                    _log.warning("a worker %s while it loads task '%s'; another one is started", why, name)
                    return None
                why = "hung" if late else f"ended with status {status}"
                raise EngineError(
                    f"task '{name}': its worker {why} before the task was loaded; import its module by hand, and look "
                    f"at memory_mb={self.memory_mb}"
                )
            case Lost(spent=True):
                return unscored(Status.TIMEOUT, f"took over {seconds:g} s of processor time", seconds)
            case Lost() if not last:
                return None
            case Lost(late=True):
                return unscored(Status.ERROR, IDLE)
            case Lost(status=status):
                return unscored(Status.ERROR, f"the worker died (status {status})")
        return Verdict.decode(reply)


@per_process
def default_engine() -> Engine:
    """Return the engine that this process shares, with one worker for each CPU of its share."""
    return Engine(workers=cpu_share())
