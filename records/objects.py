"""JSON and YAML files that hold one object. YAML is imported where such a file is read or written, and not before."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

from adhere.rewards.errors import DataError
from adhere.rewards.files import write_text

MOST_VALUES = 100_000
"""Values that the aliases of a YAML file may stand for: a few lines of nested ones would fill the memory."""


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
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: cannot be read ({error}); run the command that wrote it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: does not hold an object of keys and values; run the command that wrote it again")
    return found


def check_aliases(path: Path, text: str) -> None:
    """Check that the aliases of a YAML file stand for few values, before anything expands them.

    Raises:
        DataError: they stand for more than ``MOST_VALUES``, or for a value that holds itself.
    """
    if "&" not in text or "*" not in text:
        return
    import yaml

    try:
        root = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return  # whoever reads the file says what is wrong with it
    sizes: dict[int, float] = {}

    def size(node: Any) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # until its own parts are counted: a value that holds itself has no end
            inner = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
            sizes[id(node)] = 1 + sum(size(part) for part in parts)
        return sizes[id(node)]

    try:
        few = root is None or size(root) <= MOST_VALUES
    except RecursionError:
        few = False
    if not few:
        raise DataError(
            f"{path}: its aliases (*name) stand for more than {MOST_VALUES:,} values, or for one that holds itself; "
            f"write out what they stand for"
        )


@functools.lru_cache(maxsize=512)
def _yaml(path: Path, written: int) -> Any:
    """Parse a YAML file, once a version: a resolved recipe takes long, and ``watch`` reads it again and again."""
    import yaml

    text = path.read_text(encoding="utf-8")
    check_aliases(path, text)
    try:
        # in C where PyYAML was built with it
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def write_yaml(path: Path, content: Any) -> None:
    """Write ``content`` as YAML, atomically.

    Raises:
        StageError: the disk is full, or the file cannot be written.
    """
    import yaml

    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
