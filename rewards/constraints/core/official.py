"""How the official drivers judge a response: MathIF's cut of it, IFEval's strict and loose readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adhere.rewards.constraints.core.constraint import Kwargs, Mode
from adhere.rewards.constraints.core.library import Checker, Named, prepare, prepared
from adhere.rewards.verdict import Verdict


def official_cut(response: str) -> str:
    """Return the text that MathIF's driver hands to its checkers (arXiv 2505.14810).

    The driver keeps what follows the first ``<think>``, of that what follows the first ``</think>``, of that
    what follows ``<answer>``, and of that what precedes ``</answer>``; a second occurrence of an opening tag
    or of ``</think>`` ends the text. Without ``</think>`` the reasoning itself is checked: training never
    cuts like this.
    """
    text = response
    for tag in ("<think>", "</think>", "<answer>"):
        if tag in text:
            text = text.split(tag)[1]
    return text.split("</answer>")[0]


@dataclass(frozen=True, slots=True)
class Following:
    """One verdict per constraint in IFEval's two ways (arXiv 2311.07911), in order."""

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


def follow(response: str, given: Sequence[Checker] | Sequence[Named], mode: Mode = "compat") -> Following:
    """Judge a response against the constraints of a prompt, strict and loose.

    The loose way is for measuring only: training on it would pay for what nobody asked for. Where no reading passes,
    its verdict is that of the response as it stands. Checkers serve all responses of a prompt.
    """
    checkers = [prepared(rule) for rule in given]
    strict = tuple(checker(response, mode) for checker in checkers)
    if all(verdict.passed for verdict in strict):
        return Following(strict, strict)
    variants = loose_variants(response)[1:]
    loose = []
    for checker, verdict in zip(checkers, strict, strict=True):
        readings = () if verdict.passed else (checker(variant, mode) for variant in variants)
        loose.append(next((reading for reading in readings if reading.passed), verdict))
    return Following(strict, tuple(loose))


def check_loose(response: str, constraint_id: str, kwargs: Kwargs | None = None, mode: Mode = "compat") -> Verdict:
    """Decide whether any of the eight readings of the response meets a constraint; see ``follow``.

    Args:
        response: the whole response.
        constraint_id: such as ``keywords:existence``.
        kwargs: the constraint's arguments.
        mode: ``compat`` or ``hardened``.

    Raises:
        ConstraintError: see ``prepare``.
    """
    return follow(response, [prepare(constraint_id, kwargs)], mode).loose[0]
