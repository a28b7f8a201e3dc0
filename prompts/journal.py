"""An output file that grows row by row and survives a kill at any moment."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rewards.errors import DataError, StageError


class Journal:
    """Rows of prompt items with checklists, and beside them a report of every row that was tried.

    A row is one write of one whole line, and what a kill tears off is cut away when the file is opened again. Rows are
    not forced to the disk one by one: they survive the end of the process, not that of the
    machine. One process writes at a time. Use it as ``with``.
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write to ``path`` (``.jsonl``) rows that were made as ``provenance`` says.

        Raises:
            DataError: the name does not end in ``.jsonl``.
        """
        if path.suffix != ".jsonl":
            raise DataError(f"{path}: the output is written row by row; give it a name that ends in .jsonl")
        self.path = path
        self.report = path.with_name(f"{path.stem}.report.jsonl")
        self._provenance = dict(provenance)
        self._files: list[int] = []

    def __enter__(self) -> Journal:
        """Open and lock the files.

        Raises:
            StageError: they cannot be written, or another process writes them.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._files = [_open(path) for path in (self.path, self.report)]
            fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(f"{self.path}: another process is writing it; wait for its end") from error
        except OSError as error:
            raise StageError(f"{self.path}: cannot be written ({error.strerror}); name another place for it") from error
        for file in self._files:
            _cut_torn_line(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)

    def resume(self, wanted: Mapping[str, Sequence[Any]]) -> set[str]:
        """Return the ids of the rows that are done; ``wanted`` holds the messages of every id that will be.

        Raises:
            DataError: a row is of another configuration, or of a prompt that is not wanted or reads differently.
        """
        done = set()
        for number, row in enumerate(_rows(self.path), start=1):
            where = f"{self.path}:{number}"
            made = row.get("meta", {}).get("checklist")
            if made != self._provenance:
                raise DataError(f"{where}: made {_difference(made, self._provenance)}; name another output file")
            if row["id"] not in wanted or list(wanted[row["id"]]) != row["messages"]:
                raise DataError(f"{where}: '{row['id']}' is not a prompt of the input as it is now; name another file")
            done.add(row["id"])
        return done

    def keep(self, report: Mapping[str, Any], row: Mapping[str, Any] | None) -> None:
        """Append what happened to a row, and the row itself unless it failed."""
        _append(self._files[1], report)
        if row is not None:
            _append(self._files[0], row)

    def finish(self, order: Sequence[str]) -> None:
        """Bring both files to the order of the ids ``order``; of several reports of one row the last one stays."""
        for path in (self.path, self.report):
            latest = {row["id"]: row for row in _rows(path)}
            lines = [_line(latest[name]) for name in order if name in latest]
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(b"".join(lines))
            partial.replace(path)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)


def _cut_torn_line(file: int) -> None:
    content = os.pread(file, os.fstat(file).st_size, 0)
    os.ftruncate(file, content.rfind(b"\n") + 1)


def _append(file: int, row: Mapping[str, Any]) -> None:
    line = _line(row)
    if os.write(file, line) != len(line):
        raise StageError("a row could not be written whole; free some space, the same command goes on from here")


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); name another output file") from error
        if not isinstance(row, dict) or "id" not in row:
            raise DataError(f"{path}:{number}: no row that was written here; name another output file")
        rows.append(row)
    return rows


def _difference(made: Any, wanted: Mapping[str, Any]) -> str:
    if not isinstance(made, Mapping):
        return "by something else"
    keys = [key for key in wanted if made.get(key) != wanted[key]]
    return "with " + ", ".join(f"{key}={made.get(key)}, now {wanted[key]}" for key in keys)
