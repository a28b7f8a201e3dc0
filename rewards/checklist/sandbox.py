"""Runs generated verifier programs in processes that are shut off from network, files, other processes and secrets.

RLCF (arXiv 2507.18624) lets a model write ``verify_requirement(text) -> bool`` where a rule can decide a requirement.
Nobody has read that code, so it never runs in this process. ``sandbox_child`` holds the process side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from adhere.rewards.errors import AdhereError
from adhere.rewards.pool import Lost, Pool, PoolTask, cpu_share, per_process
from adhere.rewards.verdict import Status, Verdict, unscored

Layer = Literal["namespaces", "seccomp"]

PROBES = (
    "First we add the two numbers, which gives 12. Then we halve the sum: the result is 6, and that is the answer.",
    "# Plan\n\n1. **Read** the task.\n2. *Solve* it.\n\n- one\n- two\n\n```python\nprint(1)\n```\n\nP.S. Done!",
    '{"answer": 6, "steps": ["add", "halve"]}',
    "42",
)
"""A program is tried on these texts in order until it decides one. One that takes too long on the way, or decides none
of them, is excluded: it decides no response at all."""

PATIENCE = 5
"""How many times the wall time of a first try a program gets when it is tried again, alone."""

_GRACE_SECONDS = 60.0
_UNSERVED = "machine failure: the sandbox could not run it"
_CHILD = Path(__file__).with_name("sandbox_child.py")
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH",)  # without it some clusters' interpreters do not start


class SandboxError(AdhereError, RuntimeError):
    """The sandbox's process does not start."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class ProgramCall:
    """Run ``code``'s ``verify_requirement`` on ``text``."""

    code: str
    text: str


