"""The artifact: a folder that a stage writes, with ``DONE`` last. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.records.checksums import find_damage, record, sync_tree
from adhere.records.objects import read_object
from adhere.rewards.errors import DataError, StageError
from adhere.rewards.files import sync_folder, write_json

SCHEMA = 3
"""Version of what a run writes: plans, manifests and tables. 1 is what adhere wrote before it had this number, 2
before rollouts and responses had the noise of their row (`evaluation.backends.decoding`)."""

EXIT_STOPPED = 85
"""Exit code of a worker that ended because it was asked to; launchers rewrite codes, so ``REQUEUE`` says it too."""

NEXT_STAGE = "\x1e"
"""Written by a worker of several stages between their outputs: ASCII's record separator."""

STOP_CLEARED = "ADHERE_STOP_CLEARED"
"""Set for a worker whose launcher removed an old ``STOP`` itself: one that came while the worker loaded then counts."""

DONE, STOP, FAILED, SPEC, SERVERS = "DONE", "STOP", "FAILED", "stage.yaml", "servers.json"
RESULTS, TABLE, LOG = "results.json", "responses.parquet", "responses.jsonl"
REHEARSAL, PAIRS = "rehearsal.json", "pairs.jsonl"
MANIFEST, COMPLETE = "manifest.json", "COMPLETE"
NOT_THE_MODEL = (DONE, "*.partial", "checkpoint-*")
"""Patterns of what lies in a folder of weights and is not part of the model."""

EDITABLE = ("README.md", "generation_config.json")
"""Files beside the weights that people change by hand: they have no checksum."""

IN_TEMPLATES = {
    "done_file": DONE, "stop_file": STOP, "failed_file": FAILED, "spec_file": SPEC, "servers_file": SERVERS,
}  # fmt: skip
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
    ``metrics.jsonl`` one row a logging step, ``rollouts/`` one parquet file a generation, ``logs/`` one file an
    attempt, ``checkpoints/`` what a killed stage resumes from. ``DONE`` is written last.

    Three more files are how a stage and whoever runs it speak: ``STOP``, touched from outside, asks the worker to write
    a checkpoint and end; ``REQUEUE`` (``{"step": n}``) says that it did; ``FAILED`` (``{"message": ...}``) that the
    stage ended by an error of its own, which running it again would only repeat. A crash leaves neither.

    ``DAMAGED`` (``{"message": ...}``) says that the finished weights are no longer what was written, so that the next
    run makes the stage again.

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
    def held_out(self) -> Path:
        """One row an evaluation while training."""
        return self.path / "held_out.jsonl"

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
        return self.path / FAILED

    @property
    def damaged(self) -> Path:
        """Says that somebody who read the finished weights found them damaged, and how."""
        return self.path / "DAMAGED"

    @property
    def timing(self) -> Path:
        """Seconds of a step and of a checkpoint, measured by the worker."""
        return self.path / "timing.json"

    @property
    def handoff(self) -> Path:
        """What was found, before the first step, of the model that the stage starts from."""
        return self.path / "handoff.json"

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
        """Write the manifest, then ``DONE``; checkpoints are no longer needed and go.

        The manifest gets the version that wrote it and, of the files in ``model/``, sizes and checksums (``files``).
        They are on the disk before ``DONE`` is.
        """
        files = {}
        if self.model.is_dir():
            sync_tree(self.model)
            files = {"files": record(self.model, EDITABLE)}
        write_json(self.path / MANIFEST, {"schema": SCHEMA, **manifest, **files})
        self.damaged.unlink(missing_ok=True)
        (self.path / DONE).touch()
        sync_folder(self.path)
        self.stop.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def damage(self, limit: float = math.inf, *, weights: bool = False) -> str | None:
        """Return in what the weights of the finished stage are not what it wrote; ``None`` where they are whole.

        Args:
            limit: bytes up to which their content is compared with the checksums; above it only sizes are.
            weights: whether the stage makes weights. An artifact of an earlier version, which has no checksums, is then
                looked at, too: a configuration and weights have to be there.

        Raises:
            DataError: a later version of adhere wrote it.
        """
        if self.damaged.exists():
            return str(read_marker(self.damaged).get("message", "was found damaged"))
        try:
            manifest = read_object(self.path / MANIFEST)
        except DataError:
            return f"{MANIFEST} is damaged"
        check_schema(self.path / MANIFEST, manifest)
        recorded = manifest.get("files")
        if recorded is None and not weights:
            return None
        if not self.model.is_dir():
            return "model/ is missing"
        if recorded is not None:
            return find_damage(self.model, recorded, limit)
        if not any((self.model / name).is_file() for name in ("config.json", "adapter_config.json")):
            return "model/ holds neither config.json nor adapter_config.json"
        written = [*self.model.glob("*.safetensors"), *self.model.glob("*.bin")]
        found = (f"model/{path.name} is empty" for path in written if not path.stat().st_size)
        return next(found, None) if written else "model/ holds no weights"

    def mark_damaged(self, reason: str) -> None:
        """Say that the finished weights were read and found damaged; no one has to read them again to know."""
        if os.access(self.path, os.W_OK):
            write_json(self.damaged, {"message": reason})

    def reopen(self) -> None:
        """Let the stage be made again: it is no longer done. What it wrote stays until it is replaced."""
        (self.path / DONE).unlink(missing_ok=True)
        self.damaged.unlink(missing_ok=True)


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
    """Return the file that says that every rank has written its part of ``checkpoint``, and what was written."""
    return checkpoint / COMPLETE


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return every complete ``checkpoint-N`` below ``folder`` by its optimizer step N, whole or damaged since."""
    return {int(path.parent.name.rpartition("-")[2]): path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")}


def seal_checkpoint(checkpoint: Path) -> None:
    """Write ``COMPLETE``: sizes and checksums of all files, which are on the disk before it is.

    It is the last step of a checkpoint, after every rank has written, and synced, its part.
    """
    complete(checkpoint).unlink(missing_ok=True)
    sync_tree(checkpoint)
    write_json(complete(checkpoint), {"schema": SCHEMA, "files": record(checkpoint)})


def checkpoint_damage(checkpoint: Path, limit: float = math.inf) -> str | None:
    """Return in what a complete checkpoint is not what was written; ``None`` where it is whole.

    One of an earlier version has an empty ``COMPLETE`` and no checksums. Its files are looked at as far as their
    formats allow: JSON is parsed, archives of ``torch.save`` have checksums of their own, safetensors say their length.

    Args:
        checkpoint: a folder with ``COMPLETE``.
        limit: bytes up to which content is read; above it only sizes are compared.
    """
    marker = complete(checkpoint)
    try:
        written = marker.read_bytes()
        recorded = json.loads(written)["files"] if written else None
        recorded = recorded and {name: {key: of[key] for key in ("bytes", "sha256")} for name, of in recorded.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{checkpoint.name}/{COMPLETE} is damaged"
    if recorded is not None:
        return find_damage(checkpoint, recorded, limit)
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path != marker]
    read = sum(path.stat().st_size for path in files) <= limit
    for path in files:
        if not path.stat().st_size or (read and not _well_formed(path)):
            return f"{path.relative_to(checkpoint.parent).as_posix()} is empty or cut off"
    absent = files and not (checkpoint / "trainer_state.json").exists()
    return f"{checkpoint.name}/trainer_state.json is missing" if absent else None


def _well_formed(path: Path) -> bool:
    """Return whether a file of a checkpoint without checksums is what its name says, as far as its format tells."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix in (".pt", ".pth", ".bin"):
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        elif path.suffix == ".safetensors":
            with path.open("rb") as file:
                header = int.from_bytes(file.read(8), "little")
                tensors = json.loads(file.read(min(header, path.stat().st_size)))
            ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
            return 8 + header + max(ends, default=0) == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
    return True


