"""Constraints by their ids: prepare a checker, or check, validate, describe, sample and rewrite in one call."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from adhere.rewards.constraints.core.checker import Checker
from adhere.rewards.constraints.core.constraint import CONSTRAINTS, Constraint, Kwargs, Mode
from adhere.rewards.constraints.core.pools import DEFAULT_RANGES, TRAINING_KEYWORDS, ArgumentSource
from adhere.rewards.constraints.core.variety import wide_keywords
from adhere.rewards.constraints.families import SHIPPED
from adhere.rewards.errors import ConstraintError, nearest
from adhere.rewards.verdict import Verdict

Named = tuple[str, Kwargs | None]
"""A constraint by its id, with arguments that are still to be validated."""


def registry() -> Mapping[str, Constraint]:
    """Return every constraint by its id, read-only: those that ship in a fixed order, then those of plug-ins."""
    return MappingProxyType({key: CONSTRAINTS[key] for key in dict.fromkeys([*SHIPPED, *CONSTRAINTS])})


def collections() -> tuple[str, ...]:
    """Return the names of the collections that constraints come from, such as ``mathif``."""
    return tuple(dict.fromkeys(constraint.collection for constraint in registry().values()))


def find(constraint_id: str, where: str = "") -> Constraint:
    """Return the constraint called ``constraint_id``; ``ConstraintError`` names the nearest id if there is none."""
    if not isinstance(constraint_id, str) or constraint_id not in CONSTRAINTS:
        known, place = registry(), f"{where}: " if where else ""
        raise ConstraintError(
            f"{place}no constraint is called '{constraint_id}'{nearest(str(constraint_id), known)}; "
            f"known: {', '.join(known)}. One of your own needs its module under plugins:"
        )
    return CONSTRAINTS[constraint_id]


def prepare(constraint_id: str, kwargs: Kwargs | None = None, where: str = "") -> Checker:
    """Return the checker of a constraint with these arguments, validated here and nowhere after.

    Raises:
        ConstraintError: an unknown id, or an argument that is unknown, missing, of the wrong type or out of range; the
            message opens with ``where`` and names the id and the key.
    """
    constraint = find(constraint_id, where)
    return Checker(constraint, constraint.clean(kwargs, where))


def prepared(given: Checker | Named) -> Checker:
    """Return a checker as it is, and an id with arguments as its checker."""
    return given if isinstance(given, Checker) else prepare(*given)


def validate(constraint_id: str, kwargs: Kwargs | None, where: str = "") -> dict[str, Any]:
    """Return the clean arguments of a constraint; see ``Constraint.clean`` and ``prepare``."""
    return dict(prepare(constraint_id, kwargs, where).kwargs)


def check(constraint_id: str, text: str, kwargs: Kwargs | None = None, mode: Mode = "hardened") -> Verdict:
    """Decide whether ``text`` meets a constraint: 1.0 or 0.0, with one line that says why.

    ``compat`` agrees with the official code of the constraint's collection, ``hardened`` closes its holes. A blank text
    fails everything in both. A keyword that is not a regular expression leaves ``compat`` without a score.

    Args:
        constraint_id: such as ``keywords:existence``.
        text: the part of a response that is decided. Checks take time linear in it.
        kwargs: the constraint's arguments.
        mode: ``compat`` or ``hardened``.

    Raises:
        ConstraintError: see ``prepare``.
    """
    return prepare(constraint_id, kwargs)(text, mode)


def check_scoped(
    constraint_id: str, text: str, reasoning: str | None, kwargs: Kwargs | None = None, mode: Mode = "hardened"
) -> Verdict:
    """Decide a constraint on the part of a response that it is about: its ``reasoning``, or ``text``.

    Args:
        constraint_id: such as ``reasoning:no_comma``.
        text: the answer.
        reasoning: the finished reasoning block; a constraint on the reasoning fails where there is none (``None``).
        kwargs: the constraint's arguments.
        mode: ``compat`` or ``hardened``.

    Raises:
        ConstraintError: see ``prepare``.
    """
    return prepare(constraint_id, kwargs).scoped(text, reasoning, mode)


def paraphrases(constraint_id: str) -> int:
    """Return how many ways there are to ask for a constraint."""
    return len(find(constraint_id).wordings)


def describe(constraint_id: str, kwargs: Kwargs | None = None, variant: int = 0) -> str:
    """Ask for a constraint in English; see ``Checker.describe``."""
    return prepare(constraint_id, kwargs).describe(variant)


def transform(constraint_id: str, text: str, kwargs: Kwargs | None = None) -> str | None:
    """Rewrite ``text`` so that it meets a constraint in both modes, or return ``None``; see ``Checker.transform``."""
    return prepare(constraint_id, kwargs).transform(text)


def sample_checker(
    constraint_id: str,
    rng: random.Random,
    *,
    keywords: Sequence[str] | None = None,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    question: str | None = None,
    wide: bool = False,
) -> Checker:
    """Return the checker of a constraint with arguments drawn for a training prompt.

    Args:
        constraint_id: such as ``keywords:existence``.
        rng: decides what is drawn.
        keywords: the pool of words (default: ``TRAINING_KEYWORDS``, none of them MathIF's).
        ranges: overrides entries of ``DEFAULT_RANGES`` and of constraints' own ranges, both ends included.
        question: what ``combination:repeat_prompt`` has to repeat.
        wide: draw phrases from the grammar, and words from ``wide_keywords`` where no ``keywords`` are given.

    Raises:
        ConstraintError: an unknown id or range, a pool too small, or no ``question`` where one is needed.
    """
    constraint = find(constraint_id)
    known = DEFAULT_RANGES.keys() | {name for other in CONSTRAINTS for name in CONSTRAINTS[other].ranges}
    for key in ranges or {}:
        if key not in known:
            raise ConstraintError(f"ranges.{key}: no such range{nearest(key, sorted(known))}")
    usual = wide_keywords() if wide else TRAINING_KEYWORDS
    pool = usual if keywords is None else tuple(keywords)
    source = ArgumentSource(rng, pool, {**DEFAULT_RANGES, **constraint.ranges, **(ranges or {})}, question, wide)
    try:
        drawn = constraint.sample(source)
    except LookupError as error:
        copies = any(param.name == "prompt_to_repeat" for param in constraint.params)
        needed = "a question to repeat" if copies else "keywords to draw from"
        raise ConstraintError(f"{constraint_id}: sampling needs {needed}") from error
    except ValueError as error:
        raise ConstraintError(
            f"{constraint_id}: cannot sample from {len(pool)} keywords and these ranges: {error}"
        ) from error
    return Checker(constraint, constraint.clean(drawn))


def sample(
    constraint_id: str,
    rng: random.Random,
    *,
    keywords: Sequence[str] | None = None,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    question: str | None = None,
    wide: bool = False,
) -> dict[str, Any]:
    """Return arguments drawn for a training prompt.

    Args:
        constraint_id: such as ``keywords:existence``; this and the rest as for :func:`sample_checker`.
        rng: decides what is drawn.
        keywords: the pool of words.
        ranges: by name the lowest and the highest count, both included.
        question: what ``combination:repeat_prompt`` has to repeat.
        wide: draw phrases from the grammar, and words from the wide pool.
    """
    drawn = sample_checker(constraint_id, rng, keywords=keywords, ranges=ranges, question=question, wide=wide)
    return dict(drawn.kwargs)
