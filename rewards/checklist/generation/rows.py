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
        DataError: see ``parse_checklist``; and two requirements of one id, or a judge's check with other keys.
        ConstraintError: see ``parse_checklist``.
    """
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise DataError(f"{where}: checklist is {type(rows).__name__}, not a list of requirements")
    seen: set[str] = set()
    for place, row in enumerate(rows):
        check = row.get("check") if isinstance(row, Mapping) else None
        judged = isinstance(check, Mapping) and check.get("type") == "judge"
        if judged and set(check or ()) != {"type"}:
            raise DataError(f"{where}: checklist[{place}].check: a judge's check is {{type: judge}} alone")
        # The parser of rules also checks what all kinds have in common.
        parse_checklist([{**row, "check": _RULE} if judged else row], f"{where}: checklist[{place}]")
        if str(row["id"]) in seen:
            raise DataError(f"{where}: checklist[{place}].id: '{row['id']}' is there twice; give each its own")
        seen.add(str(row["id"]))
    return rows
