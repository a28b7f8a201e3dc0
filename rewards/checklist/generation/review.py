"""From drafts to a checklist: rules where rules decide, nothing twice, nothing that excludes another requirement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adhere.rewards.checklist.generation.reply import Draft
from adhere.rewards.checklist.generation.words import flags, opposite, same
from adhere.rewards.checklist.mapping import map_requirement
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints import conflicts


@dataclass(frozen=True, slots=True)
class Drop:
    """A requirement that was left out, and why."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A requirement under review; ``fixed`` ones were there before and always win. No ``rule``: a judge decides."""

    text: str
    weight: float
    rule: RuleCheck | None
    category: str | None = None
    fixed: bool = False

    def row(self, name: str) -> dict[str, Any]:
        """Return the JSON form of the requirement, called ``name``."""
        check = {"type": "judge"} if self.rule is None else self.rule.to_dict()
        made: dict[str, Any] = {"id": name, "text": self.text, "weight": self.weight, "check": check}
        return made if self.category is None else made | {"category": self.category}


@dataclass(slots=True)
class Review:
    """What is left of the drafts in their order, what was left out, and what is doubtful of what is left."""

    kept: list[Candidate] = field(default_factory=list)
    dropped: list[Drop] = field(default_factory=list)

    @property
    def flagged(self) -> dict[str, list[str]]:
        """The flags of the kept requirements, by text; those without a flag are left out."""
        found: dict[str, list[str]] = {one.text: [*flags(one.text, mapped=one.rule is not None)] for one in self.kept}
        return {text: names for text, names in found.items() if names}


def review(
    drafts: Iterable[Draft],
    *,
    existing: Sequence[Candidate] = (),
    question: str | None = None,
    english: bool = False,
) -> Review:
    """Map drafts to rules, and drop those that repeat or contradict another; of two, the heavier one stays.

    Args:
        drafts: the requirements as the model wrote them.
        existing: requirements that the item has already; they stay as they are.
        question: the problem without its instructions, where that is known; see ``map_requirement``.
        english: whether the response has to be in English.
    """
    candidates = [
        Candidate(d.text, d.weight, map_requirement(d.text, question=question, english=english), d.category)
        for d in drafts
    ]
    made = Review()
    ranked = sorted(range(len(candidates)), key=lambda i: -candidates[i].weight)
    stay: list[int] = []
    for index in ranked:
        one = candidates[index]
        reason = _objection(one, [*existing, *(candidates[i] for i in stay)])
        if reason is None:
            stay.append(index)
        else:
            made.dropped.append(Drop(one.text, reason))
    made.kept = [candidates[i] for i in sorted(stay)]
    return made


def _objection(one: Candidate, others: Sequence[Candidate]) -> str | None:
    for other in others:
        if repeats(one, other):
            return f"repeats: {other.text}"
        if contradicts(one, other):
            return f"contradicts: {other.text}"
    return None


def repeats(one: Candidate, other: Candidate) -> bool:
    """Whether two requirements are the same rule, or read the same."""
    if one.rule is not None and other.rule is not None:
        return one.rule == other.rule
    return same(one.text, other.text)


def contradicts(one: Candidate, other: Candidate) -> bool:
    """Whether no sensible response meets both: two rules in conflict, or one text the negation of the other."""
    if one.rule is not None and other.rule is not None:
        return conflicts(one.rule.checker, other.rule.checker)
    return opposite(one.text, other.text)


def drop(made: Review, chosen: Callable[[int, Candidate], str | None]) -> None:
    """Drop the kept requirements for which ``chosen`` gives a reason; it is called with their place and them."""
    reasons = [(one, chosen(place, one)) for place, one in enumerate(made.kept)]
    made.kept = [one for one, reason in reasons if reason is None]
    made.dropped += [Drop(one.text, reason) for one, reason in reasons if reason is not None]


def keep_heaviest(made: Review, most: int) -> None:
    """Drop the lightest requirements beyond ``most``; among equals the earlier ones stay."""
    ranked = sorted(range(len(made.kept)), key=lambda i: (-made.kept[i].weight, i))
    beyond = set(ranked[most:])
    drop(made, lambda place, _: f"more than {most} requirements, and the lightest" if place in beyond else None)
