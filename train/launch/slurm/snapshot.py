"""The copy of the code that queued jobs run: editing the checkout after submitting changes nothing for them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import adhere
from adhere.rewards.errors import StageError

LEFT_OUT = {"__pycache__", "local"}
"""``recipes/local`` holds a user's own paths; a worker composes nothing and needs none."""


def snapshot(root: Path) -> Path:
    """Copy the package to ``root/code/<hash of their content>`` unless they are there, and return that folder.

    Raises:
        StageError: the folder cannot be written.
    """
    source = Path(adhere.__file__).resolve().parent.parent
    files = sorted(_files(source / "adhere"))
    content = hashlib.sha256()
    for path in files:
        content.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode())
        content.update(path.read_bytes())
    target = root / "code" / content.hexdigest()[:12]
    if target.is_dir():
        return target
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        for path in files:
            copy = temporary / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.is_dir():
            return target
        raise StageError(
            f"{target}: the code cannot be copied there ({error.strerror}); choose another run.root"
        ) from error
    return target


def _files(package: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(package, followlinks=True):
        names[:] = [name for name in names if name not in LEFT_OUT]
        yield from (Path(folder) / name for name in files)
