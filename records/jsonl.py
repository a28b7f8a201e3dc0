"""JSON lines: how a row is written, and how a file is read that may still be appended to. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Lines:
    """The rows of a JSONL file, and the numbers (from 1) of its whole lines that are not JSON objects.

    ``whole`` is how many of the bytes that were read are whole lines.
    """

    rows: list[dict[str, Any]]
    unreadable: list[int]
    whole: int = 0


def read_jsonl(path: Path, tail: int | None = None) -> Lines:
    """Read a JSONL file that may still be appended to; its last line is left out while it has no newline.

    Args:
        path: the file; one that does not exist has no rows.
        tail: read only this many bytes from the end, and leave out the line that they begin in; ``None`` reads all.
    """
    rows: list[dict[str, Any]] = []
    unreadable: list[int] = []
    if not path.is_file():
        return Lines(rows, unreadable)
    with path.open("rb") as file:
        start = 0 if tail is None else max(0, path.stat().st_size - tail)
        file.seek(max(0, start - 1))
        if start:
            file.readline()
        content = file.read()
    *lines, rest = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            unreadable.append(number)
    return Lines(rows, unreadable, len(content) - len(rest))


def dump(row: Any, indent: int | None = None) -> str:
    """Return JSON with a newline at the end; NaN is refused, since other readers would choke on it.

    Half of a surrogate pair, which UTF-8 cannot hold, is written as JSON escapes it: ``\\ud800``.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
