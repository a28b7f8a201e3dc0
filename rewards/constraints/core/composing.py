"""Several constraints at once: which contradict each other, and how to rewrite a text so that it meets all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TypeVar

from adhere.rewards.constraints.core.constraint import Step
from adhere.rewards.constraints.core.library import Checker, Named, find, prepared, registry

Given = TypeVar("Given", Checker, Named)

_CONTENT = (Step.ADD, Step.REMOVE, Step.CUT)
_ROUNDS = 3


def transform_order() -> tuple[str, ...]:
    """Return the ids in the order in which transforms are applied: a later one keeps what an earlier one did."""
    known = registry()
    return tuple(sorted(known, key=lambda key: known[key].step))


def conflicts(a: Checker | Named, b: Checker | Named) -> bool:
    """Whether no sensible response meets both constraints, in either mode; the order of the two does not matter.

    Constraints on different parts of a response never contradict each other.

    Raises:
        ConstraintError: see ``prepare``.
    """
    one, two = prepared(a), prepared(b)
    return one.constraint.scope == two.constraint.scope and (one.excludes(two) or two.excludes(one))


def by_scope(given: Sequence[Given]) -> tuple[list[Given], list[Given]]:
    """Return the constraints on the answer and those on the reasoning, each in order."""
    parts: tuple[list[Given], list[Given]] = ([], [])
    for rule in given:
        constraint = rule.constraint if isinstance(rule, Checker) else find(rule[0])
        parts[constraint.scope == "reasoning"].append(rule)
    return parts


def comply(text: str, given: Sequence[Checker] | Sequence[Named]) -> str | None:
    """Rewrite ``text`` so that it meets every constraint in both modes, or return ``None`` where that fails.

    ``text`` is the one part of a response that all of them are about; ``by_scope`` sorts them.

    What adds, removes and cuts words goes round until all of it holds; then come emphasis, lists, sections, a title,
    paragraphs, a second response, a postscript, the end phrase, case, the repeated request and what wraps it all.
    Constraints that contradict each other are refused.
    """
    checkers = [prepared(rule) for rule in given]
    if any(conflicts(a, b) for a, b in combinations(checkers, 2)):
        return None
    place = {key: i for i, key in enumerate(transform_order())}
    ranked = sorted(checkers, key=lambda checker: place[checker.id])
    content = [checker for checker in ranked if checker.constraint.step in _CONTENT]
    for _ in range(_ROUNDS):
        for checker in content:
            text = checker.transform(text) or text
        if all(checker.meets(text) for checker in content):
            break
    for checker in ranked[len(content) :]:
        text = checker.transform(text) or text
    return text if all(checker.meets(text) for checker in ranked) else None
