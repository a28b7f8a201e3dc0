"""What a constraint is: its parameters, the class that each one subclasses, and the registry by id."""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

from adhere.rewards.constraints.core.pools import DEFAULT_RANGES, TRAINING_KEYWORDS, ArgumentSource
from adhere.rewards.constraints.core.variety import further_wordings
from adhere.rewards.errors import ConfigError, ConstraintError, nearest
from adhere.rewards.registry import Registry
from adhere.rewards.verdict import Deviation, Verdict, failed, passed


@dataclass(frozen=True, slots=True)
class Param(ABC):
    """One named argument; ``doc`` completes the sentence "<name>: ..." in the reference table."""

    name: str
    doc: str

    @abstractmethod
    def parse(self, value: Any) -> Any:
        """Return the clean value, or raise ``ValueError`` with a message that completes "<id>.<name>: ..."."""


@dataclass(frozen=True, slots=True)
class Count(Param):
    """An integer in [``low``, ``high``]; integral floats are accepted, since parquet turns integers into floats."""

    low: int = 1
    high: int = 1_000_000

    def parse(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise ValueError(f"needs a whole number, got {value!r}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value:g} lies outside [{self.low}, {self.high}]")
        return int(value)


@dataclass(frozen=True, slots=True)
class Choice(Param):
    """One of ``options``."""

    options: tuple[str, ...]

    def parse(self, value: Any) -> str:
        if value not in self.options:
            hint = nearest(str(value), self.options)
            shown = ", ".join(self.options[:8]) + (", ..." if len(self.options) > 8 else "")
            raise ValueError(f"{value!r} is not one of {shown}{hint}")
        return str(value)


@dataclass(frozen=True, slots=True)
class Text(Param):
    """A string that is not blank, and that ``pattern`` matches in full where one is given."""

    pattern: str = ""

    def parse(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"needs a string that is not blank, got {value!r}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError(f"{value!r} does not match {self.pattern}")
        return value


@dataclass(frozen=True, slots=True)
class WordList(Param):
    """A list of one or more strings that are not blank."""

    def parse(self, value: Any) -> list[str]:
        if isinstance(value, str) or not isinstance(value, Sequence) or not value:
            raise ValueError(f"needs a list of one or more words, got {value!r}")
        bad = [word for word in value if not isinstance(word, str) or not word.strip()]
        if bad:
            raise ValueError(f"needs words that are not blank, got {bad[0]!r}")
        return list(value)


@dataclass(frozen=True, slots=True)
class Word(Param):
    """One word without white space inside; a list of one word is taken as that word, as IFTrain's rows have it."""

    def parse(self, value: Any) -> str:
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str) or len(value.split()) != 1:
            raise ValueError(f"needs one word, got {value!r}")
        return value.strip()


RELATIONS = ("at least", "less than")


def relation(name: str = "relation") -> Choice:
    """The argument that says whether a count is a lower bound or a strict upper bound."""
    return Choice(name, "whether the number is a lower bound or a strict upper bound", RELATIONS)


def holds(count: int, bound: int, relation: str) -> bool:
    """Whether ``count`` stands in ``relation`` to ``bound``."""
    return count >= bound if relation == "at least" else count < bound


def exclude(one: Mapping[str, Any], other: Mapping[str, Any], bound: str, relation: str) -> bool:
    """Whether no count meets both of two bounds.

    Args:
        one: arguments of a constraint.
        other: arguments of another one of the same kind.
        bound: name of the argument that holds the number.
        relation: name of the argument that holds ``at least`` or ``less than``.
    """
    if one[relation] == other[relation]:
        return False
    low, high = (one, other) if one[relation] == "at least" else (other, one)
    return bool(high[bound] <= low[bound])


def times(bound: int, relation: str) -> str:
    """Say a bound on occurrences in words: ``at least twice``, ``fewer than 3 times``, ``not even once``."""
    if relation == "less than" and bound == 1:
        return "not even once"
    count = {1: "once", 2: "twice"}.get(bound, f"{bound} times")
    return f"at least {count}" if relation == "at least" else f"fewer than {bound} times"


def plural(count: int, noun: str) -> str:
    """Return ``1 bullet`` or ``3 bullets``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


Mode = Literal["compat", "hardened"]
MODES: tuple[Mode, ...] = get_args(Mode)
Kwargs = Mapping[str, Any]


def decided(met: bool, detail: str, deviation: Deviation | None = None) -> Verdict:
    """Return the verdict on a text that does or does not meet a constraint; ``detail`` says why in one line.

    ``deviation`` says how far off a text is that does not; it is ignored where the constraint is met.
    """
    return passed(detail) if met else failed(detail, deviation)


def off_by(count: int, noun: str, bound: int, relation: str = "exactly") -> Deviation | None:
    """Return how far a count is from a bound, measured against the bound; ``None`` where it meets it.

    Args:
        count: how many there are.
        noun: what is counted, in the singular.
        bound: the number asked for.
        relation: ``exactly``, ``at most``, or one of ``params.RELATIONS``.
    """
    above, below = count - bound, bound - count
    off = {"exactly": abs(above), "at most": above, "at least": below, "less than": above + 1}[relation]
    return Deviation(off, noun, max(1, bound)) if off > 0 else None


def counted(count: int, noun: str, bound: int, relation: str) -> Verdict:
    """Return whether a text meets a bound on a count, with both in words.

    Args:
        count: how many there are.
        noun: what is counted, in the singular.
        bound: the number asked for.
        relation: one of ``params.RELATIONS``.
    """
    wanted = f"{plural(count, noun)}, {relation} {bound} wanted"
    return decided(holds(count, bound, relation), wanted, off_by(count, noun, bound, relation))


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


class Constraint(ABC):
    """One checkable instruction. Subclass it, decorate the class with ``register``, and everything else follows.

    The docstring's first line says what is asked for. ``id`` is ``prefix:name``, ``collection`` says where the
    constraint comes from (a free name that recipes may give in place of ids), ``scope`` is the part of a response that
    is decided. ``phrasings`` are three or more ways to ask for it, as format strings over ``fields``. ``compat_rule``
    and ``hardened_rule`` say in one sentence what passes; they become the reference table. ``ranges`` are inclusive
    ranges of its own that ``sample`` draws counts from, beside ``DEFAULT_RANGES``.

    Checkers get clean arguments and a text that is not blank, and return ``passed(why)`` or ``failed(why)``. A
    constraint with one official meaning only sets ``compat = hardened``.
    """

    id: ClassVar[str]
    collection: ClassVar[str]
    scope: ClassVar[Literal["answer", "reasoning"]] = "answer"
    step: ClassVar[Step]
    params: ClassVar[tuple[Param, ...]] = ()
    ranges: ClassVar[Mapping[str, tuple[int, int]]] = {}
    phrasings: ClassVar[tuple[str, ...]]
    compat_rule: ClassVar[str]
    hardened_rule: ClassVar[str]
    rewritable: ClassVar[bool] = True

    @property
    def wordings(self) -> tuple[str, ...]:
        """All ways to ask for it: the phrasings, then those of ``data/wordings.toml``."""
        return (*self.phrasings, *further_wordings().get(self.id, ()))

    @abstractmethod
    def compat(self, text: str, kwargs: Kwargs) -> Verdict:
        """Decide as the official evaluator of the constraint's collection does."""

    @abstractmethod
    def hardened(self, text: str, kwargs: Kwargs) -> Verdict:
        """Decide what the instruction says, with the official checker's holes closed."""

    def sample(self, source: ArgumentSource) -> dict[str, Any]:
        """Draw arguments for a training prompt; a constraint without arguments need not define it."""
        return {}

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

    def clean(self, kwargs: Kwargs | None, where: str = "") -> dict[str, Any]:
        """Return the arguments as the checkers take them.

        Keys whose value is ``None`` are dropped and whole floats become integers: both are what parquet makes of
        rows with different keys.

        Raises:
            ConstraintError: an argument is unknown, missing, of the wrong type or out of range; the message opens with
                ``where`` and names the id and the key.
        """
        place = f"{where}: {self.id}" if where else self.id
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise ConstraintError(f"{place}: needs a mapping of arguments, got {kwargs!r}")
        given = {key: value for key, value in (kwargs or {}).items() if value is not None}
        names = [param.name for param in self.params]
        for key in given:
            if key not in names:
                takes = f"takes {', '.join(names)}" if names else "takes no arguments"
                raise ConstraintError(f"{place}: unknown argument '{key}'{nearest(str(key), names)}; it {takes}")
        clean = {}
        for param in self.params:
            if param.name not in given:
                raise ConstraintError(f"{place}: lacks '{param.name}' ({param.doc})")
            try:
                clean[param.name] = param.parse(given[param.name])
            except ValueError as error:
                raise ConstraintError(f"{place}.{param.name}: {error}") from error
        misfit = self.misfit(clean)
        if misfit is not None:
            raise ConstraintError(f"{place}: {misfit}")
        return clean


CONSTRAINTS: Registry[Constraint] = Registry("constraint")

C = TypeVar("C", bound=type[Constraint])


def register(cls: C) -> C:
    """Enter a constraint class into the registry under its ``id``.

    Raises:
        ConfigError: the class lacks something that a constraint has to hold, or another module has taken its id.
    """
    problem = fault(cls)
    if problem is not None:
        name = getattr(cls, "id", None) or getattr(cls, "__name__", repr(cls))
        raise ConfigError(f"{cls.__module__}: the constraint '{name}' {problem}")
    CONSTRAINTS.add(cls.id, cls(), cls.__module__)
    return cls


def fault(cls: Any) -> str | None:
    """Return what keeps ``cls`` from being a constraint, as the rest of a sentence about it, or ``None``."""
    if not isinstance(cls, type) or not issubclass(cls, Constraint):
        return "is not a subclass of Constraint"
    if not isinstance(getattr(cls, "id", None), str) or not re.fullmatch(r"[^\s:]+:[^\s:]+", cls.id):
        return "needs an id of the form prefix:name, such as 'my_lab:no_semicolon'"
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"does not define {', '.join(missing)}"
    if not (cls.__doc__ or "").strip():
        return "has no docstring; its first line says in the reference what is asked for"
    for name in ("collection", "compat_rule", "hardened_rule"):
        if not isinstance(getattr(cls, name, None), str) or not getattr(cls, name).strip():
            return f"needs {name}, a text that is not blank"
    if ":" in cls.collection:
        return f"needs a collection without a colon, which would read as an id, got '{cls.collection}'"
    if cls.scope not in ("answer", "reasoning"):
        return f"needs scope 'answer' or 'reasoning', got {cls.scope!r}"
    if not isinstance(getattr(cls, "step", None), Step):
        return f"needs a step, one of {', '.join(f'Step.{step.name}' for step in Step)}"
    if not isinstance(cls.params, tuple) or not all(isinstance(param, Param) for param in cls.params):
        return "needs params as a tuple of Param, such as (Count('num_words', 'the number of words'),)"
    if len({param.name for param in cls.params}) < len(cls.params):
        return "has two params of one name"
    phrasings = getattr(cls, "phrasings", ())
    if not isinstance(phrasings, tuple) or not all(isinstance(text, str) and text.strip() for text in phrasings):
        return "needs phrasings as a tuple of texts"
    if len(set(phrasings)) < max(3, len(phrasings)):
        return f"needs three or more phrasings that all differ, got {len(set(phrasings))} of {len(phrasings)}"
    if not isinstance(cls.ranges, Mapping):
        return "needs ranges as a mapping from names to (low, high)"
    for name, bounds in cls.ranges.items():
        if name in DEFAULT_RANGES:
            return f"has a range '{name}', which ships with other bounds; give it another name"
        if not (isinstance(bounds, tuple) and len(bounds) == 2 and all(isinstance(b, int) for b in bounds)):
            return f"needs ranges of two whole numbers, got {name}: {bounds!r}"
        if bounds[0] > bounds[1]:
            return f"has an empty range {name}: {bounds!r}"
    constraint = cls()
    source = ArgumentSource(
        random.Random(0), TRAINING_KEYWORDS, {**DEFAULT_RANGES, **cls.ranges}, "How many apples are left?"
    )
    try:
        kwargs = constraint.clean(constraint.sample(source))
        fields = constraint.fields(kwargs)
    except (LookupError, TypeError, ValueError) as error:
        return f"draws arguments that it does not take ({type(error).__name__}: {error})"
    for number, phrasing in enumerate(phrasings):
        try:
            phrasing.format(**fields)
        except (LookupError, ValueError) as error:
            known = ", ".join(fields) or "none"
            return f"has a phrasing {number} that its fields ({known}) do not fill ({type(error).__name__}: {error})"
    return None