class ProgramRunner(Protocol):
    """Whatever runs generated programs, one verdict per call, in order."""

    def run(self, calls: Sequence[ProgramCall]) -> list[Verdict]:
        """Run every call; one without a verdict of True or False has no score."""
        ...


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a program may use for one text.

    ``timeout`` is in seconds of wall time; what takes longer is tried again alone, for ``PATIENCE`` times as long, and
    at most two seconds more than ``timeout`` of processor time. ``memory_mb`` is in MiB of address space, its
    interpreter included.
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
    empty read-only root, and no call that starts processes or leaves data behind (shared memory, message queues,
    keyrings); and a filter that refuses every system call but those for computing in memory. Each is tested
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
        self._excluded: dict[str, Verdict | None] = {}
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

                def settle(_: PoolTask, reply: Any, seconds: float) -> None:
                    if isinstance(reply, Lost):
                        raise _not_ready(reply)
                    self._state = reply

                self.exchange([PoolTask(None, b"", 0.0)], settle)
            assert self._state is not None
            return dict(self._state)

    def probe(self, codes: Iterable[str]) -> dict[str, str]:
        """Return why a program is excluded, for those of ``codes`` that are; see ``PROBES``.

        Raises:
            SandboxError: the interpreter of the sandbox does not start.
        """
        found = self._probed(codes)
        return {code: verdict.detail for code, verdict in found.items() if verdict is not None}

    def run(self, calls: Sequence[ProgramCall]) -> list[Verdict]:
        """Return 1.0 or 0.0 for each program that returned True or False of its text, in order.

        A program that takes too long on a text, raises on it or ends without a verdict has not been met by that text:
        0.0. A program that does so on fixed texts is excluded: no response has a score, ``timeout`` or ``error`` says
        why. So is a text without one where the sandbox failed twice. Equal calls run once.

        Raises:
            SandboxError: the interpreter of the sandbox does not start.
        """
        if not calls:
            return []
        excluded = self._probed(call.code for call in calls)
        found = self._run([call for call in calls if excluded[call.code] is None])
        verdicts = []
        for call in calls:
            verdict = excluded[call.code] or found[call]
            if excluded[call.code] is None and verdict.undecided and not _unserved(verdict):
                verdict = Verdict(0.0, detail=f"not met by this text: {verdict.detail}", seconds=verdict.seconds)
            verdicts.append(verdict)
        return verdicts

    def _probed(self, codes: Iterable[str]) -> dict[str, Verdict | None]:
        """Return for each program the verdict on every response where it is excluded, else ``None``."""
        limits, state, distinct = self.limits, self.isolation(), list(dict.fromkeys(codes))
        if all(state.values()) and not limits.allow_unisolated:
            reasons = "; ".join(f"{layer}: {reason}" for layer, reason in state.items())
            refused = (
                f"programs cannot be isolated on this machine ({reasons}); allow user namespaces or seccomp, "
                f"or set programs.allow_unisolated for programs that you have read"
            )
            return dict.fromkeys(distinct, unscored(Status.ERROR, refused))
        found = {code: self._excluded[code] for code in distinct if code in self._excluded}
        left = [code for code in distinct if code not in found]
        for text in PROBES:
            tried = self._run([ProgramCall(code, text) for code in left])
            for call, verdict in tried.items():
                if verdict.status is Status.OK:
                    self._excluded[call.code] = found[call.code] = None
                elif _unserved(verdict):
                    found[call.code] = verdict  # not kept: the next batch tries again
                elif verdict.status is Status.TIMEOUT or text == PROBES[-1]:
                    why = f"excluded: on a text for trial, {verdict.detail}"
                    self._excluded[call.code] = found[call.code] = unscored(verdict.status, why)
            left = [code for code in left if code not in found]
        return found

    def _run(self, calls: Iterable[ProgramCall]) -> dict[ProgramCall, Verdict]:
        """Return what each program says of its text; ``timeout`` and ``error`` are the pair's, see ``_unserved``."""
        verdicts: dict[ProgramCall, Verdict] = {}
        again: list[ProgramCall] = []

        def job(call: ProgramCall, patience: int = 1) -> PoolTask:
            seconds = self.limits.timeout * patience
            limits = {
                "timeout": seconds, "cpu_seconds": int(self.limits.timeout) + 2, "memory_mb": self.limits.memory_mb
            }  # fmt: skip
            frame = json.dumps({"code": call.code, "text": call.text, **limits}).encode()
            return PoolTask(call, frame, seconds + _GRACE_SECONDS)

        def settle(job: PoolTask, reply: Any, seconds: float, *, last: bool = False) -> None:
            call: ProgramCall = job.key
            match reply:
                case {"verdict": bool(met)}:
                    verdicts[call] = Verdict(
                        float(met), detail=f"the program says {'yes' if met else 'no'}", seconds=seconds
                    )
                case {"verdict": "error"}:
                    verdicts[call] = unscored(Status.ERROR, f"program: {reply['detail']}", seconds)
                case Lost(ready=False) if last or reply.status != -signal.SIGKILL:
                    raise _not_ready(reply)
                case _ if not last:
                    again.append(call)
                case {"verdict": "timeout"}:
                    why = f"took longer than {self.limits.timeout:g} s"
                    verdicts[call] = unscored(Status.TIMEOUT, why, seconds)
                case {"verdict": "ended"}:
                    verdicts[call] = unscored(Status.ERROR, f"program: {reply['detail']}", seconds)
                case {"verdict": "open", "detail": str(why)}:
                    verdicts[call] = unscored(Status.ERROR, f"{_UNSERVED}: {why}", seconds)
                case Lost(late=late, status=status):
                    why = "did not answer in time" if late else f"ended with status {status}"
                    verdicts[call] = unscored(Status.ERROR, f"{_UNSERVED}: it {why}", seconds)

        self.exchange((job(call) for call in dict.fromkeys(calls)), settle)
        # What may be the machine's failure, alone and one after the other. Where the sandbox failed, this is a new one.
        for call in again:
            self.exchange([job(call, PATIENCE)], partial(settle, last=True))
        return verdicts


def _unserved(verdict: Verdict) -> bool:
    """Whether the sandbox itself failed, and neither program nor text is to blame."""
    return verdict.detail.startswith(_UNSERVED)


def _not_ready(lost: Lost) -> SandboxError:
    return SandboxError(
        f"the program sandbox {'was late' if lost.late else 'ended'} before it was ready (status {lost.status}); "
        f"run `{sys.executable} -I -S {_CHILD} namespaces,seccomp 0` by hand to see why"
    )


@per_process
def shared_sandbox(limits: SandboxLimits) -> Sandbox:
    """Return this process's sandbox for ``limits``, with one worker for each CPU of its share."""
    return Sandbox(limits, workers=cpu_share())
