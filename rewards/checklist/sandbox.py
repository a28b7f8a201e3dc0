"""Runs generated verifier programs in processes that are shut off from network, files, other processes and secrets.

RLCF (arXiv 2507.18624) lets a model write ``verify_requirement(text) -> bool`` where a rule can decide a requirement.
Nobody has read that code, so it never runs in this process. ``sandbox_child`` holds the process side.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from adhere.rewards.checklist.check_tree import ProgramCall
from adhere.rewards.errors import AdhereError
from adhere.rewards.pool import Job, Lost, Pool, cpu_share, per_process
from adhere.rewards.verdict import Status, Verdict, unscored

Layer = Literal["namespaces", "seccomp"]

STRIKES = 3
"""After so many time-outs in one batch a program is not run on the batch's other texts: they time out as well."""

_GRACE_SECONDS = 5.0
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


class Sandbox(Pool):
    """Runs programs in ``workers`` isolated processes; each (program, text) pair in a fork of its own.

    Two layers of isolation are tried, and either is enough: new user, network, mount, PID and IPC namespaces with an
    empty read-only root; and a filter that refuses every system call but those for computing in memory. Each is tested
    by attempts to escape before a program runs. Where neither holds every verdict is ``error`` and says why, unless
    ``limits.allow_unisolated``. ``layers`` names the ones to try.

    The processes start at the first call, and end with :meth:`close` or with this process.
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
        self._state: dict[str, str] | None = None
        # -I -S: no environment, no site packages, and no import from the current folder.
        command = [sys.executable, "-I", "-S", str(_CHILD), ",".join(layers), str(int(self.limits.allow_unisolated))]
        super().__init__(
            command,
            workers,
            lambda: {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            cwd="/",
            stderr=subprocess.DEVNULL,
            max_reply=2**20,
        )

    def isolation(self) -> dict[str, str]:
        """Return, for each layer, an empty text where it holds, else why it does not.

        Raises:
            SandboxError: the interpreter of the sandbox does not start.
        """
        with self._lock:
            if self._state is None:

                def settle(_: Job, reply: Any, seconds: float) -> None:
                    if isinstance(reply, Lost):
                        raise _not_ready(reply)
                    self._state = reply

                self.exchange([Job(None, b"", 0.0)], settle)
            assert self._state is not None
            return dict(self._state)

    def run(self, calls: Sequence[ProgramCall]) -> list[Verdict]:
        """Return 1.0 or 0.0 for each program that returned True or False of its text, in order.

        Anything else a program does has no score: ``timeout`` at the wall clock, else ``error``. Equal calls run once.

        Raises:
            SandboxError: the interpreter of the sandbox does not start.
        """
        if not calls:
            return []
        limits, state = self.limits, self.isolation()
        if all(state.values()) and not limits.allow_unisolated:
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in state.items())
            refused = (
                f"programs cannot be isolated on this machine ({reasons}); allow user namespaces or seccomp, "
                f"or set programs.allow_unisolated for programs that you have read"
            )
            return [unscored(Status.ERROR, refused)] * len(calls)
        verdicts: dict[ProgramCall, Verdict] = {}
        strikes: Counter[str] = Counter()

        def jobs() -> Iterator[Job]:
            for call in dict.fromkeys(calls):
                if strikes[call.code] >= STRIKES:
                    why = f"not run: the program timed out on {STRIKES} texts of this batch"
                    verdicts[call] = unscored(Status.TIMEOUT, why)
                    continue
                job = {"code": call.code, "text": call.text, "timeout": limits.timeout, "memory_mb": limits.memory_mb}
                yield Job(call, json.dumps(job).encode(), limits.timeout + _GRACE_SECONDS)

        def settle(job: Job, reply: Any, seconds: float) -> None:
            call: ProgramCall = job.key
            match reply:
                case Lost(ready=False):
                    raise _not_ready(reply)
                case {"verdict": True}:
                    verdicts[call] = Verdict(1.0, detail="the program says yes", seconds=seconds)
                case {"verdict": False}:
                    verdicts[call] = Verdict(0.0, detail="the program says no", seconds=seconds)
                case Lost(late=True):
                    strikes[call.code] += 1
                    verdicts[call] = unscored(Status.TIMEOUT, "the sandbox did not answer in time", seconds)
                case {"verdict": "timeout"}:
                    strikes[call.code] += 1
                    verdicts[call] = unscored(Status.TIMEOUT, str(reply["detail"]), seconds)
                case Lost():
                    why = f"program: the sandbox ended with status {reply.status}"
                    verdicts[call] = unscored(Status.ERROR, why, seconds)
                case _:
                    verdicts[call] = unscored(Status.ERROR, f"program: {reply['detail']}", seconds)

        self.exchange(jobs(), settle)
        return [verdicts[call] for call in calls]


def _not_ready(lost: Lost) -> SandboxError:
    return SandboxError(
        f"the program sandbox {'was late' if lost.late else 'ended'} before it was ready (status {lost.status}); "
        f"run `{sys.executable} -I -S {_CHILD} namespaces,seccomp 0` by hand to see why"
    )


@per_process
def shared_sandbox(limits: SandboxLimits) -> Sandbox:
    """Return this process's sandbox for ``limits``, with one worker for each CPU of its share."""
    return Sandbox(limits, workers=cpu_share())
