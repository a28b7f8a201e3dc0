"""One requirement of a checklist, and how it is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards.constraints import validate
from rewards.errors import DataError

FORM = "a requirement is {id, text, weight, check}"


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """Decide a requirement by the constraint checker ``constraint`` with ``kwargs``."""

    constraint: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"type": "rule", "constraint": self.constraint, "kwargs": dict(self.kwargs)}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a response has to do: what it says (``text``), how much it counts, how it is decided.

    ``weight`` lies in [0, 100]; RLCF's anchors are 100 critical, 75 important, 50 expected, 25 a preference.
    """

    id: str
    text: str
    check: RuleCheck
    weight: float = 100.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"id": self.id, "text": self.text, "weight": self.weight, "check": self.check.to_dict()}


def parse_checklist(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[Requirement, ...]:
    """Build requirements from their JSON form; ``where`` (file and line) opens the message of every error.

    Raises:
        DataError: it is no list of objects, or one of them lacks a key, has a weight that is no number in [0, 100], or
            an unknown kind of check.
        ConstraintError: a rule names an unknown constraint, or arguments that it does not take.
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise DataError(f"{where}: checklist is {type(rows).__name__}, not a list of requirements")
    return tuple(_parse(row, f"{where}: checklist[{i}]") for i, row in enumerate(rows))


def _parse(row: Any, where: str) -> Requirement:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: is {type(row).__name__}; {FORM}")
    missing = [key for key in ("id", "text", "check") if key not in row]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}; {FORM}")
    check, weight = row["check"], row.get("weight", 100.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.0 <= weight <= 100.0:
        raise DataError(f"{where}.weight: {weight!r} is no number in [0, 100]")
    if not isinstance(check, Mapping) or "constraint" not in check:
        raise DataError(f"{where}.check: names no constraint; a check is {{type: rule, constraint, kwargs}}")
    if check.get("type", "rule") != "rule":
        raise DataError(f"{where}.check.type: '{check['type']}' is not a kind of check (known: rule)")
    kwargs = validate(check["constraint"], check.get("kwargs"), where=f"{where}.check")
    return Requirement(str(row["id"]), str(row["text"]), RuleCheck(check["constraint"], kwargs), float(weight))
