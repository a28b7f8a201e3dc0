"""Several constraints at once: which contradict each other, and how to rewrite a text so that it meets all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from adhere.rewards.constraints.base import Constraint, Kwargs, Step
from adhere.rewards.constraints.library import find, meets, registry, transform, validate

Wish = tuple[str, Kwargs | None]
"""A constraint's id and its arguments."""

ORDER: tuple[str, ...] = tuple(sorted(registry(), key=lambda key: registry()[key].step))
"""The ids in the order in which transforms are applied: a later one leaves intact what an earlier one did."""

_CONTENT = (Step.ADD, Step.REMOVE, Step.CUT)
_ROUNDS = 3


def conflicts(a: Wish, b: Wish) -> bool:
    """Whether no sensible response meets both constraints, in either mode; the order of the two does not matter.

    Constraints on different parts of a response never contradict each other.

    Raises:
        ConstraintError: see ``validate``.
    """
    one, two = (find(a[0]), validate(*a)), (find(b[0]), validate(*b))
    if one[0].scope != two[0].scope:
        return False
    return _excludes(*one, *two) or _excludes(*two, *one)


def by_scope(wishes: Sequence[Wish]) -> tuple[list[Wish], list[Wish]]:
    """Return the constraints on the answer and those on the reasoning, each in order."""
    answer = [wish for wish in wishes if find(wish[0]).scope == "answer"]
    return answer, [wish for wish in wishes if find(wish[0]).scope == "reasoning"]


def _excludes(constraint: Constraint, kwargs: Kwargs, other: Constraint, other_kwargs: Kwargs) -> bool:
    needed = other.needs(other_kwargs)
    if needed is not None and constraint.rules_out(kwargs, needed):
        return True
    return constraint.clashes(kwargs, other.id, other_kwargs)


def comply(text: str, wishes: Sequence[Wish]) -> str | None:
    """Rewrite ``text`` so that it meets every constraint in both modes, or return ``None`` where that fails.

    ``text`` is the one part of a response that all of them are about; ``by_scope`` sorts them.

    What adds, removes and cuts words goes round until all of it holds; then come emphasis, lists, sections, a title,
    paragraphs, a second response, a postscript, the end phrase, case, the repeated request and what wraps it all.
    Wishes that contradict each other are refused.
    """
    if any(conflicts(a, b) for a, b in combinations(wishes, 2)):
        return None
    place = {key: i for i, key in enumerate(registry())}
    ranked = sorted(wishes, key=lambda wish: (find(wish[0]).step, place[wish[0]]))
    content = [wish for wish in ranked if find(wish[0]).step in _CONTENT]
    for _ in range(_ROUNDS):
        for wish in content:
            text = transform(wish[0], text, wish[1]) or text
        if all(meets(key, text, kwargs) for key, kwargs in content):
            break
    for key, kwargs in ranked[len(content) :]:
        text = transform(key, text, kwargs) or text
    return text if all(meets(key, text, kwargs) for key, kwargs in ranked) else None
