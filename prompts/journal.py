"""An output file that grows row by row and survives a kill at any moment."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import atomic_file


class Journal:
    """Rows of prompt items with checklists, and beside them a report of every row that was tried.

    A row is one write of one whole line, and what a kill tears off is cut away by ``resume``, once all else in the file
    is known to have been written here. Rows are not forced to the disk one by one: they survive the end of the process,
    not that of the machine. One process writes at a time. Use it as ``with``.
    """

    def __init__(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write to ``path`` (``.jsonl``) rows that were made as ``provenance`` says.

        Raises:
            DataError: the name does not end in ``.jsonl``.
        """
        if path.suffix != ".jsonl":
            raise DataError(f"{path}: the output is written row by row; give it a name that ends in .jsonl")
        self.path = path
        self.report = report_of(path)
        self._provenance = dict(provenance)
        self._files: list[int] = []

    def __enter__(self) -> Journal:
        """Open and lock the files.

        Raises:
            StageError: they cannot be written, or another process writes them.
        """
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._files = [os.open(path, flags, 0o644) for path in (self.path, self.report)]
            fcntl.flock(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(f"{self.path}: another process is writing it; wait for its end") from error
        except OSError as error:
            raise StageError(f"{self.path}: cannot be written ({error.strerror}); name another place for it") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for file in self._files:
            os.close(file)

    def resume(self, wanted: Mapping[str, Sequence[Any]]) -> set[str]:
        """Return the ids of the rows that are done; ``wanted`` holds the messages of every id that will be.

        Neither file is touched before both were found to be written here.

        Raises:
            DataError: a row is of another configuration, or of a prompt that is not wanted or reads differently, or
                was not written here at all.
        """
        done = set()
        rows, kept = _rows(self.path, [_head(id=name, messages=list(wanted[name])) for name in wanted])
        for number, row in enumerate(rows, start=1):
            where = f"{self.path}:{number}"
            meta = row.get("meta")
            made = meta.get("checklist") if isinstance(meta, Mapping) else None
            if made != self._provenance:
                how = "by something else"
                if isinstance(made, Mapping):
                    other = {key: now for key, now in self._provenance.items() if made.get(key) != now}
                    how = "with " + ", ".join(f"{key}={made.get(key)}, now {now}" for key, now in other.items())
                raise DataError(f"{where}: made {how}; name another output file")
            if row["id"] not in wanted:
                raise DataError(
                    f"{where}: '{row['id']}' is not a prompt of the input as it is now ({len(wanted)} rows were read); "
                    f"raise or leave out limit if it was left out by it, or name another file"
                )
            if list(wanted[row["id"]]) != row.get("messages"):
                raise DataError(f"{where}: '{row['id']}' is not a prompt of the input as it is now; name another file")
            done.add(row["id"])
        reports, reports_kept = _rows(self.report, [_head(id=name, where="")[:-1] for name in wanted])
        for number, row in enumerate(reports, start=1):
            if row.get("status") not in ("ok", "failed"):
                raise DataError(f"{self.report}:{number}: not a report that was written here; name another output file")
        _mend(self._files[0], kept)
        _mend(self._files[1], reports_kept)
        return done

    def keep(self, report: Mapping[str, Any], row: Mapping[str, Any] | None) -> None:
        """Append what happened to a row, and the row itself unless it failed."""
        _append(self._files[1], report)
        if row is not None:
            _append(self._files[0], row)

    def finish(self, order: Sequence[str]) -> None:
        """Bring both files to the order of the ids ``order``; of several reports of one row the last one stays."""
        for path in (self.path, self.report):
            latest = {row["id"]: row for row in _rows(path)[0]}
            lines = [_line(latest[name]) for name in order if name in latest]
            with atomic_file(path, "wb") as out:
                out.writelines(lines)


def report_of(path: Path) -> Path:
    """Return where the report of an output file stands."""
    return path.with_name(f"{path.stem}.report.jsonl")


def _mend(file: int, kept: int) -> None:
    """Cut the file after ``kept`` bytes, and end the last row where only its newline is missing."""
    os.ftruncate(file, kept)
    if kept and os.pread(file, 1, kept - 1) != b"\n":
        os.write(file, b"\n")


def _append(file: int, row: Mapping[str, Any]) -> None:
    line = _line(row)
    if os.write(file, line) != len(line):
        raise StageError("a row could not be written whole; free some space, the same command goes on from here")


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _head(**first: Any) -> bytes:
    """Return how the line of a row begins that has these keys first."""
    return _line(first)[: -len(b"}\n")]


def _rows(path: Path, heads: Sequence[bytes] = ()) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a file, and the length of what they fill: all but a torn last line that has one of ``heads``.

    Lines end only at a newline: text may hold U+2028 and other characters that end a line elsewhere.
    """
    rows: list[dict[str, Any]] = []
    content = path.read_bytes()
    *lines, tail = content.split(b"\n")
    for number, line in enumerate([*lines, tail] if tail else lines, start=1):
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            if number > len(lines) and any(tail.startswith(head) or head.startswith(tail) for head in heads):
                return rows, len(content) - len(tail)
            raise DataError(f"{path}:{number}: not JSON ({error}); name another output file") from error
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise DataError(f"{path}:{number}: not a row that was written here; name another output file")
        rows.append(row)
    return rows, len(content)
