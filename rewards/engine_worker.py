"""The child process of :class:`rewards.engine.Engine`: read an item, run its task, answer with a verdict.

Started as ``python -P -m adhere.rewards.engine_worker MEGABYTES``, it never imports the script of its parent. Frames
are those of :mod:`rewards.pool`, JSON both ways: a worker that hostile text has taken over can send nothing but data. A
request is ``[task, deadline, arguments]``; the first one for a task is answered by ``{"ready": task}`` or
``{"load_error": ...}``, and every one for a task that is loaded by a verdict. A task that uses more than ``deadline``
seconds of processor time ends the process by ``SIGPROF``; the clock on the wall ends nothing.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from adhere.rewards.engine import OUT_OF_MEMORY
from adhere.rewards.pool import watch_parent
from adhere.rewards.verdict import Status, Verdict, unscored


def main(memory_mb: int) -> None:
    """Serve items from standard input until it ends, within ``memory_mb`` MiB of memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The default action ends the process in the kernel, so it works while C code holds the interpreter.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    threading.Thread(target=watch_parent, args=[os.getppid()], daemon=True).start()
    logging.disable(logging.ERROR)
    limit = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What a task reads or prints must not touch the frames.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)

    def send(reply: Any, number: bytes) -> None:
        body = json.dumps(reply).encode()
        replies.write(len(body).to_bytes(4, "big") + number + body)
        replies.flush()

    tasks: dict[str, Callable[..., Verdict]] = {}
    while head := requests.read(8):
        number = head[4:]
        name, deadline, args = json.loads(requests.read(int.from_bytes(head[:4], "big")))
        if name not in tasks:
            module, _, attribute = name.partition(":")
            try:
                tasks[name] = getattr(importlib.import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                send({"load_error": f"{type(error).__name__}: {error}"}, number)
                continue
            send({"ready": name}, bytes(4))
        send(_run(tasks[name], args, deadline).encode(), number)


def _run(task: Callable[..., Verdict], args: list[Any], deadline: float) -> Verdict:
    signal.setitimer(signal.ITIMER_PROF, deadline)
    start = time.perf_counter()
    try:
        verdict = task(*args)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"the task returned {type(verdict).__name__} in place of a Verdict")
    except MemoryError:
        verdict = unscored(Status.ERROR, OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: any failure becomes a counted status
        verdict = unscored(Status.ERROR, f"{type(error).__name__}: {str(error)[:200]}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return Verdict(verdict.score, verdict.status, verdict.detail, time.perf_counter() - start, verdict.parts)


if __name__ == "__main__":
    main(int(sys.argv[1]))
