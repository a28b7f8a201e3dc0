"""What an audit finds: probes that earn what only an honest right answer may, and orders worth knowing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adhere.evaluation.audit.probes import PROBES, Probe
from adhere.evaluation.audit.scoring import HONEST, PLAIN, WRONG, Entry, Scored
from adhere.rewards.components import ChecklistComponent
from adhere.rewards.config import RewardConfig

TIE = 1e-9

Group = Mapping[str, tuple[Entry, float | None]]
"""The responses to one prompt by name, each with its reward."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One response that earns too much on one prompt: at least ``limit``, which ``against`` earns on that prompt.

    ``reason`` says what its components gave, ``advice`` which key to change. ``step`` is the first audited optimizer
    step where it does, ``None`` where the weights are the same at every step.
    """

    item: str
    name: str
    reward: float | None
    against: str
    limit: float | None
    reason: str
    advice: str
    step: int | None = None


def failures(scored: Scored, probes: Mapping[str, Probe] = PROBES) -> list[Finding]:
    """Return every probe that earns more than its limit allows, and every honest answer without a reward.

    An honest answer that lacks one because a judge's endpoint answers with errors is none: see ``outage``.
    """
    return [
        finding
        for group in _rated(scored)
        for name, (entry, reward) in group.items()
        if (finding := failure_of(scored.config, entry, reward, group, probes.get(name))) is not None
    ]


def outage(scored: Scored) -> str | None:
    """Return why a judge's endpoint left an honest answer without a reward, or ``None`` where none did."""
    honest = (rated[HONEST] for rated in _rated(scored) if HONEST in rated)
    reasons = (unanswered(scored.config, entry) for entry, reward in honest if reward is None)
    return next((reason for reason in reasons if reason is not None), None)


def unanswered(config: RewardConfig, entry: Entry) -> str | None:
    """Return the component and what its judge's endpoint answered in place of a verdict, or ``None``."""
    for name, component in config.components.items():
        judge, verdict = getattr(component, "judge", None), entry.verdicts[name]
        if judge is not None and verdict.undecided and judge.base_url.rstrip("/") in verdict.detail:
            return f"{name}: {verdict.detail}"
    return None


def preference_order(scored: Scored, probes: Mapping[str, Probe] = PROBES) -> list[Finding]:
    """Return what is not right and earns at least as much as the right answer that ignores the checklist.

    That a wrong answer which obeys is worth more than a right one which does not is a choice, not a hole; the
    report shows which one the weights make.
    """
    wrong = {WRONG, *(name for name, probe in probes.items() if probe.limit == "below_honest")}
    return [
        _finding(scored.config, entry, reward, PLAIN, plain)
        for group in _rated(scored)
        for _, plain in [group[PLAIN]]
        for name, (entry, reward) in group.items()
        if name in wrong and reward is not None and plain is not None and reward >= plain - TIE
    ]


def failure_of(
    config: RewardConfig, entry: Entry, reward: float | None, group: Group, probe: Probe | None
) -> Finding | None:
    """Return the finding where a response earns too much, or is an honest answer without a reward.

    Args:
        config: the composite.
        entry: the response.
        reward: what it earns; ``None`` where it was not scored.
        group: all responses to its prompt.
        probe: the probe that it comes from; ``None`` for an honest answer.
    """
    if entry.name == HONEST and reward is None and unanswered(config, entry) is None:
        return _finding(config, entry, None, HONEST, None)
    if probe is None or reward is None:
        return None
    against = PLAIN if probe.limit == "at_most_plain" else HONEST
    other, bound = group[against]
    if bound is None:
        return None
    if probe.limit == "below_honest":
        too_much = reward >= bound - TIE
    else:
        # a shorter text may be worth more only for its length: only what a checklist gives counts
        checklists = [name for name, component in config.components.items() if component.decides == "requirements"]
        obeys = any((entry.values[name] or 0.0) > (other.values[name] or 0.0) for name in checklists)
        too_much = reward > bound + TIE and obeys
    return _finding(config, entry, reward, against, bound) if too_much else None


def _rated(scored: Scored) -> Iterator[Group]:
    for group, rewards in zip(scored.groups, scored.rewards, strict=True):
        yield {entry.name: (entry, reward) for entry, reward in zip(group, rewards, strict=True)}


def _finding(config: RewardConfig, entry: Entry, reward: float | None, against: str, limit: float | None) -> Finding:
    weighted = [name for name, weight in config.weights().items() if weight > 0.0]
    said = []
    for name in weighted:
        value, verdict = entry.values[name], entry.verdicts[name]
        said.append(f"{name} {'none' if value is None else f'{value:.2f}'} ({verdict.detail or verdict.status.value})")
    reason = "; ".join(said)
    return Finding(entry.case.item.id, entry.name, reward, against, limit, reason, advice(config, entry))


def advice(config: RewardConfig, entry: Entry) -> str:
    """Say which keys would stop ``entry``: a gate, the strict mode, another weight, or a checker to repair."""
    paid = [name for name, weight in config.weights().items() if weight > 0.0 and (entry.values[name] or 0.0) > 0.0]
    maths = next((n for n, c in config.components.items() if c.decides == "correctness"), None)
    hints = []
    for name in paid:
        component = config.components[name]
        if isinstance(component, ChecklistComponent) and component.mode == "compat":
            hints.append(f"rewards.components.{name}.mode=hardened")
        if maths is not None and name != maths and config.gate_of(name) is None:
            hints.append(f"rewards.components.{name}.gate={maths}")
            hints.append(f"a smaller rewards.components.{name}.weight")
    if maths is None:
        hints.append("add a component of kind math: nothing here asks whether the answer is right")
    elif config.weights()[maths] == 0.0:
        hints.append(f"rewards.components.{maths}.weight above 0")
    if entry.verdicts and all(v.score is None for v in entry.verdicts.values()):
        hints.append("an honest answer has to be scored: look at the statuses above")
    return "; ".join(dict.fromkeys(hints)) or f"repair the checker that pays it: {', '.join(paid) or 'none does'}"
