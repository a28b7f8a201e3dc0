"""The score of a response against a checklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from rewards.checklist.requirement import Requirement
from rewards.constraints import Mode, RuleCall, check, costly_call
from rewards.verdict import Status, Verdict, unscored

ChecklistScoring = Literal["weighted_mean", "mean", "all"]


def score_checklist(
    text: str,
    checklist: Sequence[Requirement],
    scoring: ChecklistScoring = "weighted_mean",
    mode: Mode = "hardened",
    known: Mapping[RuleCall, Verdict] = MappingProxyType({}),
) -> Verdict:
    """Score ``text`` in [0, 1]; ``parts`` holds one verdict per requirement, in order.

    ``weighted_mean`` is RLCF's Σ wᵢsᵢ / Σ wᵢ (arXiv 2507.18624), ``mean`` ignores the weights, and ``all`` is 1.0 only
    when every requirement is fully met. Requirements that do not apply are left out. One that could not be decided
    leaves the whole checklist without a score: a partial sum would reward whatever broke the check. ``known`` holds
    what workers have found for the checks of :func:`costly_calls`; without it they run here.
    """
    if not checklist:
        return unscored(Status.NOT_APPLICABLE, "no requirement")
    parts = tuple(_check(r, text, mode, known) for r in checklist)
    undecided = [p for p in parts if p.score is None and p.status is not Status.NOT_APPLICABLE]
    if undecided:
        return Verdict(None, undecided[0].status, undecided[0].detail, parts=parts)
    scored = [(r.weight, p.score) for r, p in zip(checklist, parts, strict=True) if p.score is not None]
    if not scored:
        return Verdict(None, Status.NOT_APPLICABLE, "no requirement applies", parts=parts)
    missed = [r.id for r, p in zip(checklist, parts, strict=True) if p.score is not None and p.score < 1.0]
    detail = f"missed {', '.join(missed)}" if missed else "all met"
    return Verdict(_aggregate(scored, scoring), detail=detail, parts=parts)


def costly_calls(text: str, checklist: Sequence[Requirement], mode: Mode) -> list[RuleCall]:
    """Return the checks of ``checklist`` on ``text`` that are for a worker."""
    calls = (costly_call(r.check.constraint, text, r.check.kwargs, mode) for r in checklist if text.strip())
    return [call for call in calls if call is not None]


def _check(requirement: Requirement, text: str, mode: Mode, known: Mapping[RuleCall, Verdict]) -> Verdict:
    rule = requirement.check
    call = costly_call(rule.constraint, text, rule.kwargs, mode) if known else None
    if call is not None and call in known:
        return known[call]
    return check(rule.constraint, text, rule.kwargs, mode)


def _aggregate(scored: Sequence[tuple[float, float]], scoring: ChecklistScoring) -> float:
    if scoring == "all":
        return float(all(score == 1.0 for _, score in scored))
    weights = [weight if scoring == "weighted_mean" else 1.0 for weight, _ in scored]
    total = sum(weights)
    if total == 0.0:
        weights, total = [1.0] * len(scored), float(len(scored))
    return min(1.0, sum(w * s for w, (_, s) in zip(weights, scored, strict=True)) / total)
