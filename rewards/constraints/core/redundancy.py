"""Whether one constraint says nothing beyond another, decided by their checkers on texts that are made to differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from adhere.rewards.constraints.core.composing import comply
from adhere.rewards.constraints.core.constraint import Constraint
from adhere.rewards.constraints.core.library import Checker, Named, prepared
from adhere.rewards.constraints.text.fillers import FILLERS

_LONGEST = 1500
"""Words of the longest draft; a bound above it is not reached, so nothing is said about it."""

_SPANISH = "Primero escribimos los datos y después sumamos las cantidades con mucho cuidado."
_SHORT = (
    "I see. You go. They run. We sit. Birds sing. Fish swim. Ice melts. Rain falls. Dogs bark. Cats nap. Bells ring. "
    "Time flies. Bread rises. Leaves turn. Doors open. Lamps glow. Ships sail. Winds blow. Kids play. Snow sticks."
)


def redundant(a: Checker | Named, b: Checker | Named) -> bool:
    """Whether one of two constraints on the same part of a response already holds wherever the other one does.

    A pair is kept only if a text is found that meets ``a`` and fails ``b``, and one that meets ``b`` and fails ``a``,
    as the hardened checkers decide; so a pair in which one implies the other is never kept. Where no draft fails a
    constraint even when nothing is asked, as may be with a plug-in's, nothing is known and the pair is kept.

    Raises:
        ConstraintError: see ``prepare``.
    """
    one, two = prepared(a), prepared(b)
    if one.constraint.scope != two.constraint.scope:
        return False
    return _implies(one, two) or _implies(two, one)


def _implies(a: Checker, b: Checker) -> bool:
    """Whether no text can be found that meets ``a`` in both modes and fails ``b``, though some text fails ``b``."""
    can_fail = can_meet = False
    for draft in _drafts(a, b):
        can_fail |= not b(draft).passed
        done = _complied(a.constraint, json.dumps(dict(a.kwargs), sort_keys=True), draft)
        if done is not None:
            can_meet = True
            if not b(done).passed:
                return False
    return can_fail and can_meet


@lru_cache(maxsize=4096)
def _complied(constraint: Constraint, kwargs: str, draft: str) -> str | None:
    """Return ``draft`` made to comply: the plain drafts come back with every pair of a constraint."""
    return comply(draft, [Checker(constraint, json.loads(kwargs))])


def _drafts(a: Checker, b: Checker) -> Iterator[str]:
    """Yield texts that differ in what constraints look at: plain ones first, then those that ``b`` may forbid."""
    numbers, strings = [], []
    for value in b.kwargs.values():
        if isinstance(value, int):
            numbers.append(value)
        strings += [str(text) for text in (value if isinstance(value, list) else [value]) if not isinstance(text, int)]
    least = max(numbers, default=3)
    bounds = {least, *(value for value in a.kwargs.values() if isinstance(value, int))}
    sizes = sorted({min(bound, _LONGEST) for bound in bounds})

    yield " ".join(FILLERS[:4])
    # A word alone may be all that is counted: single letters stand inside words, where every checker sees them.
    named = " and ".join(f"ta{text}en" if len(text) == 1 else text for text in strings)
    everything = f"So, {named or 'all'} it is; an apple by ANY measure [so called] <<yes>> *and no* more: done!"
    yield everything
    yield _SHORT
    yield " ".join(f"{text.rstrip('.')}!" for text in FILLERS[:5])
    for size in sizes:
        count = min(size, 60) + 2
        yield f"So {f'{named}, then ' * count}NOTHING MORE {'ABOVE ALL ' * count}here."
        yield f"{' '.join([f'{text}.' for text in strings] * count)} {everything}"
        yield f"Here {'we go on and so on to ' * (size // 6 + 1)}it."
        yield " ".join(["Considerable responsibilities notwithstanding."] * (size // 30 + 2))
        yield " ".join(FILLERS[i % len(FILLERS)] for i in range(size // 6 + 3))
        yield " ".join(FILLERS[i % len(FILLERS)].replace(".", ", yes.") for i in range(size + 2 if size < 60 else 3))
    yield _SPANISH
