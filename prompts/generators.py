"""Data generators: functions that make problems, named in a recipe by ``{generator: NAME}``.

reasoning-gym's generators have their own names; ours (``word_problems``, ``general``) and a plug-in's are registered
here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from adhere.prompts.config import SourceConfig
from adhere.prompts.item import PromptItem, Row
from adhere.rewards.errors import DataError, nearest
from adhere.rewards.registry import Registry

Problems = Iterable[Mapping[str, Any] | PromptItem]


def _problem(name: str, function: Callable[..., Problems]) -> str | None:
    if not callable(function) or isinstance(function, type):
        return "is not a function"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is async; write a plain function that returns or yields problems"
    try:
        inspect.signature(function).bind(size=1, seed=0)
    except TypeError as error:
        return f"cannot be called as (size, seed, **params): {error}; give every further argument a default"
    return None


GENERATORS: Registry[Callable[..., Problems]] = Registry("data generator", _problem)
"""Generators of ours and of plug-ins: functions of ``(size, seed, **params)``."""

data_generator = GENERATORS.register


def read_registered(config: SourceConfig) -> Iterator[Row]:
    """Yield ``config.size`` problems of a registered generator: its mappings, or prompt items as mappings.

    Raises:
        DataError: it yields fewer than ``config.size``, or what is not a problem, or reasoning-gym has its name.
    """
    from reasoning_gym.factory import DATASETS

    name = config.generator or ""
    if name in DATASETS:
        raise DataError(f"generator '{name}': reasoning-gym has one of that name; register yours under another")
    check_params(config)
    count = 0
    for problem in islice(GENERATORS[name](size=config.size, seed=config.seed, **config.params), config.size):
        where = f"generator '{name}' (seed {config.seed}) problem {count}"
        if not isinstance(problem, Mapping | PromptItem):
            raise DataError(f"{where}: is a {type(problem).__name__}; yield a mapping with question and answer")
        values = problem.to_dict() if isinstance(problem, PromptItem) else problem
        yield Row(values, f"{config.seed}-{count}", where)
        count += 1
    if count < (config.size or 0):
        raise DataError(f"generator '{name}': made {count} problems, size asks for {config.size}; lower size")


def check_params(config: SourceConfig) -> None:
    """Check that a registered generator takes ``config.params``; no problem is made.

    Raises:
        DataError: it does not take one of them.
    """
    name = config.generator or ""
    parameters = inspect.signature(GENERATORS[name]).parameters
    known = [key for key in parameters if key not in ("size", "seed")]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in config.params:
        if key not in known:
            raise DataError(f"generator '{name}': params.{key} is not one of its arguments{nearest(key, known)}")
