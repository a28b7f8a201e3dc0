"""The artifact: a folder that a stage writes, with ``DONE`` last. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.records.objects import read_object
from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import write_json

SCHEMA = 2
"""Version of what a run writes: plans, manifests and tables. 1 is what adhere wrote before it had this number."""

EXIT_STOPPED = 85
"""Exit code of a worker that ended because it was asked to; launchers rewrite codes, so ``REQUEUE`` says it too."""

NEXT_STAGE = "\x1e"
"""Written by a worker of several stages between their outputs: ASCII's record separator."""

STOP_CLEARED = "ADHERE_STOP_CLEARED"
"""Set for a worker whose launcher removed an old ``STOP`` itself: one that came while the worker loaded then counts."""

DONE, STOP, SPEC, SERVERS = "DONE", "STOP", "stage.yaml", "servers.json"
RESULTS, TABLE, LOG = "results.json", "responses.parquet", "responses.jsonl"
REHEARSAL, PAIRS = "rehearsal.json", "pairs.jsonl"
MANIFEST, COMPLETE = "manifest.json", "COMPLETE"
NOT_THE_MODEL = (DONE, "*.partial", "checkpoint-*")
"""Patterns of what lies in a folder of weights and is not part of the model."""

IN_TEMPLATES = {"done_file": DONE, "stop_file": STOP, "spec_file": SPEC, "servers_file": SERVERS}
"""Names that the templates in ``slurm/`` use, by the words that stand for them in a template."""


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

    On a cluster ``slurm.json`` names the job that makes the artifact, and ``attempts.json`` counts its crashes;
    ``servers.json`` has the addresses of the servers that run beside the worker.
    """

    path: Path

    @property
    def done(self) -> bool:
        """Whether the stage has ended."""
        return (self.path / DONE).exists()

    @property
    def spec(self) -> Path:
        """The resolved configuration that the worker reads."""
        return self.path / SPEC

    @property
    def model(self) -> Path:
        """The weights that the next stage starts from."""
        return self.path / "model"

    @property
    def card(self) -> Path:
        """The model card, beside the weights."""
        return self.model / "README.md"

    @property
    def checkpoints(self) -> Path:
        """Where training saves what it can resume from."""
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """One log file per attempt."""
        return self.path / "logs"

    @property
    def metrics(self) -> Path:
        """One row a logging step."""
        return self.path / "metrics.jsonl"

    @property
    def alarms(self) -> Path:
        """One row an alarm of the monitors."""
        return self.path / "alarms.jsonl"

    @property
    def figures(self) -> Path:
        """One row a generation: what the monitors look at."""
        return self.path / "monitors.jsonl"

    @property
    def rollouts(self) -> Path:
        """One parquet file a generation."""
        return self.path / "rollouts"

    @property
    def results(self) -> Path:
        """What an evaluation measured."""
        return self.path / RESULTS

    @property
    def responses(self) -> Path:
        """The scored responses of an evaluation."""
        return self.path / TABLE

    @property
    def stop(self) -> Path:
        """Asks the running worker to end at its next step."""
        return self.path / STOP

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

    @property
    def servers(self) -> Path:
        """Addresses of the servers that run beside the worker."""
        return self.path / SERVERS

    @property
    def job(self) -> Path:
        """Which job of a cluster makes the artifact."""
        return self.path / "slurm.json"

    @property
    def attempts(self) -> Path:
        """The number of crashes since the newest checkpoint."""
        return self.path / "attempts.json"

    @property
    def lock(self) -> Path:
        """Locked by the process that runs the stage; holds the name of its machine."""
        return self.path / ".lock"

    def data(self, role: str) -> Path:
        """Return the file that says which items the stage read as ``role`` (``train``, ``evaluation``)."""
        return self.path / f"{role}_data.json"

    def items(self, role: str) -> Path:
        """Return the file that holds the items that the stage reads as ``role``."""
        return self.path / f"{role}_items.jsonl"

    def manifest(self) -> dict[str, Any]:
        """Return what was made of what; nothing before the stage has ended.

        Raises:
            DataError: it is damaged, or a later version of adhere wrote it.
        """
        found = read_object(self.path / MANIFEST)
        check_schema(self.path / MANIFEST, found)
        return found

    def message(self) -> str:
        """Return why the stage failed; nothing where it did not."""
        return str(read_marker(self.failed).get("message", "")) if self.failed.exists() else ""

    def stopped_at(self) -> int | None:
        """Return the step at which the stage ended because it was asked to; ``None`` where it was not."""
        step = read_marker(self.requeue).get("step")
        return step if isinstance(step, int) else None

    def fail(self, message: str) -> None:
        """Say that the stage ended by an error of its own."""
        write_json(self.failed, {"message": message})

    def hand_back(self, step: int) -> None:
        """Say that the stage ended because it was asked to, at optimizer step ``step``."""
        write_json(self.requeue, {"step": step})

    def begin(self, *, keep_stop: bool = False) -> None:
        """Remove what an earlier attempt said; with ``keep_stop`` an existing ``STOP`` is meant for this one."""
        for marker in (self.requeue, self.failed, *(() if keep_stop else (self.stop,))):
            marker.unlink(missing_ok=True)

    def finish(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest and the version that wrote it, then ``DONE``; checkpoints are no longer needed and go."""
        write_json(self.path / MANIFEST, {"schema": SCHEMA, **manifest})
        (self.path / DONE).touch()
        self.stop.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def check_schema(path: Path, content: Mapping[str, Any]) -> None:
    """Check that this version can read a file.

    Raises:
        DataError: a later version of adhere wrote it.
    """
    schema = content.get("schema", 1)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise DataError(
            f"{path}: has schema {schema}, this version of adhere reads up to {SCHEMA}; a later version wrote it: "
            f"upgrade adhere, or name another run"
        )


