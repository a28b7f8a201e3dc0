"""Checking the JSON form of requirements of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.checklist.requirement import parse_checklist
from rewards.errors import DataError

_RULE = {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}


def kind(row: Mapping[str, Any]) -> str:
    """Return how a requirement is decided: ``rule``, ``judge``, ``program``, ..."""
    return str(row["check"].get("type", "rule"))


def check_rows(rows: Any, where: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a checklist if each is a requirement; ``where`` opens the message of every error.

    Raises:
        DataError: see ``parse_checklist``; and two requirements of one id.
        ConstraintError: see ``parse_checklist``.
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise DataError(f"{where}: checklist is {type(rows).__name__}, not a list of requirements")
    # A judge's check has nothing to parse; a rule in its place lets the parser check what all kinds have in common.
    parse_checklist([{**row, "check": _RULE} if _judged(row) else row for row in rows], where)
    seen: set[str] = set()
    for place, row in enumerate(rows):
        if str(row["id"]) in seen:
            raise DataError(f"{where}: checklist[{place}].id: '{row['id']}' is there twice; give each its own")
        seen.add(str(row["id"]))
    return rows


def _judged(row: Any) -> bool:
    return isinstance(row, Mapping) and row.get("check") == {"type": "judge"}
