"""The process behind :class:`rewards.checklist.sandbox.Sandbox`: it runs programs that nobody has read.

Started as ``python -I -S sandbox_child.py LAYERS UNISOLATED``, with the frames of :mod:`adhere.rewards.pool` on pipes
as standard input and output. It shuts itself off, says how (``{"ready": {"namespaces": "", "seccomp": ""}}``, an empty
text for a layer that holds, else why it does not), and then answers ``{code, text, timeout, cpu_seconds, memory_mb}``
with ``{verdict, detail}``: true or false; ``error``, what the program raised; ``timeout``; ``ended``, without a
verdict; ``open``, where the sandbox could not be closed and nothing ran.

Each (program, text) pair has a fork of its own, which reads the job, and runs the program in a further fork: so a
program can spoil nothing but its own verdict on one text, and this process never holds a text, which a later program
could find in freed memory. The verdict comes back over a pipe, as data of at most 4 KiB.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import sandbox_layers as layers

sys.path.pop(0)

ENTRY_POINT = "verify_requirement"
PRELOADED = """
    array ast base64 binascii bisect calendar cmath codecs collections collections.abc colorsys contextlib copy
    csv dataclasses datetime decimal difflib enum fnmatch fractions functools hashlib heapq html html.parser io
    itertools json keyword locale math numbers operator random re reprlib secrets shlex statistics string
    stringprep struct sys textwrap time tokenize traceback types typing unicodedata urllib.parse uuid warnings
    xml.etree.ElementTree zlib _strptime encodings.ascii encodings.latin_1 encodings.utf_8 encodings.utf_16
    encodings.utf_32 encodings.cp1252 encodings.idna encodings.punycode encodings.unicode_escape
    encodings.raw_unicode_escape
