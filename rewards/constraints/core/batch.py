"""Checks that may take long run in the engine's workers, under a deadline; the others are cheap and stay here.

Costly is what a constraint calls so (``Constraint.costly``: a regular expression from the data, a language model's
statistics) and every check of a very long text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adhere.rewards.constraints.core.checker import Checker
from adhere.rewards.constraints.core.constraint import CONSTRAINTS, Mode
from adhere.rewards.engine import Engine
from adhere.rewards.verdict import Status, Verdict, unscored

WORKER = "adhere.rewards.constraints.core.batch_worker"
DEADLINE_S = 5.0
LONG_CHARS = 50_000


@dataclass(frozen=True, slots=True)
class RuleCall:
    """Decide ``constraint`` with ``kwargs`` (clean, as JSON, sorted by key) on ``text``."""

    constraint: str
    kwargs: str
    mode: Mode
    text: str


def costly_call(checker: Checker, text: str, mode: Mode) -> RuleCall | None:
    """Return the call that a worker has to make for this check, or ``None`` where it is cheap enough for here."""
    if len(text) <= LONG_CHARS and not checker.constraint.costly(checker.kwargs, mode):
        return None
    return RuleCall(checker.id, json.dumps(dict(checker.kwargs), sort_keys=True), mode, text)


def check_batch(calls: Sequence[RuleCall], engine: Engine, deadline: float = DEADLINE_S) -> dict[RuleCall, Verdict]:
    """Return the verdict of each call, ``timeout`` for one that takes longer than ``deadline`` seconds.

    Each constraint and arguments are tried on one text first. Where that runs into the deadline, its other texts get
    ``timeout`` untried: one regular expression that backtracks without end must not cost a deadline for every
    completion of a batch. A worker imports the module of a plug-in's constraint before the deadline begins.

    Raises:
        EngineError: a worker cannot import the module of a plug-in's constraint.
    """
    first: dict[tuple[str, str, Mode], RuleCall] = {}
    for call in calls:
        first.setdefault((call.constraint, call.kwargs, call.mode), call)
    found = _run(first.values(), engine, deadline)
    slow = {rule for rule, call in first.items() if found[call].status is Status.TIMEOUT}
    rest = [call for call in dict.fromkeys(calls) if call not in found]
    untried = {call for call in rest if (call.constraint, call.kwargs, call.mode) in slow}
    found |= _run([call for call in rest if call not in untried], engine, deadline)
    return found | {
        call: unscored(Status.TIMEOUT, "not tried: this check took too long on another response") for call in untried
    }


def _run(calls: Iterable[RuleCall], engine: Engine, deadline: float) -> dict[RuleCall, Verdict]:
    tasks: defaultdict[str, list[RuleCall]] = defaultdict(list)
    for call in calls:
        module = type(CONSTRAINTS[call.constraint]).__module__
        ours = CONSTRAINTS.package(call.constraint) == "adhere"
        tasks[f"{WORKER}:check_call" if ours else f"{WORKER}:{module}"].append(call)
    found: dict[RuleCall, Verdict] = {}
    for task, batch in tasks.items():
        items = [(call.constraint, call.text, call.kwargs, call.mode) for call in batch]
        found |= zip(batch, engine.map(task, items, deadline=deadline), strict=True)
    return found
