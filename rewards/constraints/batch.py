"""Checks that may take long run in the engine's workers, under a deadline; the others are cheap and stay here.

Costly is what a constraint calls so (``Constraint.costly``: a regular expression from the data, a language model's
statistics) and every check of a very long text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from adhere.rewards.constraints.base import REGISTRY, Kwargs, Mode
from adhere.rewards.engine import Engine
from adhere.rewards.verdict import Status, Verdict, unscored

CHECK = "adhere.rewards.constraints.batch_worker:check_call"
DEADLINE_S = 5.0
LONG_CHARS = 50_000


@dataclass(frozen=True, slots=True)
class RuleCall:
    """Decide ``constraint`` with ``kwargs`` (as JSON, sorted by key) on ``text``."""

    constraint: str
    kwargs: str
    mode: Mode
    text: str


def costly_call(constraint: str, text: str, kwargs: Kwargs, mode: Mode) -> RuleCall | None:
    """Return the call that a worker has to make for this check, or ``None`` where it is cheap enough for here."""
    if len(text) <= LONG_CHARS and not REGISTRY[constraint].costly(kwargs, mode):
        return None
    return RuleCall(constraint, json.dumps(dict(kwargs), sort_keys=True), mode, text)


def check_batch(calls: Sequence[RuleCall], engine: Engine, deadline: float = DEADLINE_S) -> dict[RuleCall, Verdict]:
    """Return the verdict of each call, ``timeout`` for one that takes longer than ``deadline`` seconds.

    Each constraint and arguments are tried on one text first. Where that runs into the deadline, its other texts get
    ``timeout`` untried: one regular expression that backtracks without end must not cost a deadline for every
    completion of a batch.
    """
    first: dict[tuple[str, str, Mode], RuleCall] = {}
    for call in calls:
        first.setdefault((call.constraint, call.kwargs, call.mode), call)
    found = _run(list(first.values()), engine, deadline)
    slow = {rule for rule, call in first.items() if found[call].status is Status.TIMEOUT}
    rest = [call for call in dict.fromkeys(calls) if call not in found]
    untried = {call for call in rest if (call.constraint, call.kwargs, call.mode) in slow}
    found |= _run([call for call in rest if call not in untried], engine, deadline)
    return found | {
        call: unscored(Status.TIMEOUT, "not tried: this check took too long on another response") for call in untried
    }


def _run(calls: Sequence[RuleCall], engine: Engine, deadline: float) -> dict[RuleCall, Verdict]:
    items = [(call.constraint, call.text, call.kwargs, call.mode) for call in calls]
    return dict(zip(calls, engine.map(CHECK, items, deadline=deadline), strict=True)) if calls else {}
