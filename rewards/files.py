"""Writing a file so that its name never stands for half of it: atomic, and on the disk before the name appears.

And text without what UTF-8 cannot hold.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal, overload

from adhere.rewards.errors import StageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: JSON's escapes can write it, UTF-8 and tokenizers cannot hold it."""


def whole_characters(text: str) -> str:
    """Return ``text`` with U+FFFD for each lone surrogate, so that it can be sent and written."""
    return LONE_SURROGATE.sub("\ufffd", text)


@overload
def atomic_file(path: Path, mode: Literal["w"] = "w") -> contextlib.AbstractContextManager[IO[str]]: ...
@overload
def atomic_file(path: Path, mode: Literal["wb"]) -> contextlib.AbstractContextManager[IO[bytes]]: ...
@contextlib.contextmanager
def atomic_file(path: Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the name ``path`` when the block ends without an error.

    The content goes to a temporary name in the same folder, is flushed and fsynced, and is renamed; then the folder is
    fsynced. Where the block fails, what was at ``path`` before stays. Missing parent folders are made. A name that
    ends in ``.gz`` is compressed. Text is UTF-8.

    Raises:
        StageError: the disk is full, or the folder or file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = temporary.open("wb")
        except OSError as error:
            raise _refused(path, error) from error
        try:
            with raw:
                packed = gzip.GzipFile("", "wb", fileobj=raw) if path.suffix == ".gz" else raw
                out: IO[Any] = io.TextIOWrapper(packed, encoding="utf-8") if mode == "w" else packed  # type: ignore[assignment]
                yield out
                out.flush()
                if packed is not raw:
                    packed.close()
                raw.flush()
                os.fsync(raw.fileno())
        except OSError as error:  # also of the close, which flushes what could not be written once more
            if error.errno in NO_SPACE:  # any other comes from what the block reads, and says so itself
                raise _refused(path, error) from error
            raise
        try:
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise _refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, atomically.

    Raises:
        StageError: as :func:`atomic_file`.
    """
    with atomic_file(path) as out:
        out.write(text)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` to ``path`` as indented JSON with sorted keys, atomically.

    Raises:
        StageError: as :func:`atomic_file`.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk, so that a rename outlives a power failure."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _refused(path: Path, error: OSError) -> StageError:
    remedy = (
        "free some space"
        if error.errno in NO_SPACE
        else "choose another folder (run.root for a run), or let this user write it"
    )
    return StageError(f"{path}: cannot be written ({error.strerror}); {remedy}, and run the same command again")
