"""What the terminal shows of a stage's output: the log has all of it, the terminal not what is said elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable

REPEATED = rb"adhere: (error: |stopped at step \d+;)"
"""What every rank says last, and the driver once more for all of them."""

ENDING = rb"[WEI]\d{4} [\d:.]+ \d+ \S*torch/distributed/elastic/"
"""What torch says while it ends the other ranks."""

HIDDEN = re.compile(REPEATED + b"|" + ENDING)
UNUSED = re.compile(rb"(\[rank\d+\]:)?\[W\d{4} [\d:.]+ reducer\.cpp:\d+\] Warning: find_unused_parameters[^\n]*\n")
"""torch's hint that a model whose weights are all used could train faster; it comes behind an open bar."""

DUMP = re.compile(rb"E\d{4} [\d:.]+ \d+ \S*torch/distributed/elastic/.* failed \(exitcode: ")
"""The line from which torch tells at length that a rank has ended; nothing of ours follows it."""


class Screen:
    """Passes output on line by line, as it comes, without hidden lines and without empty ones.

    A progress bar, which begins with a carriage return, is passed on at once.
    """

    def __init__(self, show: Callable[[bytes], object]) -> None:
        self._show = show
        self._held = b""
        self._open = False  # whether a bar is on the line where the cursor is
        self._dumping = False

    def write(self, chunk: bytes) -> None:
        """Show what is complete of the output so far."""
        *lines, rest = re.split(rb"(?<=[\n\r])", UNUSED.sub(b"", self._held + chunk))
        for line in lines:
            self._line(line)
        # A bar is shown before its line is complete: that may take as long as a step does.
        if self._open and rest:
            self._pass_on(rest)
            rest = b""
        self._held = rest

    def close(self) -> None:
        """Show what is left where the output ended within a line."""
        self._line(self._held)
        self._held = b""

    def _line(self, line: bytes) -> None:
        text = line.strip()
        self._dumping |= DUMP.match(text) is not None
        if self._open:
            self._pass_on(line)
            self._open = not line.endswith(b"\n")
        elif line.endswith(b"\r"):
            self._pass_on(line)
            self._open = True
        elif text and not self._dumping and not HIDDEN.match(text):
            self._pass_on(line)

    def _pass_on(self, part: bytes) -> None:
        if part:
            self._show(part)
