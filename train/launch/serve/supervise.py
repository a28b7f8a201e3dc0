"""Keep one server: start it in a session of its own, and end all of it on a signal, or when its parent is gone.

python -m adhere.train.launch.serve.supervise PARENT LOG COMMAND [ARGUMENT ...]

A process between the driver and a server, because the kernel signals only a direct child when its parent was killed,
and a server such as vLLM's has children of its own. Standard library only: it has to start fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from adhere.train.launch.orphans import end_with_parent

GRACE_SECONDS = 10.0
"""Seconds between SIGTERM and SIGKILL."""

POLL_SECONDS = 0.05


def main(arguments: list[str]) -> int:
    """Run the command until it ends or a signal comes; return its exit code, 128 + N where signal N ended it."""
    parent, log, command = int(arguments[0]), Path(arguments[1]), arguments[2:]
    told: list[int] = []

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, tell)
    end_with_parent()
    if os.getppid() != parent:
        return 1  # it was killed before the line above
    with log.open("ab") as out:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    while server.poll() is None and not told:
        time.sleep(POLL_SECONDS)
    end_group(server)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def end_group(process: subprocess.Popen[bytes], grace: float = GRACE_SECONDS) -> None:
    """End the process and all of its group: SIGTERM, up to ``grace`` seconds, SIGKILL. It leads the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and (process.poll() is None or _group_lives(process.pid)):
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
