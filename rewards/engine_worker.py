"""The child process of :class:`rewards.engine.Engine`: read an item, run its task, answer with a verdict.

Started as ``python -P -m adhere.rewards.engine_worker FD MEGABYTES``, it never imports the script of its parent.
Frames are JSON both ways, so a worker that hostile text has taken over can send nothing but data.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from adhere.rewards.verdict import Status, Verdict, unscored

Task = Callable[..., Verdict]

_ORPHAN_GRACE_S = 1.0


def main(fd: int, memory_mb: int) -> None:
    """Serve items from the socket ``fd`` until its other end closes, within ``memory_mb`` MiB of memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The default action ends the process in the kernel, so it works while C code holds the interpreter.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    logging.disable(logging.ERROR)
    limit = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tasks: dict[str, Task] = {}
    with Connection(fd) as parent:
        while True:
            try:
                frame = parent.recv_bytes()
            except EOFError:
                return
            name, deadline, args = json.loads(frame)
            if name not in tasks:
                try:
                    tasks[name] = _load(name)
                except (ImportError, AttributeError) as error:
                    parent.send_bytes(json.dumps({"load_error": f"{type(error).__name__}: {error}"}).encode())
                    continue
                parent.send_bytes(b"{}")
            parent.send_bytes(json.dumps(encode_verdict(_run(tasks[name], args, deadline))).encode())


def _load(name: str) -> Task:
    module, _, attribute = name.partition(":")
    task: Task = getattr(importlib.import_module(module), attribute)
    return task


def _run(task: Task, args: list[Any], deadline: float) -> Verdict:
    # The parent kills at the deadline; this timer ends a worker whose parent has died in the meantime.
    signal.setitimer(signal.ITIMER_REAL, deadline + _ORPHAN_GRACE_S)
    start = time.perf_counter()
    try:
        verdict = task(*args)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"the task returned {type(verdict).__name__} in place of a Verdict")
    except MemoryError:
        verdict = unscored(Status.ERROR, "the worker's memory limit was reached")
    except Exception as error:  # noqa: BLE001 - the boundary of the process: any failure becomes a counted status
        verdict = unscored(Status.ERROR, f"{type(error).__name__}: {str(error)[:200]}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return Verdict(verdict.score, verdict.status, verdict.detail, time.perf_counter() - start, verdict.parts)


def encode_verdict(verdict: Verdict) -> list[Any]:
    """Return the JSON form ``[score, status, detail, seconds, parts]``."""
    parts = [encode_verdict(part) for part in verdict.parts]
    return [verdict.score, verdict.status.value, verdict.detail, verdict.seconds, parts]


def decode_verdict(row: list[Any]) -> Verdict:
    """Return the verdict of which ``row`` is the JSON form."""
    score, status, detail, seconds, parts = row
    return Verdict(score, Status(status), detail, seconds, tuple(decode_verdict(part) for part in parts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
