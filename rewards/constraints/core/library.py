"""Constraints by their ids: prepare a checker, or check, validate, describe, sample and rewrite in one call.

A `Checker` is a constraint whose arguments are known to be good, ready to decide many texts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from adhere.rewards.constraints.core.constraint import CONSTRAINTS, MODES, Constraint, Kwargs, Mode
from adhere.rewards.constraints.core.pools import DEFAULT_RANGES, TRAINING_KEYWORDS, ArgumentSource
from adhere.rewards.constraints.core.variety import wide_keywords
from adhere.rewards.constraints.families import SHIPPED
from adhere.rewards.constraints.text.views import blank, boxed_spans
from adhere.rewards.errors import ConfigError, ConstraintError, nearest
from adhere.rewards.verdict import Status, Verdict, failed, unscored

EMPTY = "the text is empty"


@dataclass(frozen=True, slots=True)
class Checker:
    """A constraint with clean arguments: call it with a text.

    ``prepare`` makes one and validates the arguments, once for all that is done with it.
    """

    constraint: Constraint
    kwargs: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The constraint's id."""
        return self.constraint.id

    def __call__(self, text: str, mode: Mode = "hardened") -> Verdict:
        """Return 1.0 or 0.0 with one line that says why; no score where a keyword is not a regular expression."""
        if mode not in MODES:
            raise ConstraintError(f"mode: '{mode}' is neither 'compat' nor 'hardened'")
        if not text or text.isspace() or (mode == "hardened" and blank(text)):
            return failed(EMPTY)
        decide = self.constraint.compat if mode == "compat" else self.constraint.hardened
        try:
            verdict = decide(text, self.kwargs)
        except re.error as error:
            return unscored(Status.ERROR, f"a keyword is not a regular expression, the official code raises: {error}")
        if not isinstance(verdict, Verdict):
            raise ConfigError(
                f"{type(self.constraint).__module__}: {mode} of the constraint '{self.id}' returned "
                f"{type(verdict).__name__}; return passed(why) or failed(why) of adhere.rewards.verdict"
            )
        return verdict

    def scoped(self, text: str, reasoning: str | None, mode: Mode = "hardened") -> Verdict:
        """Decide the part of a response that the constraint is about; it fails on a ``reasoning`` that is ``None``."""
        if self.constraint.scope == "answer":
            return self(text, mode)
        return failed("no finished reasoning block") if reasoning is None else self(reasoning, mode)

    def meets(self, text: str) -> bool:
        """Whether ``text`` meets the constraint in both modes."""
        return all(self(text, mode).passed for mode in MODES)

    def describe(self, variant: int = 0) -> str:
        """Ask for it in English; ``variant`` (modulo the number of wordings) is the wording, 0 is the official one."""
        wordings = self.constraint.wordings
        return wordings[variant % len(wordings)].format(**self.constraint.fields(self.kwargs))

    def transform(self, text: str) -> str | None:
        """Rewrite ``text`` so that it meets the constraint in both modes; ``None`` where that cannot be done.

        The last ``\\boxed{...}`` survives; only its case, its thousands separators and its spacing may change. A
        text that already complies is returned as it is, so applying a transform twice is applying it once.
        """
        if self.meets(text):
            return text
        done = self.constraint.rewrite(text, self.kwargs) if text.strip() else None
        if done is None or not self.meets(done):
            return None
        boxes = [
            re.sub(r"[\s,\\]", "", whole[slice(*spans[-1])]).casefold() if (spans := boxed_spans(whole)) else ""
            for whole in (done, text)
        ]
        return done if boxes[0] == boxes[1] else None

    def excludes(self, other: Checker) -> bool:
        """Whether this constraint, seen from its side alone, leaves no sensible response that meets ``other`` too."""
        needed = other.constraint.needs(other.kwargs)
        if needed is not None and self.constraint.rules_out(self.kwargs, needed):
            return True
        return self.constraint.clashes(self.kwargs, other.id, other.kwargs)


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
