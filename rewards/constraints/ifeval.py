"""IFEval's two ways to judge a response, strict and loose (arXiv 2311.07911)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewards.constraints.base import Kwargs, Mode
from rewards.constraints.library import check
from rewards.verdict import Verdict

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
    return check(constraint_id, response, kwargs, mode)


def check_loose(response: str, constraint_id: str, kwargs: Kwargs | None = None, mode: Mode = "compat") -> Verdict:
    """Decide whether any of the eight readings of the response meets a constraint.

    For measuring only: training on it would pay for what nobody asked for. Where no reading passes, the
    verdict is that of the response as it stands.

    Raises:
        ConstraintError: see ``check``.
    """
    return _loosened(check_strict(response, constraint_id, kwargs, mode), response, constraint_id, kwargs, mode)


def _loosened(strict: Verdict, response: str, constraint_id: str, kwargs: Kwargs | None, mode: Mode) -> Verdict:
    if strict.passed:
        return strict
    found = (check(constraint_id, variant, kwargs, mode) for variant in loose_variants(response)[1:])
    return next((verdict for verdict in found if verdict.passed), strict)


def follow(response: str, wishes: Sequence[Wish], mode: Mode = "compat") -> Following:
    """Judge a response against the constraints of a prompt, strict and loose."""
    strict = tuple(check_strict(response, key, kwargs, mode) for key, kwargs in wishes)
    loose = tuple(
        _loosened(verdict, response, key, kwargs, mode) for verdict, (key, kwargs) in zip(strict, wishes, strict=True)
    )
    return Following(strict, loose)
