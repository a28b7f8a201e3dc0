"""What several commands take: whole numbers, and ``plugins=[my_lab.rewards]`` where no recipe is composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import Parameter

from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import load_plugins

if TYPE_CHECKING:
    from cyclopts import Token


def whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Return a whole number; the parser on its own would round 3.5 and read none as nothing."""
    value = tokens[0].value
    if not value.removeprefix("-").isdecimal():
        raise ValueError(f"'{value}' is not a whole number")
    return int(value)


WHOLE = Parameter(converter=whole_number)


def load_named(plugins: str | None) -> None:
    """Import the modules that ``plugins`` lists, as YAML writes a list, and those of installed packages.

    Raises:
        ConfigError: ``plugins`` is not a list of modules, or one of them cannot be imported.
    """
    if plugins is None:
        load_plugins([])
        return
    modules = [name.strip().strip("'\"") for name in plugins.removeprefix("[").removesuffix("]").split(",")]
    if not all(part.isidentifier() for name in modules for part in name.split(".")):
        raise ConfigError(f"plugins: '{plugins}' is not a list of modules; write plugins=[my_lab.rewards]")
    load_plugins(modules)
