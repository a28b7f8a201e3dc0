"""Sizes and SHA-256 checksums of the files in a folder, to compare with before they are used.

Standard library only. Files are read in pieces, several at a time: hashlib lets other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from adhere.rewards.files import sync_folder

AT_A_TIME = 4
"""Files that are read at a time; of sharded weights each shard is one."""

QUICK = 256 * 2**20
"""Bytes up to which `plan` and `train` read a model or checkpoint: about a quarter of a second. Above it they compare
sizes; the stage that starts from it, and `adhere doctor RUN`, read everything."""


def record(folder: Path, left_out: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Return ``{"bytes": n, "sha256": hex}`` of every file below ``folder``, by its relative path.

    Args:
        folder: read with all its subfolders.
        left_out: relative paths that are not recorded.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    kept = [name for name in names if name not in set(left_out)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        sums = pool.map(sha256, (folder / name for name in kept))
        return {
            name: {"bytes": (folder / name).stat().st_size, "sha256": checksum}
            for name, checksum in zip(kept, sums, strict=True)
        }


def find_damage(folder: Path, recorded: Mapping[str, Mapping[str, Any]], limit: float = math.inf) -> str | None:
    """Return what first differs between the files of ``folder`` and what was recorded of them; ``None`` for nothing.

    Args:
        folder: where the files are; others beside them do not count.
        recorded: what :func:`record` returned when they were written.
        limit: bytes of all files together up to which their content is compared; above it only their sizes are.
    """
    for name, was in recorded.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            return f"{folder.name}/{name} {'is missing' if isinstance(error, FileNotFoundError) else error.strerror}"
        if size != was["bytes"]:
            return f"{folder.name}/{name} has {size:,} bytes, {was['bytes']:,} were written"
    if sum(was["bytes"] for was in recorded.values()) > limit:
        return None
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for name, found in zip(recorded, pool.map(_readable, (folder / name for name in recorded)), strict=True):
            if found != recorded[name]["sha256"]:
                why = "cannot be read" if found is None else "does not have the content that was written"
                return f"{folder.name}/{name} {why}"
    return None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readable(path: Path) -> str | None:
    """Return the checksum, ``None`` where the disk refuses to read the file: that is damage too."""
    try:
        return sha256(path)
    except OSError:
        return None


def sync_tree(folder: Path) -> None:
    """Bring every file below ``folder``, and the names in it and of it, to the disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            opened = os.open(Path(root) / name, os.O_RDONLY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
        sync_folder(Path(root))
    sync_folder(folder.parent)
