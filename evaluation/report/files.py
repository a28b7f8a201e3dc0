"""What a stage's folder holds, read while the stage may still be writing it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from rewards.errors import DataError

State = Literal["done", "failed", "requeued", "stopping", "running or stopped", "not started"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file that is being appended to; a last line cut off in the middle is left out.

    Raises:
        DataError: a line that has its newline is not a JSON object.
    """
    return list(_rows(path))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: is not JSON ({error.msg}); remove the line") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: is not a JSON object; remove the line")
            yield row


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON or YAML file, or nothing where there is no such file.

    Raises:
        DataError: the file holds something else.
    """
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    try:
        found = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no object")
    return found


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
