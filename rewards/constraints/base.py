"""What a constraint is, and the registry it enters by its id."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from adhere.rewards.constraints.params import Param, holds, plural

Mode = Literal["compat", "hardened"]
Kwargs = Mapping[str, Any]


class Outcome(NamedTuple):
    """Whether a text meets a constraint, and one line for a human that says why."""

    ok: bool
    detail: str


def counted(count: int, noun: str, bound: int, relation: str) -> Outcome:
    """Return whether ``count`` stands in ``relation`` to ``bound``, with both in words."""
    return Outcome(holds(count, bound, relation), f"{plural(count, noun)}, {relation} {bound} wanted")


class Needed(NamedTuple):
    """A text that every passing response contains; ``exact`` says that its case is fixed."""

    text: str
    exact: bool


class Step(IntEnum):
    """When a transform runs: each one leaves intact what those before it did."""

    ADD = 0
    REMOVE = 1
    CUT = 2
    EMPHASISE = 3
    ARRANGE = 4
    SECTION = 5
    TITLE = 6
    PARAGRAPH = 7
    TWICE = 8
    REMARK = 9
    CLOSE = 10
    CASE = 11
    REPEAT = 12
    WRAP = 13


class Sampler(NamedTuple):
    """Where training arguments are drawn from: ``ranges`` holds an inclusive (low, high) for every count."""

    rng: random.Random
    keywords: Sequence[str]
    ranges: Mapping[str, tuple[int, int]]
    question: str | None

    def count(self, name: str) -> int:
        """Draw a whole number from the range called ``name``, both ends included."""
        return self.rng.randint(*self.ranges[name])


class Constraint(ABC):
    """One checkable instruction. Subclass it, decorate the class with ``register``, and everything else follows.

    ``phrasings`` are ways to ask for it, as format strings over ``fields``; the first one has MathIF's
    meaning. ``compat_rule`` and ``hardened_rule`` say in one sentence what passes; they become the reference
    table. Checkers get clean arguments (``validate``) and a text that is not blank. ``collection`` is where the
    id comes from (an id that MathIF has too is MathIF's), ``scope`` the part of a response that is decided.
    """

    id: ClassVar[str]
    collection: ClassVar[Literal["mathif", "ifeval", "iftrain", "reasonif"]] = "mathif"
    scope: ClassVar[Literal["answer", "reasoning"]] = "answer"
    step: ClassVar[Step]
    params: ClassVar[tuple[Param, ...]] = ()
    phrasings: ClassVar[tuple[str, ...]]
    compat_rule: ClassVar[str]
    hardened_rule: ClassVar[str]
    rewritable: ClassVar[bool] = True

    @abstractmethod
    def compat(self, text: str, kwargs: Kwargs) -> Outcome:
        """Decide as the official evaluator of the constraint's collection does."""

    @abstractmethod
    def hardened(self, text: str, kwargs: Kwargs) -> Outcome:
        """Decide what the instruction says, with the official checker's holes closed."""

    @abstractmethod
    def sample(self, source: Sampler) -> dict[str, Any]:
        """Draw arguments for a training prompt."""

    def rewrite(self, text: str, kwargs: Kwargs) -> str | None:
        """Return a text that should comply, or ``None``; called only for a text that does not, and checked after."""
        return None

    def misfit(self, kwargs: Kwargs) -> str | None:
        """Return why arguments that are each in range do not fit together, or ``None`` where they do."""
        return None

    def costly(self, kwargs: Kwargs, mode: Mode) -> bool:
        """Whether a check may take more than a moment on an ordinary text, so that batches run it in a worker."""
        return False

    def fields(self, kwargs: Kwargs) -> dict[str, Any]:
        """Return what the phrasings' placeholders stand for."""
        return dict(kwargs)

    def needs(self, kwargs: Kwargs) -> Needed | None:
        """Return a text that every passing response contains, if there is one."""
        return None

    def rules_out(self, kwargs: Kwargs, needed: Needed) -> bool:
        """Whether no passing response can contain ``needed``."""
        return False

    def clashes(self, kwargs: Kwargs, other_id: str, other: Kwargs) -> bool:
        """Whether ``other`` contradicts this for a reason that ``needs`` and ``rules_out`` do not show."""
        return False


C = TypeVar("C", bound=type[Constraint])
REGISTRY: dict[str, Constraint] = {}


def register(cls: C) -> C:
    """Enter a constraint class into the registry under its ``id``."""
    if cls.id in REGISTRY:
        raise ValueError(f"two constraints are called {cls.id!r}")
    REGISTRY[cls.id] = cls()
    return cls
