"""``plugins=[my_lab.rewards]`` for the commands that compose no recipe."""

from __future__ import annotations

from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import load_plugins


def load_named(plugins: str | None) -> None:
    """Import the modules that ``plugins`` lists, as YAML writes a list, and those of installed packages.

    Raises:
        ConfigError: ``plugins`` is not a list of modules, or one of them cannot be imported.
    """
    modules = [
        part.strip().strip("'\"") for part in (plugins or "[]").strip().removeprefix("[").removesuffix("]").split(",")
    ]
    if plugins is not None and not all(part.isidentifier() for name in modules for part in name.split(".")):
        raise ConfigError(f"plugins: '{plugins}' is not a list of modules; write plugins=[my_lab.rewards]")
    load_plugins([name for name in modules if name])
