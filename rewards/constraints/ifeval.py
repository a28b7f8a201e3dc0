"""IFEval's two ways to judge a response, strict and loose (arXiv 2311.07911)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adhere.rewards.constraints.base import Kwargs, Mode
from adhere.rewards.constraints.checker import Checker
from adhere.rewards.constraints.library import prepare
from adhere.rewards.verdict import Verdict

Wish = tuple[str, Kwargs | None]
"""A constraint's id and its arguments."""


@dataclass(frozen=True, slots=True)
class Following:
    """One verdict per constraint in both ways, in order."""

    strict: tuple[Verdict, ...]
    loose: tuple[Verdict, ...]


def loose_variants(response: str) -> tuple[str, ...]:
    """Return IFEval's eight readings of a response, the response itself first; blank and repeated ones are left out.

    Each is the response without its first line, its last line, both or neither, with or without asterisks.
    """
    lines = response.split("\n")
    cuts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    variants = [*cuts, *(cut.replace("*", "") for cut in cuts)]
    return tuple(dict.fromkeys([response, *(variant for variant in variants if variant.strip())]))


def check_strict(response: str, constraint_id: str, kwargs: Kwargs | None = None, mode: Mode = "compat") -> Verdict:
    """Decide a constraint on the response as it stands; see ``check``."""
    return prepare(constraint_id, kwargs, mode)(response)


def check_loose(response: str, constraint_id: str, kwargs: Kwargs | None = None, mode: Mode = "compat") -> Verdict:
    """Decide whether any of the eight readings of the response meets a constraint.

    For measuring only: training on it would pay for what nobody asked for. Where no reading passes, the
    verdict is that of the response as it stands.

    Raises:
        ConstraintError: see ``check``.
    """
    checker = prepare(constraint_id, kwargs, mode)
    strict = checker(response)
    return strict if strict.passed else _loosened(strict, checker, loose_variants(response)[1:])


def _loosened(strict: Verdict, checker: Checker, variants: Sequence[str]) -> Verdict:
    return next((verdict for verdict in map(checker, variants) if verdict.passed), strict)


def follow(response: str, wishes: Sequence[Wish], mode: Mode = "compat") -> Following:
    """Judge a response against the constraints of a prompt, strict and loose."""
    return follow_prepared(response, [prepare(key, kwargs, mode) for key, kwargs in wishes])


def follow_prepared(response: str, checkers: Sequence[Checker]) -> Following:
    """Judge a response as ``follow`` does; the checkers of a prompt serve all its responses."""
    strict = tuple(checker(response) for checker in checkers)
    if all(verdict.passed for verdict in strict):
        return Following(strict, strict)
    variants = loose_variants(response)[1:]
    loose = tuple(
        verdict if verdict.passed else _loosened(verdict, checker, variants)
        for verdict, checker in zip(strict, checkers, strict=True)
    )
    return Following(strict, loose)
