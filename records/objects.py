"""JSON and YAML files that hold one object. YAML is imported where such a file is read or written, and not before."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from adhere.rewards.errors import DataError
from adhere.rewards.files import write_text


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON or YAML file, or an empty one where the file does not exist.

    Raises:
        DataError: the file holds something else, or is not readable as what its name says.
    """
    if not path.is_file():
        return {}
    try:
        if path.suffix in (".yaml", ".yml"):
            found = _yaml(path, path.stat().st_mtime_ns)
        else:
            found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: cannot be read ({error}); run the command that wrote it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: does not hold an object of keys and values; run the command that wrote it again")
    return found


@functools.lru_cache(maxsize=512)
def _yaml(path: Path, written: int) -> Any:
    """Parse a YAML file, once a version: a resolved recipe takes long, and ``watch`` reads it again and again."""
    import yaml

    try:
        # in C where PyYAML was built with it
        return yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def write_yaml(path: Path, content: Any) -> None:
    """Write ``content`` as YAML, atomically.

    Raises:
        StageError: the disk is full, or the file cannot be written.
    """
    import yaml

    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
