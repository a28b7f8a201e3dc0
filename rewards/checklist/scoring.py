"""The score of a response against a checklist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rewards.checklist.requirement import Requirement
from rewards.constraints import Mode, check_scoped
from rewards.verdict import Status, Verdict, unscored

ChecklistScoring = Literal["weighted_mean", "mean", "all"]


def score_checklist(
    text: str,
    checklist: Sequence[Requirement],
    scoring: ChecklistScoring = "weighted_mean",
    mode: Mode = "hardened",
    *,
    reasoning: str | None = None,
) -> Verdict:
    """Score ``text`` in [0, 1]; ``parts`` holds one verdict per requirement, in order.

    ``weighted_mean`` is RLCF's Σ wᵢsᵢ / Σ wᵢ (arXiv 2507.18624), ``mean`` ignores the weights, and ``all`` is 1.0 only
    when every requirement is fully met. Requirements that do not apply are left out. One that could not be decided
    leaves the whole checklist without a score: a partial sum would reward whatever broke the check.

    ``reasoning`` is the finished reasoning block, which constraints of scope ``reasoning`` are decided on; without one
    they are not met.
    """
    if not checklist:
        return unscored(Status.NOT_APPLICABLE, "no requirement")
    parts = tuple(check_scoped(r.check.constraint, text, reasoning, r.check.kwargs, mode) for r in checklist)
    undecided = [p for p in parts if p.score is None and p.status is not Status.NOT_APPLICABLE]
    if undecided:
        return Verdict(None, undecided[0].status, undecided[0].detail, parts=parts)
    scored = [(r.weight, p.score) for r, p in zip(checklist, parts, strict=True) if p.score is not None]
    if not scored:
        return Verdict(None, Status.NOT_APPLICABLE, "no requirement applies", parts=parts)
    missed = [r.id for r, p in zip(checklist, parts, strict=True) if p.score is not None and p.score < 1.0]
    detail = f"missed {', '.join(missed)}" if missed else "all met"
    return Verdict(_aggregate(scored, scoring), detail=detail, parts=parts)


def _aggregate(scored: Sequence[tuple[float, float]], scoring: ChecklistScoring) -> float:
    if scoring == "all":
        return float(all(score == 1.0 for _, score in scored))
    weights = [weight if scoring == "weighted_mean" else 1.0 for weight, _ in scored]
    total = sum(weights)
    if total == 0.0:
        weights, total = [1.0] * len(scored), float(len(scored))
    return min(1.0, sum(w * s for w, (_, s) in zip(weights, scored, strict=True)) / total)
