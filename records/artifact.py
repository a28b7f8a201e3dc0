"""The artifact: a folder that a stage writes, with ``DONE`` last."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adhere.rewards.errors import StageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

EXIT_STOPPED = 85
"""Exit code of a worker that ended because it was asked to; launchers rewrite codes, so ``REQUEUE`` says it too."""

STOP_CLEARED = "ADHERE_STOP_CLEARED"
"""Set for a worker whose launcher removed an old ``STOP`` itself: one that came while the worker loaded then counts."""


class Stopped(Exception):
    """A stage ended early because it was asked to; it goes on from ``step`` when it is run again."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step


@dataclass(frozen=True, slots=True)
class Artifact:
    """The folder of one stage.

    ``stage.yaml`` is what the worker reads, ``model/`` the weights handed on, ``manifest.json`` what was made of what,
    ``metrics.jsonl`` one row a logging step, ``rollouts/`` one parquet file a GRPO step, ``logs/`` one file an attempt,
    ``checkpoints/`` what a killed stage resumes from. ``DONE`` is written last.

    Three more files are how a stage and whoever runs it speak: ``STOP``, touched from outside, asks the worker to write
    a checkpoint and end; ``REQUEUE`` (``{"step": n}``) says that it did; ``FAILED`` (``{"message": ...}``) that the
    stage ended by an error of its own, which running it again would only repeat. A crash leaves neither.
    """

    path: Path

    @property
    def done(self) -> bool:
        """Whether the stage has ended."""
        return (self.path / "DONE").exists()

    @property
    def spec(self) -> Path:
        """The resolved configuration that the worker reads."""
        return self.path / "stage.yaml"

    @property
    def model(self) -> Path:
        """The weights that the next stage starts from."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """Where training saves what it can resume from."""
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """One log file per attempt."""
        return self.path / "logs"

    @property
    def stop(self) -> Path:
        """Asks the running worker to end at its next step."""
        return self.path / "STOP"

    @property
    def requeue(self) -> Path:
        """Says that the worker ended because it was asked to, and at which step."""
        return self.path / "REQUEUE"

    @property
    def failed(self) -> Path:
        """Says that the stage ended by an error of its own, and which."""
        return self.path / "FAILED"

    @property
    def timing(self) -> Path:
        """Seconds of a step and of a checkpoint, measured by the worker."""
        return self.path / "timing.json"

    def begin(self, *, keep_stop: bool = False) -> None:
        """Remove what an earlier attempt said; with ``keep_stop`` the ``STOP`` there is meant for this one."""
        for marker in (self.requeue, self.failed, *(() if keep_stop else (self.stop,))):
            marker.unlink(missing_ok=True)

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, then ``DONE``; checkpoints are no longer needed and go."""
        write_json(self.path / "manifest.json", manifest)
        (self.path / "DONE").touch()
        self.stop.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


@contextlib.contextmanager
def held(artifact: Artifact) -> Iterator[None]:
    """Hold the artifact for this process, so that two runs never write one folder.

    Raises:
        StageError: another live process holds it.
    """
    with (artifact.path / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(
                f"{artifact.path}: another process is running this stage; wait for it or end it"
            ) from error
        yield


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return every complete ``checkpoint-N`` below ``folder`` by its optimizer step N."""
    return {int(path.parent.name.rpartition("-")[2]): path.parent for path in folder.glob("checkpoint-*/COMPLETE")}


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete ``checkpoint-N`` below ``folder``; incomplete ones, cut off by a kill, are removed."""
    complete = complete_checkpoints(folder)
    for path in {*folder.glob("checkpoint-*")} - {*complete.values()}:
        shutil.rmtree(path, ignore_errors=True)  # every rank removes it
    return complete[max(complete)] if complete else None


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` to ``path`` under a temporary name first, so that a reader never sees half of it.

    Raises:
        StageError: the disk is full, or the folder closed to us; under ``path``'s name is what was there before.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def write_yaml(path: Path, content: Any) -> None:
    """Write ``content`` as YAML, atomically."""
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        remedy = "free some space" if error.errno in NO_SPACE else "choose another run.root, or let this user write it"
        raise StageError(
            f"{path}: cannot be written ({error.strerror}); {remedy}, and run the same command again"
        ) from error
