"""The engine's tasks for constraint checks. Only workers import it: the import loads the profiles of all languages."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable

from adhere.rewards.constraints import CONSTRAINTS, Checker, Mode
from adhere.rewards.constraints.text.languages import detect
from adhere.rewards.verdict import Verdict

detect("Loading a task has a limit of its own, so that no item's deadline pays for the profiles.")


def check_call(constraint: str, text: str, kwargs: str, mode: Mode) -> Verdict:
    """Decide one call.

    Args:
        constraint: id of the constraint.
        text: what is checked.
        kwargs: its arguments, validated, as a JSON object.
        mode: ``hardened`` or ``compat``.
    """
    return Checker(CONSTRAINTS[constraint], json.loads(kwargs))(text, mode)


def __getattr__(name: str) -> Callable[..., Verdict]:
    """Return the task for the constraints of a plug-in: ``name`` is its module, imported when the task is loaded."""
    if name.startswith("__"):
        raise AttributeError(name)
    importlib.import_module(name)
    return check_call
