"""Writing JSON lines, plain or gzip-compressed, so that a file under its final name is always whole."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from adhere.rewards.errors import StageError

PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_text(path: Path) -> Iterator[IO[str]]:
    """Write to ``path.partial`` and rename it when the block ends well, so that ``path`` is whole or absent.

    A name that ends in ``.gz`` is compressed. Missing parent folders are made.

    Raises:
        StageError: the folder or file cannot be made.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open(partial, compressed=path.suffix == ".gz")
    except OSError as error:
        raise StageError(f"{path}: cannot be written ({error.strerror}); name another place for it") from error
    with file as out:
        yield out
    partial.replace(path)


def dump(row: Any, indent: int | None = None) -> str:
    """Return JSON with a newline at the end; NaN is refused, since other readers would choke on it.

    Half of a surrogate pair, which UTF-8 cannot hold, is written as JSON escapes it: ``\\ud800``.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _open(path: Path, compressed: bool) -> IO[str]:
    if compressed:
        return cast(IO[str], gzip.open(path, "wt", encoding="utf-8"))
    return path.open("w", encoding="utf-8")
