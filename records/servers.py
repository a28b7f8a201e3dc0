"""Where a stage's servers are: written by the launcher that started them, read by the worker. No part of any key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adhere.records.artifact import Artifact
from adhere.records.objects import read_object
from adhere.rewards.errors import ConfigError


def with_addresses(recipe: dict[str, Any], artifact: Path) -> dict[str, Any]:
    """Put the addresses of running servers into ``recipe``, the plain values of ``stage.yaml``, and return it.

    A key that has an address is no longer one to serve. Without the file nothing changes: no server was started.

    Raises:
        ConfigError: the file names a key that the recipe does not have.
        DataError: the file cannot be read.
    """
    path = Artifact(artifact).servers
    for key, values in read_object(path).items():
        section: Any = recipe
        for part in key.split("."):
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: '{key}' is not a section of the recipe; remove the file")
        section.update(values)
        if "serve" in section:
            section["serve"] = None
    return recipe