def newest_whole(folder: Path, limit: float = math.inf) -> tuple[Path | None, dict[Path, str]]:
    """Return the newest complete ``checkpoint-N`` below ``folder`` that is whole, and what is wrong with newer ones.

    Args:
        folder: of the checkpoints.
        limit: as of :func:`checkpoint_damage`.
    """
    damaged: dict[Path, str] = {}
    for _, path in sorted(complete_checkpoints(folder).items(), reverse=True):
        reason = checkpoint_damage(path, limit)
        if reason is None:
            return path, damaged
        damaged[path] = reason
    return None, damaged


def newest_checkpoint(folder: Path, report: Callable[[str], object] = lambda message: None) -> Path | None:
    """Return the newest whole ``checkpoint-N`` below ``folder``, for one process to go on from.

    Incomplete ones, cut off by a kill, are removed, and so are damaged ones that are newer than a whole one.

    Args:
        folder: of the checkpoints.
        report: gets a sentence for each damaged one that is passed over.

    Raises:
        StageError: there are complete checkpoints, and none of them is whole; they are left as they are.
    """
    for path in {*folder.glob("checkpoint-*")} - {*complete_checkpoints(folder).values()}:
        shutil.rmtree(path, ignore_errors=True)
    found, damaged = newest_whole(folder)
    if found is None and damaged:
        raise StageError(
            f"{folder}: no checkpoint is whole ({'; '.join(damaged.values())}); bring one back from a copy, or remove "
            f"that folder to train the stage from its start"
        )
    for path, reason in damaged.items():
        assert found is not None
        report(f"{path.name} is damaged ({reason}) and is removed; training goes on from {found.name}")
        shutil.rmtree(path, ignore_errors=True)
    return found
