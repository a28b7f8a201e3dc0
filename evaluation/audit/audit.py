"""The audit of a composite reward: what would hacks earn, next to honest answers, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from adhere.evaluation.audit.cases import Cases, Form, build_cases
from adhere.evaluation.audit.conflicts import Pair, component_pairs
from adhere.evaluation.audit.endpoints import without_unreachable
from adhere.evaluation.audit.findings import Finding, failures, outage, preference_order
from adhere.evaluation.audit.probes import PROBES, Probe
from adhere.evaluation.audit.scoring import Scored, Scorer, score_cases
from adhere.evaluation.audit.weights import Critical, Ranking, critical_weights, rankings
from adhere.prompts.item import PromptItem
from adhere.rewards.components import ChecklistComponent, FormatComponent, MathComponent
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine

DEADLINE = 1.0
"""Seconds that an audit lets a comparison take: hostile probes are written to run into the deadline."""

OrderPolicy = Literal["report", "fail"]


NO_SETTINGS: Mapping[int, Mapping[str, float]] = MappingProxyType({})
NO_CONFIGS: Mapping[int, RewardConfig] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that an audit found. ``skipped`` says what could not be audited, and why.

    ``failures`` and ``preferences`` are those of every audited step, each with the first one that has it; ``scored``
    and the tables made of it have the weights of the last one.
    """

    cases: Cases
    scored: Scored
    failures: tuple[Finding, ...]
    preferences: tuple[Finding, ...]
    pairs: tuple[Pair, ...]
    rankings: tuple[Ranking, ...]
    critical: tuple[Critical, ...]
    skipped: tuple[str, ...]
    order: OrderPolicy
    outage: str | None = None

    @property
    def status(self) -> Literal["passed", "failed", "outage"]:
        """``failed``: a probe earns too much or, under ``order='fail'``, wrong answers are preferred. ``outage``: none
        was found, but a judge's endpoint answered with errors (``outage`` says which), so nothing is settled."""
        if self.failures or (self.order == "fail" and self.preferences):
            return "failed"
        return "passed" if self.outage is None else "outage"

    @property
    def passed(self) -> bool:
        """Whether every honest answer was scored and no probe earns too much; see ``status``."""
        return self.status == "passed"


def audit_rewards(
    config: RewardConfig,
    items: Sequence[PromptItem],
    engine: Engine,
    *,
    reasoning: bool = False,
    prefilled: bool = False,
    settings: Mapping[int, Mapping[str, float]] = NO_SETTINGS,
    order: OrderPolicy = "report",
) -> Audit:
    """Audit the composite that ``config`` describes on prompt ``items``.

    Components whose endpoint does not answer are left out, and the result names them.

    Args:
        config: the rewards of a recipe.
        items: prompt items; those with a gold answer can be audited.
        engine: worker pool that scores.
        reasoning: write every response with a thought before its answer, as the recipe's targets are.
        prefilled: the chat template opens the thought.
        settings: the weights to audit with by optimizer step, see `evaluation.audit.steps`; default: those of
            ``config``.
        order: whether a wrong answer that earns what a right one does fails the audit.

    Raises:
        DataError: no item can be audited.
    """
    peak = config
    if settings:
        peak = config.with_weights({name: max(w[name] for w in settings.values()) for name in config.components})
    kept, reachable, skipped = without_unreachable(peak, items)
    configs = {step: kept.with_weights(weights) for step, weights in settings.items()}
    unpaid = [step for step, at in configs.items() if not any(at.weights().values())]
    skipped += [f"step {step}: left out, every weight that could be audited is 0 at that step" for step in unpaid]
    paid = {step: at for step, at in configs.items() if step not in unpaid}
    cases = build_cases(reachable, response_form(kept, reasoning=reasoning, prefilled=prefilled))
    return audit_scorer(Composite(capped(kept), engine), cases, settings=paid, skipped=skipped, order=order)


def audit_scorer(
    scorer: Scorer,
    cases: Cases,
    *,
    settings: Mapping[int, RewardConfig] = NO_CONFIGS,
    skipped: Sequence[str] = (),
    order: OrderPolicy = "report",
    probes: Mapping[str, Probe] = PROBES,
) -> Audit:
    """Audit anything that scores like a composite, on cases that are already built.

    Args:
        scorer: scores like a composite.
        cases: from `build_cases`.
        settings: configurations by optimizer step that differ only in their weights: the responses are scored once.
        skipped: what the caller has left out, for the report.
        order: whether a wrong answer that earns what a right one does fails the audit.
        probes: the probes by name.
    """
    once = score_cases(cases.cases, scorer, probes)
    steps: list[tuple[int | None, Scored]] = [(step, once.under(at)) for step, at in settings.items()] or [(None, once)]
    scored = steps[-1][1]
    return Audit(
        cases=cases,
        scored=scored,
        failures=_first(steps, lambda at: failures(at, probes)),
        preferences=_first(steps, lambda at: preference_order(at, probes)),
        pairs=tuple(component_pairs(scored)),
        rankings=tuple(rankings(scored, probes)),
        critical=tuple(critical_weights(scored, probes)),
        skipped=tuple(skipped),
        order=order,
        outage=outage(scored),
    )


def _first(steps: Sequence[tuple[int | None, Scored]], find: Callable[[Scored], list[Finding]]) -> tuple[Finding, ...]:
    """Return what ``find`` finds at any step, each response to a prompt once, with the first step."""
    found: dict[tuple[str, str], Finding] = {}
    for step, scored in steps:
        for finding in find(scored):
            found.setdefault((finding.item, finding.name), replace(finding, step=step))
    return tuple(found.values())


def audit_failures(scorer: Scorer, cases: Cases, probes: Mapping[str, Probe] = PROBES) -> list[Finding]:
    """Return only the failures: what a training run asks for on a few prompts."""
    return failures(score_cases(cases.cases, scorer, probes), probes)


def response_form(config: RewardConfig, *, reasoning: bool, prefilled: bool) -> Form:
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
