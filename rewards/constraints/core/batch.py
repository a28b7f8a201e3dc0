"""Checks that may take long run in the engine's workers, within a bound of processor time; the others stay here.

Costly is what a constraint calls so (``Constraint.costly``: a regular expression from the data, a language model's
statistics) and every check of a very long text.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from adhere.rewards.constraints.core.constraint import CONSTRAINTS, Mode
from adhere.rewards.constraints.core.library import Checker
from adhere.rewards.engine import Engine, as_unmet, machine_failed
from adhere.rewards.verdict import Verdict, unscored

WORKER = "adhere.rewards.constraints.core.batch_worker"
DEADLINE_S = 5.0
LONG_CHARS = 50_000

PROBES = (
    "First we add the two numbers, which gives 12. Then we halve the sum: the result is 6, and that is the answer.",
    "# Plan\n\n1. **Read** the task.\n2. *Solve* it.\n\n- one\n- two\n\nP.S. The answer is \\boxed{6}.",
)
"""Ordinary texts on which a check is tried once. One that fails on them decides no response at all."""


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
    """Return the verdict of each call, which depends on no other call.

    A check that takes longer than ``deadline`` seconds of processor time on a text, raises or ends its worker, is not
    met by that text, which must not earn more than a wrong one. A check that does so on the ``PROBES`` has no verdict
    on any text. A worker imports the module of a plug-in's constraint before the deadline begins.

    Raises:
        EngineError: a worker cannot import the module of a plug-in's constraint.
    """
    tried = {call: [replace(call, text=text) for text in PROBES] for call in {replace(c, text=""): None for c in calls}}
    found = _run([probe for probes in tried.values() for probe in probes], engine, deadline)
    faults = {rule: next((found[p] for p in probes if found[p].undecided), None) for rule, probes in tried.items()}
    found = _run([c for c in dict.fromkeys(calls) if faults[replace(c, text="")] is None], engine, deadline)
    verdicts = {}
    for call in dict.fromkeys(calls):
        fault = faults[replace(call, text="")]
        if fault is not None:
            why = (
                fault.detail if machine_failed(fault) else f"not tried: on a text for trial, this check {fault.detail}"
            )
            verdicts[call] = unscored(fault.status, why)
        else:
            verdicts[call] = as_unmet(found[call])
    return verdicts


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
