"""``adhere watch`` in a terminal: a pseudo-terminal shows what a user would see of a run that goes on."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_run import write_run

pytestmark = pytest.mark.slow
DEADLINE = 120.0
SHOWN, HIDDEN = b"\x1b[?25h", b"\x1b[?25l"
"""What makes a terminal's cursor visible, and what hides it."""


class Terminal:
    """A child in a terminal of its own, and everything that it wrote."""

    def __init__(self, run: Path, rows: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.resize(rows, columns)
        command = [sys.executable, "-m", "adhere.train.cli", "watch", str(run)]
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
            environment.pop(name, None)
        self.child = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        self.written = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, pattern: str, start: int = 0) -> int:
        """Read until ``pattern`` stands in the text written after ``start``; return how much was written then."""
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, plain(self.written[start:])):
            assert time.monotonic() < end, plain(self.written)[-3000:]
            self._read(0.2)
        return len(self.written)

    def ended(self) -> int:
        """Read until the child has ended; return its exit code."""
        end = time.monotonic() + DEADLINE
        while self.child.poll() is None:
            assert time.monotonic() < end
            self._read(0.2)
        while self._read(0.2):
            pass
        return self.child.returncode

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.written += os.read(self.master, 65536)
        return bool(ready)

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.master)
        os.close(self.slave)


def plain(written: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode("utf-8", "replace"))


@pytest.fixture
def grpo(tmp_path: Path) -> Path:
    """A run whose second arm is still training; return that arm's folder."""
    write_run(tmp_path)
    (folder,) = tmp_path.glob("artifacts/grpo-0composite*")
    (folder / "DONE").unlink()
    rows = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(rows[:2]), encoding="utf-8")
    return folder


@pytest.fixture
def terminal(tmp_path: Path, grpo: Path) -> Iterator[Terminal]:
    started = Terminal(tmp_path / "toy", 50, 130)
    yield started
    started.close()


def test_frames_follow_the_files_and_the_window_and_ctrl_c_leaves_the_terminal_clean(
    terminal: Terminal, grpo: Path
) -> None:
    seen = terminal.until(r"grpo\[composite\].* 2/6")
    with (grpo / "metrics.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps({"step": 5, "rates/joint": 0.875, "step_time": 2.0}) + "\n")
    seen = terminal.until(r" 5/6 .*87\.5", seen)
    terminal.resize(20, 60)
    terminal.child.send_signal(signal.SIGWINCH)
    seen = terminal.until(r"stage", seen)
    narrow = seen
    seen = terminal.until(r"stage", seen)
    lines = [line for line in plain(terminal.written[narrow:seen]).replace("\r", "\n").split("\n") if line.strip()]
    assert max(map(len, lines)) <= 60 and HIDDEN in terminal.written
    os.killpg(terminal.child.pid, signal.SIGINT)
    assert terminal.ended() == 0
    assert terminal.written.rfind(SHOWN) > terminal.written.rfind(HIDDEN)
    assert "Traceback" not in plain(terminal.written) and "interrupted" not in plain(terminal.written)
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_the_watch_ends_by_itself_when_the_run_has(terminal: Terminal, grpo: Path) -> None:
    terminal.until(r"grpo\[composite\].* 2/6")
    (grpo / "DONE").touch()
    assert terminal.ended() == 0
    assert terminal.written.rfind(SHOWN) > terminal.written.rfind(HIDDEN)