"""
"""What programs may import. Inside there are no files, so nothing else can be loaded."""

REPLY_BYTES = 4096
NAMESPACES, SECCOMP = "namespaces", "seccomp"


def _exactly(size: int) -> bytes:
    """Read ``size`` bytes of a job and no more, or nothing at the end of the input."""
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            return b""
        data += more
    return data


def send(reply: dict[str, Any], number: int, pipe: int = 1) -> None:
    """Write the reply to the job of this number."""
    body = json.dumps(reply).encode()
    data = struct.pack("!II", len(body), number) + body
    while data:
        data = data[os.write(pipe, data) :]


class Keeper:
    """Forks a child for each job, waits for its verdict, and kills it."""

    def __init__(self, *, namespaces: bool, seccomp: bool, null: int) -> None:
        self.namespaces, self.seccomp, self._null = namespaces, seccomp, null
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY) if namespaces else -1

    def run(self, job: dict[str, Any], task: Callable[[dict[str, Any]], bytes]) -> tuple[bytes, int, bool]:
        """Return what the child wrote, its wait status, and whether its time was up."""
        ours, theirs = os.pipe()
        if self.namespaces:
            # A PID namespace for each child: when its first process is killed, the kernel kills all others in it.
            layers.unshare(layers.CLONE_NEWPID)
        child = os.fork()
        if child == 0:
            self._become(theirs, job, task)
        if self.namespaces:
            layers.enter_pid_namespace(self._own)
        os.close(theirs)
        answer, late = _collect(ours, time.monotonic() + float(job["timeout"]))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        os.close(ours)
        return answer, status, late

    def _become(self, pipe: int, job: dict[str, Any], task: Callable[[dict[str, Any]], bytes]) -> None:
        """Shut this fork off, run ``task``, write what it returns, and end; never comes back."""
        try:
            for standard in (0, 1, 2):
                os.dup2(self._null, standard)
            os.dup2(pipe, 3)
            os.closerange(4, 4096)
            os.setsid()  # kill(0) reaches a whole process group, across PID namespaces
            layers.die_with_parent()
            layers.limit(int(job["memory_mb"]), int(job["cpu_seconds"]))
            layers.drop_privileges()
            if self.seccomp:
                layers.filter_system_calls()
            elif self.namespaces:
                layers.refuse_sharing()
        except BaseException as error:  # noqa: BLE001 - nothing may run when a layer fails, whatever the reason
            os.write(3, f"X the sandbox could not be closed: {type(error).__name__}: {error}".encode()[:REPLY_BYTES])
            os._exit(1)
        os.write(3, task(job)[:REPLY_BYTES])
        os._exit(0)


def _collect(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """Read up to ``REPLY_BYTES`` until the other end closes; the flag says that the deadline came first."""
    data = b""
    while len(data) <= REPLY_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return data, True
        more = os.read(pipe, REPLY_BYTES + 1 - len(data))
        if not more:
            break
        data += more
    return data, False


def run_program(job: dict[str, Any]) -> bytes:
    """Run the program on its text: ``T``, ``F``, or ``E`` and what went wrong."""
    try:
        scope: dict[str, Any] = {"__name__": "program", "__builtins__": __builtins__}
        exec(compile(job["code"], "<program>", "exec"), scope)
        verdict = scope[ENTRY_POINT](job["text"])
        if verdict is True:
            return b"T"
        return b"F" if verdict is False else f"E returned {type(verdict).__name__}, not True or False".encode()
    except KeyError as error:
        missing = error.args[:1] == (ENTRY_POINT,)
        return b"E defines no verify_requirement" if missing else _described(error)
    except BaseException as error:  # noqa: BLE001 - the boundary of the process: SystemExit is one of the attacks
        return _described(error)


def _described(error: BaseException) -> bytes:
    try:
        text = f"E {type(error).__name__}: {str(error)[:200]}"
    except BaseException:  # noqa: BLE001 - the error is the program's own object; its str may raise anything
        text = "E raised an error that cannot be described"
    return text.encode("utf-8", "replace")


def try_to_escape(job: dict[str, Any]) -> bytes:
    """Try what the layers have to refuse; ``T`` when all of it was refused, else ``E`` and what was possible."""
    for what, attempt in (
        ("the network", _reach_the_network),
        ("reading files", lambda: next(Path("/").iterdir(), None) or Path("/nothing").stat()),
        ("writing files in /", lambda: os.open("/", os.O_WRONLY | os.O_TMPFILE)),
        ("writing files in /tmp", lambda: os.open("/tmp", os.O_WRONLY | os.O_TMPFILE)),
        ("starting processes", _start_a_process),
        ("shared memory", layers.share_memory),
        ("a keyring", layers.keep_a_key),
    ):
        try:
            attempt()
        except OSError:
            continue
        return f"E {what} is possible".encode()
    return b"T"


def _reach_the_network() -> None:
    with socket.socket() as client:
        try:
            client.connect(("127.0.0.1", 9))
        except ConnectionRefusedError:
            return


def _start_a_process() -> None:
    if os.fork() == 0:
        os._exit(0)


def main(wanted: str, unisolated: bool) -> None:
    """Close the sandbox by the ``wanted`` layers (names with commas), then serve jobs until standard input ends."""
    for name in PRELOADED.split():
        __import__(name)
    os.environ.clear()
    null = os.open(os.devnull, os.O_RDWR)
    state = {NAMESPACES: "not asked for", SECCOMP: "not asked for"}
    if NAMESPACES in wanted:
        state[NAMESPACES] = _enter_namespaces()
    keeper = Keeper(namespaces=not state[NAMESPACES], seccomp=SECCOMP in wanted, null=null)
    if keeper.namespaces:
        layers.empty_filesystem()
    trial = {"timeout": 60.0, "cpu_seconds": 10, "memory_mb": 512}
    if keeper.seccomp:
        state[SECCOMP] = _trial(keeper, trial)
        keeper.seccomp = not state[SECCOMP]
    if keeper.namespaces and not keeper.seccomp:
        state[NAMESPACES] = _trial(keeper, trial)
    send({"ready": state}, 0)
    gc.freeze()  # a fork copies the pages that a collection touches
    if all(state.values()) and not unisolated:
        return
    while head := _exactly(8):
        size, number = struct.unpack("!II", head)
        ours, theirs = os.pipe()
        relay = os.fork()
        if relay == 0:
            layers.die_with_parent()
            if keeper.namespaces:
                layers.unshare(layers.CLONE_NEWIPC)
            job = json.loads(_exactly(size))
            send(_answer(*keeper.run(job, run_program), job), number, theirs)
            os._exit(0)
        os.close(theirs)
        if os.waitpid(relay, 0)[1]:
            return  # a part of the job may still lie in the pipe
        # Moved inside the kernel: an error's words may quote the text.
        while os.splice(ours, 1, 2**16):
            pass
        os.close(ours)


def _enter_namespaces() -> str:
    """Go on as process 1 of new namespaces; return why that cannot be, or an empty text."""
    refused = _refused()
    if refused:
        return refused
    layers.enter_namespaces()
    inner = os.fork()
    if inner:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 0xFF)
    layers.die_with_parent()
    return ""


def _refused() -> str:
    """Enter namespaces in a fork; return why that cannot be, or an empty text.

    Some kernels grant them and then refuse what they are for (Ubuntu's AppArmor policy since 24.04), and there is no
    way back from there: this process could fork only once.
    """
    ours, theirs = os.pipe()
    outer = os.fork()
    if outer == 0:
        try:
            layers.enter_namespaces()
            if os.fork() == 0:
                layers.empty_filesystem()
                os.write(theirs, b"T")
        except OSError as error:
            os.write(theirs, str(error).encode()[:REPLY_BYTES])
        os._exit(0)
    os.close(theirs)
    answer, late = _collect(ours, time.monotonic() + 60.0)
    os.waitpid(outer, 0)
    os.close(ours)
    if answer == b"T":
        return ""
    return "took too long" if late else answer.decode("utf-8", "replace") or "ended without an answer"


def _trial(keeper: Keeper, job: dict[str, Any]) -> str:
    answer, status, _ = keeper.run(job, try_to_escape)
    return "" if answer == b"T" else answer[2:].decode("utf-8", "replace") or f"the trial ended with status {status}"


def _answer(answer: bytes, status: int, late: bool, job: dict[str, Any]) -> dict[str, Any]:
    if late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return {"verdict": "timeout", "detail": f"took longer than {job['timeout']:g} s"}
    if answer in (b"T", b"F"):
        return {"verdict": answer == b"T", "detail": ""}
    if answer[:2] == b"E " and len(answer) <= REPLY_BYTES:
        return {"verdict": "error", "detail": answer[2:].decode("utf-8", "replace")}
    if answer[:2] == b"X ":
        return {"verdict": "open", "detail": answer[2:].decode("utf-8", "replace")}
    return {"verdict": "ended", "detail": f"ended without a verdict (status {os.waitstatus_to_exitcode(status)})"}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "1")
