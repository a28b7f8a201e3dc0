"""The audit of a composite reward: what would hacks earn, next to honest answers, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.audit.cases import Cases, Form, build_cases
from evaluation.audit.conflicts import Pair, component_pairs
from evaluation.audit.endpoints import without_unreachable
from evaluation.audit.findings import Finding, failures, preference_order
from evaluation.audit.probes import PROBES, Probe
from evaluation.audit.scoring import Scored, Scorer, score_cases
from evaluation.audit.weights import Critical, Ranking, critical_weights, rankings
from prompts.item import PromptItem
from rewards.composite import Composite
from rewards.config import ChecklistComponent, FormatComponent, MathComponent, RewardConfig
from rewards.engine import Engine

DEADLINE = 1.0
"""Seconds that an audit lets a comparison take: hostile probes are there to run into the deadline."""

OrderPolicy = Literal["report", "fail"]


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an audit found. ``skipped`` says what could not be audited, and why."""

    cases: Cases
    scored: Scored
    failures: tuple[Finding, ...]
    preferences: tuple[Finding, ...]
    pairs: tuple[Pair, ...]
    rankings: tuple[Ranking, ...]
    critical: tuple[Critical, ...]
    skipped: tuple[str, ...]
    order: OrderPolicy

    @property
    def passed(self) -> bool:
        """Whether no probe earns too much; under ``order='fail'`` a preference for wrong answers fails too."""
        return not self.failures and not (self.order == "fail" and self.preferences)


def audit_rewards(
    config: RewardConfig,
    items: Sequence[PromptItem],
    engine: Engine,
    *,
    reasoning: bool = False,
    prefilled: bool = False,
    order: OrderPolicy = "report",
) -> Audit:
    """Audit the composite that ``config`` describes on prompt ``items``.

    ``reasoning`` writes every response with a thought before its answer, as the recipe's targets are; ``prefilled``
    says that the chat template opens the thought. Components whose endpoint does not answer are left out, visibly.

    Raises:
        DataError: no item can be audited.
    """
    kept, reachable, skipped = without_unreachable(config, items)
    cases = build_cases(reachable, form_of(kept, reasoning=reasoning, prefilled=prefilled))
    return audit_scorer(Composite(capped(kept), engine), cases, skipped=skipped, order=order)


def audit_scorer(
    scorer: Scorer,
    cases: Cases,
    *,
    skipped: Sequence[str] = (),
    order: OrderPolicy = "report",
    probes: Mapping[str, Probe] = PROBES,
) -> Audit:
    """Audit anything that scores like a composite, on cases that are already built."""
    scored = score_cases(cases.cases, scorer, probes)
    return Audit(
        cases=cases,
        scored=scored,
        failures=tuple(failures(scored, probes)),
        preferences=tuple(preference_order(scored, probes)),
        pairs=tuple(component_pairs(scored)),
        rankings=tuple(rankings(scored, probes)),
        critical=tuple(critical_weights(scored, probes)),
        skipped=tuple(skipped),
        order=order,
    )


def audit_failures(scorer: Scorer, cases: Cases, probes: Mapping[str, Probe] = PROBES) -> list[Finding]:
    """Return the failures alone: what a training run asks for on a few prompts."""
    return failures(score_cases(cases.cases, scorer, probes), probes)


def form_of(config: RewardConfig, *, reasoning: bool, prefilled: bool) -> Form:
    """Return the form of responses that ``config`` can reward: a reasoning block where one is asked for."""
    asked = any(isinstance(c, FormatComponent) and c.require_reasoning for c in config.components.values())
    whole = any(isinstance(c, ChecklistComponent) and c.scope == "response" for c in config.components.values())
    return Form(reasoning=prefilled or asked or (reasoning and not whole), prefilled=prefilled)


def capped(config: RewardConfig) -> RewardConfig:
    """Return ``config`` with the deadlines of maths components cut to the audit's own."""
    components = {
        name: component.model_copy(update={"timeout": min(component.timeout, DEADLINE)})
        if isinstance(component, MathComponent)
        else component
        for name, component in config.components.items()
    }
    return config.model_copy(update={"components": components})
