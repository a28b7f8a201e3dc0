"""Checking the JSON form of requirements of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adhere.rewards.checklist.requirement import parse_checklist
from adhere.rewards.errors import DataError


def kind(row: Mapping[str, Any]) -> str:
    """Return how a requirement is decided: ``rule``, ``judge``, ``program``, ..."""
    return str(row["check"].get("type", "rule"))


def check_written_rows(rows: Any, where: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a checklist if each is a requirement; ``where`` opens the message of every error.

    Raises:
        DataError: see ``parse_checklist``; and two requirements of one id.
        ConstraintError: see ``parse_checklist``.
    """
    parse_checklist(rows, where)
    seen: set[str] = set()
    for place, row in enumerate(rows):
        if str(row["id"]) in seen:
            raise DataError(f"{where}: checklist[{place}].id: '{row['id']}' occurs twice; give each its own")
        seen.add(str(row["id"]))
    return rows
