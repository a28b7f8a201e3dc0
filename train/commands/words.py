"""What several commands take: whole numbers, and ``plugins=[my_lab.rewards]`` where no recipe is composed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cyclopts import Parameter

from adhere.records.names import ONLY, slug
from adhere.records.plan import StageRecord
from adhere.rewards.errors import ConfigError, nearest
from adhere.rewards.plugins import load_plugins

if TYPE_CHECKING:
    from cyclopts import Token


def whole_number(_: object, tokens: Sequence[Token]) -> int:
    """Return a whole number; the parser on its own would round 3.5 and read none as nothing."""
    value = tokens[0].value
    if not value.removeprefix("-").isdecimal():
        raise ValueError(f"'{value}' is not a whole number")
    return int(value)


def stages_called(stages: Sequence[StageRecord], word: str) -> list[StageRecord]:
    """Return the stages of a plan that ``word`` means: by a label, else by a stage's name, else all of an arm.

    Raises:
        ConfigError: it means none.
    """
    found = [stage for stage in stages if word in (stage.label, slug(stage.label))]
    found = found or [stage for stage in stages if word == stage.name]
    found = found or [stage for stage in stages if word in stage.arms]
    if not found:
        labels = [stage.label for stage in stages]
        arms = list(dict.fromkeys(arm for stage in stages for arm in stage.arms if arm != ONLY))
        beside = f", and the arms {', '.join(arms)}" if arms else ""
        raise ConfigError(
            f"{word}: the run has no such stage{nearest(word, [*labels, *arms])}; it has {', '.join(labels)}{beside}"
        )
    return found


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
