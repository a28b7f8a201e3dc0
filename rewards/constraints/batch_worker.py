"""The engine's task for constraint checks. Only workers import it: the import loads the profiles of all languages."""

from __future__ import annotations

import json

from adhere.rewards.constraints import Mode, check
from adhere.rewards.constraints.languages import detect
from adhere.rewards.verdict import Verdict

detect("Loading a task has a limit of its own, so that no item's deadline pays for the profiles.")


def check_call(constraint: str, text: str, kwargs: str, mode: Mode) -> Verdict:
    """Decide one call; ``kwargs`` is JSON."""
    return check(constraint, text, json.loads(kwargs), mode)
