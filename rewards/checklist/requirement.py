"""One requirement of a checklist, and how it is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from adhere.rewards.checklist.checks import Check, JudgeCheck, RuleCheck, label, leaves, parse_check
from adhere.rewards.errors import DataError, nearest

__all__ = ["CATEGORY_WEIGHTS", "Category", "Requirement", "RuleCheck", "check_dependencies", "parse_checklist"]

Category = Literal["essential", "important", "optional", "pitfall"]

CATEGORY_WEIGHTS: Mapping[Category, float] = MappingProxyType(
    {"essential": 100.0, "important": 70.0, "optional": 30.0, "pitfall": 90.0}
)
"""The weight of a requirement that has a category and no weight (Rubrics as Rewards, arXiv 2507.17746, times 100)."""

MAX_DEPENDENCIES = 32
"""How many requirements may hang on one another in a row."""

KEYS = ("id", "text", "check", "weight", "category", "only_if")
FORM = "a requirement is {id, text, weight, category, only_if, check}"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a response has to do: what it says (``text``), how much it counts, how it is decided.

    ``weight`` lies in [0, 100]; RLCF's anchors are 100 critical, 75 important, 50 expected, 25 a preference.
    ``only_if`` is the id of another requirement of the checklist: where that one is not met, this one does not apply.
    ``category`` is a label of Rubrics as Rewards. A ``pitfall`` is worded as what a good response avoids ("does not
    ..."), so that met is good.
    """

    id: str
    text: str
    check: Check
    weight: float = 100.0
    only_if: str | None = None
    category: Category | None = None

    @property
    def label(self) -> str:
        """The name under which results are grouped: a rule's constraint id, else the kind of check."""
        return label(self.check)

    @property
    def rule(self) -> RuleCheck | None:
        """The constraint checker, where one alone and unconditionally decides."""
        return self.check if isinstance(self.check, RuleCheck) and self.only_if is None else None

    @property
    def rules(self) -> tuple[RuleCheck, ...]:
        """The constraint checkers in the check, also those inside compositions."""
        return tuple(leaf for leaf in leaves(self.check) if isinstance(leaf, RuleCheck))

    @property
    def needs_judge(self) -> bool:
        """Whether deciding it may take a judge."""
        return any(isinstance(leaf, JudgeCheck) for leaf in leaves(self.check))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; ``parse_checklist`` makes an equal requirement of it."""
        row = {"id": self.id, "text": self.text, "weight": self.weight, "check": self.check.to_dict()}
        optional = {"only_if": self.only_if, "category": self.category}
        return row | {key: value for key, value in optional.items() if value is not None}


def parse_checklist(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[Requirement, ...]:
    """Build requirements from their JSON form; ``where`` (file and line) opens the message of every error.

    Raises:
        DataError: it is not a list of objects; or one of them has an unknown key, lacks one, has a weight that is no
            number in [0, 100], an unknown category, a check that cannot be used, or an ``only_if`` that names no other
            requirement, several, or (in a circle) itself, or hangs on too many in a row.
        ConstraintError: a rule names an unknown constraint, or arguments that it does not take.
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise DataError(f"{where}: checklist is {type(rows).__name__}, not a list of requirements")
    checklist = tuple(_parse(row, f"{where}: checklist[{i}]") for i, row in enumerate(rows))
    check_dependencies(checklist, f"{where}: ")
    return checklist


def check_dependencies(checklist: Sequence[Requirement], where: str = "") -> None:
    """Check that every ``only_if`` names exactly one requirement, and that following them soon ends.

    Raises:
        DataError: naming the place.
    """
    if not any(r.only_if is not None for r in checklist):
        return
    counts = Counter(r.id for r in checklist)
    after = {r.id: r.only_if for r in checklist}
    for i, requirement in enumerate(checklist):
        wanted, place = requirement.only_if, f"{where}checklist[{i}].only_if"
        if wanted is None:
            continue
        if wanted not in counts:
            raise DataError(f"{place}: no requirement has the id '{wanted}'{nearest(wanted, counts)}")
        if counts[wanted] > 1:
            raise DataError(f"{place}: {counts[wanted]} requirements have the id '{wanted}'; give each its own")
        path = [requirement.id]
        following: str | None = wanted
        while following is not None:
            if following in path:
                raise DataError(f"{place}: goes round in a circle ({' -> '.join([*path, following])})")
            path.append(following)
            following = after[following]
        if len(path) > MAX_DEPENDENCIES:
            raise DataError(f"{place}: hangs on more than {MAX_DEPENDENCIES - 1} others in a row; shorten the line")


def _parse(row: Any, where: str) -> Requirement:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: is {type(row).__name__}; {FORM}")
    given = {key: value for key, value in row.items() if value is not None}
    for key in given:
        if key not in KEYS:
            raise DataError(f"{where}.{key}: unknown key{nearest(str(key), KEYS)}; {FORM}")
    missing = [key for key in ("id", "text", "check") if key not in given]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}; {FORM}")
    category = given.get("category")
    if category is not None and category not in get_args(Category):
        hint = nearest(str(category), get_args(Category))
        raise DataError(f"{where}.category: '{category}' is not one of {', '.join(get_args(Category))}{hint}")
    weight = given.get("weight", 100.0 if category is None else CATEGORY_WEIGHTS[category])
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.0 <= weight <= 100.0:
        raise DataError(f"{where}.weight: {weight!r} is not a number in [0, 100]")
    return Requirement(
        id=str(given["id"]),
        text=str(given["text"]),
        check=parse_check(given["check"], f"{where}.check"),
        weight=float(weight),
        only_if=None if "only_if" not in given else str(given["only_if"]),
        category=category,
    )
