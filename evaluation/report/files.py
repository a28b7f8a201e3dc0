"""What a stage's folder holds, read while the stage may still be writing it."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from adhere.rewards.errors import DataError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, in C where PyYAML was built with it."""

State = Literal["done", "ended early", "failed", "requeued", "stopping", "running or stopped", "not started"]
SETTLED: tuple[State, ...] = ("done", "ended early")
"""States of stages that wait for nothing: ``ended early`` are those of a point that successive halving ended."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a JSONL file, and how many of its lines were no JSON object."""

    rows: list[dict[str, Any]]
    unreadable: int = 0


def read_rows(path: Path) -> Rows:
    """Read a JSONL file that is being appended to; its last line is left out while it has no newline."""
    rows: list[dict[str, Any]] = []
    unreadable = 0
    if path.is_file():
        lines = path.read_bytes().split(b"\n")[:-1]
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                rows.append(row)
            else:
                unreadable += 1
    return Rows(rows, unreadable)


@functools.lru_cache(maxsize=512)
def _yaml(path: Path, written: int) -> Any:
    """Parse a YAML file, once a version: a resolved recipe takes long, and ``watch`` reads it again and again."""
    return yaml.load(path.read_text(encoding="utf-8"), LOADER)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON or YAML file, or nothing where there is no such file.

    Raises:
        DataError: the file holds something else.
    """
    if not path.is_file():
        return {}
    try:
        found = _yaml(path, path.stat().st_mtime_ns) if path.suffix == ".yaml" else json.loads(path.read_text("utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no object")
    return found


def read_plan(run: Path) -> dict[str, Any]:
    """Return a run's ``plan.json``: its ``stages`` in running order, and the ``evaluations`` of its models.

    Raises:
        DataError: it is not what a run writes.
    """
    plan = read_object(run / "plan.json")
    if not isinstance(plan.get("stages"), list) or not isinstance(plan.get("evaluations"), list):
        raise DataError(f"{run / 'plan.json'}: is damaged; the command that started the run writes it again")
    return plan


def stage_state(folder: Path) -> State:
    """Return where a stage stands, from the files of its folder alone.

    A stage that was killed leaves the same files as one that is running; both are ``running or stopped``.
    """
    if (folder / "DONE").exists():
        return "done"
    if (folder / "FAILED").exists():
        return "failed"
    if (folder / "REQUEUE").exists():
        return "requeued"
    if (folder / "STOP").exists():
        return "stopping"
    return "running or stopped" if (folder / "stage.yaml").exists() else "not started"


def rollout_files(folder: Path) -> list[Path]:
    """Return a stage's rollout files, by step."""
    return sorted((folder / "rollouts").glob("step_*.parquet"))
