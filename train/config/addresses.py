"""Where a stage's servers are: written by the launcher that started them, read by the worker. No part of any key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adhere.rewards.errors import ConfigError


def addresses_file(artifact: Path) -> Path:
    """Return the file in an artifact's folder that holds the addresses of its running servers."""
    return artifact / "servers.json"


def with_addresses(recipe: dict[str, Any], artifact: Path) -> dict[str, Any]:
    """Put the addresses of running servers into ``recipe``, the plain values of ``stage.yaml``, and return it.

    A key that has an address is no longer one to serve. Without the file nothing changes: no server was started.

    Raises:
        ConfigError: the file names a key that the recipe does not have.
    """
    path = addresses_file(artifact)
    if not path.exists():
        return recipe
    for key, values in json.loads(path.read_text(encoding="utf-8")).items():
        section: Any = recipe
        for part in key.split("."):
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise ConfigError(f"{path}: '{key}' is no section of the recipe; remove the file and run the command again")
        section.update(values)
        if "serve" in section:
            section["serve"] = None
    return recipe
