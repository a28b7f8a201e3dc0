"""Writing JSON lines, plain or gzip-compressed, so that a file under its final name is always whole."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_text(path: Path) -> Iterator[IO[str]]:
    """Write to ``path.partial`` and rename it when the block ends well, so that ``path`` is whole or absent.

    A name that ends in ``.gz`` is compressed. Missing parent folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    with _open(partial, compressed=path.suffix == ".gz") as out:
        yield out
    partial.replace(path)


def dump(row: Any, indent: int | None = None) -> str:
    """Return JSON with a newline at the end; NaN is refused, since other readers would choke on it."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"


def _open(path: Path, compressed: bool) -> IO[str]:
    if compressed:
        return cast(IO[str], gzip.open(path, "wt", encoding="utf-8"))
    return path.open("w", encoding="utf-8")