def artifacts_below(root: Path) -> Path:
    """Return the folder of all artifacts of the runs in ``root``."""
    return root / "artifacts"


def begun_artifacts(root: Path) -> list[Artifact]:
    """Return the artifacts below ``root`` that measured something, the newest first.

    ``manifest.json`` or the last checkpoint's ``timing.json`` tell; a stage that is only planned has neither.
    """
    marks = [p for name in ("timing.json", MANIFEST) for p in artifacts_below(root).glob(f"*/{name}")]
    newest = sorted({p.parent: p.stat().st_mtime for p in marks}.items(), key=lambda pair: -pair[1])
    return [Artifact(path) for path, _ in newest]


def read_marker(path: Path) -> dict[str, Any]:
    """Return what a marker says; one that is being written, or was touched by hand, says nothing."""
    try:
        return read_object(path)
    except DataError:
        return {}


@contextlib.contextmanager
def held(artifact: Artifact) -> Iterator[None]:
    """Hold the artifact for this process, so that two runs never write one folder.

    Raises:
        StageError: another live process holds it.
    """
    with artifact.lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(
                f"{artifact.path}: another process is running this stage; wait for it or end it"
            ) from error
        lock.truncate(0)
        lock.write(socket.gethostname() + "\n")
        lock.flush()
        yield


def locked_inodes() -> frozenset[int]:
    """Return the inodes that a process of this machine holds a lock on; asking for the lock could disturb a worker."""
    table = Path("/proc/locks")
    if not os.access(table, os.R_OK):
        return frozenset()
    places = [word for line in table.read_text().splitlines() for word in line.split() if word.count(":") == 2]
    return frozenset(int(place.rpartition(":")[2]) for place in places if place.rpartition(":")[2].isdigit())


def complete(checkpoint: Path) -> Path:
    """Return the file that says that every rank has written its part of ``checkpoint``."""
    return checkpoint / COMPLETE


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return every complete ``checkpoint-N`` below ``folder`` by its optimizer step N."""
    return {int(path.parent.name.rpartition("-")[2]): path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")}


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete ``checkpoint-N`` below ``folder``; incomplete ones, cut off by a kill, are removed."""
    found = complete_checkpoints(folder)
    for path in {*folder.glob("checkpoint-*")} - {*found.values()}:
        shutil.rmtree(path, ignore_errors=True)  # every rank removes it
    return found[max(found)] if found else None
