"""Registries: what a recipe can name, ours and that of users' plug-ins, entered by the same decorator."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator
from typing import Any, Generic, TypeVar

from adhere.rewards.errors import ConfigError, nearest

T = TypeVar("T")
D = TypeVar("D")

REGISTRIES: list[Registry[Any]] = []
"""Every registry of this process; a stage's key looks here for what its settings name."""


class Registry(Generic[T]):
    """Things of one kind by the name that a recipe gives them, in the order in which they were registered.

    ``noun`` is what messages call one of them, such as ``reward component``. ``check`` is asked about every new name
    and thing, and returns in one sentence what is wrong with it, or ``None``.
    """

    def __init__(self, noun: str, check: Callable[[str, T], str | None] | None = None) -> None:
        self.noun = noun
        self._check = check
        self._things: dict[str, T] = {}
        self._modules: dict[str, str] = {}
        REGISTRIES.append(self)

    def register(self, name: str) -> Callable[[D], D]:
        """Return a decorator that enters a class or function under ``name``.

        Raises:
            ConfigError: the name is taken by another module, or ``check`` finds something wrong.
        """

        def enter(thing: D) -> D:
            self.add(name, thing, thing.__module__)  # type: ignore[arg-type]
            return thing

        return enter

    def add(self, name: str, thing: T, module: str) -> None:
        """Enter ``thing``, which ``module`` defines; the same module may define it again, as a reload does."""
        if name in self._things and self._modules[name] != module:
            raise ConfigError(
                f"{module}: the {self.noun} '{name}' exists already, in {self._modules[name]}; choose another name"
            )
        if name in self._things and _path(self._things[name]) != _path(thing):
            raise ConfigError(
                f"{module}: the {self.noun} '{name}' is registered twice, as {_path(self._things[name])} and "
                f"{_path(thing)}; give each a name of its own"
            )
        if self._check is not None and (problem := self._check(name, thing)):
            raise ConfigError(f"{module}: the {self.noun} '{name}' {problem}")
        self._things[name], self._modules[name] = thing, module

    def package(self, name: str) -> str:
        """Return the top-level package that defines ``name``: ``adhere``, or a plug-in's."""
        return self._modules[name].partition(".")[0]

    def remove(self, name: str) -> None:
        """Take a thing out again, as a test does that has registered it."""
        del self._things[name], self._modules[name]

    def modules(self) -> set[str]:
        """Return the modules that have registered something here."""
        return set(self._modules.values())

    def __getitem__(self, name: str) -> T:
        try:
            return self._things[name]
        except KeyError:
            raise ConfigError(self.unknown(name)) from None

    def unknown(self, name: str) -> str:
        """Return the message for a ``name`` that is not registered, with the nearest one."""
        return (
            f"there is no {self.noun} '{name}'{nearest(name, self._things)}; there are {', '.join(self._things)}. "
            f"One of your own needs its module under plugins:"
        )

    def items(self) -> ItemsView[str, T]:
        """Return names and things."""
        return self._things.items()

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


def _path(thing: object) -> str:
    """Return the name of a class, a function or an object's class within its module."""
    return str(getattr(thing, "__qualname__", type(thing).__qualname__))
