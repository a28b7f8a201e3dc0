"""The result of checking one thing about one response."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any


class Status(StrEnum):
    """How a verdict came about. Only ``ok`` carries a score."""

    OK = "ok"
    NOT_APPLICABLE = "not_applicable"
    TIMEOUT = "timeout"
    ERROR = "error"
    UNPARSED = "unparsed"


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a text is from meeting a constraint.

    ``amount`` is above 0 and counts ``unit``, a noun in the singular; ``scale`` is what it is measured against, such as
    the number asked for.
    """

    amount: float
    unit: str
    scale: float

    def __post_init__(self) -> None:
        if not (0.0 < self.amount < math.inf and 0.0 < self.scale < math.inf):
            raise ValueError(f"a deviation and its scale are above 0 and finite, got {self.amount} and {self.scale}")

    def __str__(self) -> str:
        return f"off by {self.amount:g} {self.unit}{'' if self.amount == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A score in [0, 1] with ``status`` ok, or no score (``None``) and the status that says why.

    "Not scored" is never 0.0: ``None`` reaches the trainer as "learn nothing from this", and is counted.
    ``detail`` is one line for a human reader, ``seconds`` the wall time the check took, and ``parts`` the
    verdicts this one was made from, in order (the requirements of a checklist). ``deviation`` says how far off a text
    is that a rule refused; the score stays 0.
    """

    score: float | None
    status: Status = Status.OK
    detail: str = ""
    seconds: float = 0.0
    parts: tuple[Verdict, ...] = ()
    deviation: Deviation | None = None

    def __post_init__(self) -> None:
        if (self.score is None) is (self.status is Status.OK):
            raise ValueError(f"a verdict has a score exactly when its status is ok, got {self.score}, {self.status}")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score lies in [0, 1], got {self.score}")
        if self.deviation is not None and self.score != 0.0:
            raise ValueError(f"only what is not met has a deviation, got one with the score {self.score}")

    @property
    def passed(self) -> bool:
        """Whether the check was decided, and fully met."""
        return self.score == 1.0

    @property
    def undecided(self) -> bool:
        """Whether the check applies and could not be decided."""
        return self.score is None and self.status is not Status.NOT_APPLICABLE

    def to_dict(self) -> dict[str, Any]:
        """Return ``{score, status, detail}``, the form written to files."""
        return {"score": self.score, "status": self.status.value, "detail": self.detail}

    def encode(self) -> list[Any]:
        """Return the JSON form in which it travels between processes.

        It is ``[score, status, detail, seconds, parts]``, and ``[amount, unit, scale]`` after it of a deviation.
        """
        off = self.deviation
        row = [self.score, self.status.value, self.detail, self.seconds, [part.encode() for part in self.parts]]
        return row if off is None else [*row, [off.amount, off.unit, off.scale]]

    @classmethod
    def decode(cls, row: list[Any]) -> Verdict:
        """Return the verdict of which ``row`` is the JSON form."""
        score, status, detail, seconds, parts, *off = row
        deviation = Deviation(*off[0]) if off else None
        return cls(score, Status(status), detail, seconds, tuple(cls.decode(part) for part in parts), deviation)


@lru_cache(maxsize=4096)
def passed(detail: str = "") -> Verdict:
    """A verdict of 1.0. Verdicts are immutable and details recur, so equal ones may be one object."""
    return Verdict(1.0, detail=detail)


@lru_cache(maxsize=4096)
def failed(detail: str = "", deviation: Deviation | None = None) -> Verdict:
    """A verdict of 0.0: the check was decided, and not met. May be shared, see ``passed``.

    The detail says how far off the text is, where a ``deviation`` is known.
    """
    return Verdict(0.0, detail=detail if deviation is None else f"{detail}: {deviation}", deviation=deviation)


def unscored(status: Status, detail: str = "", seconds: float = 0.0) -> Verdict:
    """A verdict without a score; ``status`` says why."""
    return Verdict(None, status, detail, seconds)
