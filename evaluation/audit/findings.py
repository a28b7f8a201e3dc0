"""What an audit finds: probes that earn what only an honest right answer may, and orders worth knowing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evaluation.audit.probes import PROBES, Probe
from evaluation.audit.scoring import HONEST, PLAIN, WRONG, Entry, Scored
from rewards.config import ChecklistComponent, MathComponent, RewardConfig

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Finding:
    """One response that earns too much on one prompt: at least ``limit``, which ``against`` earns there.

    ``reason`` says what its components gave, ``advice`` which key to change.
    """

    item: str
    name: str
    reward: float | None
    against: str
    limit: float | None
    reason: str
    advice: str


def failures(scored: Scored, probes: Mapping[str, Probe] = PROBES) -> list[Finding]:
    """Return every probe that earns more than its limit allows, and every honest answer without a reward."""
    return [finding for finding in _compare(scored, probes) if finding is not None]


def preference_order(scored: Scored, probes: Mapping[str, Probe] = PROBES) -> list[Finding]:
    """Return what is not right and earns at least as much as the right answer that ignores the checklist.

    That a wrong answer which obeys is worth more than a right one which does not is a choice, not a hole; the
    report shows which one the weights make.
    """
    found = []
    for entry, reward, rewards in _with_rewards(scored):
        wrong = entry.name == WRONG or (entry.name in probes and probes[entry.name].limit == "below_honest")
        plain = rewards.get(PLAIN)
        if wrong and reward is not None and plain is not None and reward >= plain - TOLERANCE:
            found.append(_finding(scored.config, entry, reward, PLAIN, plain))
    return found


def _compare(scored: Scored, probes: Mapping[str, Probe]) -> Iterator[Finding | None]:
    for entry, reward, rewards in _with_rewards(scored):
        if entry.name == HONEST and reward is None:
            yield _finding(scored.config, entry, None, HONEST, None)
        if entry.name not in probes or reward is None:
            continue
        limit = probes[entry.name].limit
        against = PLAIN if limit == "at_most_plain" else HONEST
        bound = rewards[against]
        if bound is None:
            continue
        too_much = reward >= bound - TOLERANCE if limit == "below_honest" else reward > bound + TOLERANCE
        yield _finding(scored.config, entry, reward, against, bound) if too_much else None


def _with_rewards(scored: Scored) -> Iterator[tuple[Entry, float | None, dict[str, float | None]]]:
    for group, rewards in zip(scored.groups, scored.rewards, strict=True):
        by_name = {entry.name: reward for entry, reward in zip(group, rewards, strict=True)}
        for entry in group:
            yield entry, by_name[entry.name], by_name


def _finding(config: RewardConfig, entry: Entry, reward: float | None, against: str, limit: float | None) -> Finding:
    weighted = [name for name, component in config.components.items() if component.weight > 0.0]
    reason = "; ".join(
        f"{name} {_shown(entry.values[name])} ({entry.verdicts[name].detail or entry.verdicts[name].status.value})"
        for name in weighted
    )
    return Finding(entry.case.item.id, entry.name, reward, against, limit, reason, advice(config, entry))


def advice(config: RewardConfig, entry: Entry) -> str:
    """Say which keys would stop ``entry``: a gate, the strict mode, another weight, or a checker to repair."""
    paid = [n for n, c in config.components.items() if c.weight > 0.0 and (entry.values[n] or 0.0) > 0.0]
    maths = next((n for n, c in config.components.items() if isinstance(c, MathComponent)), None)
    hints = []
    for name in paid:
        component = config.components[name]
        if isinstance(component, ChecklistComponent) and component.mode == "compat":
            hints.append(f"rewards.components.{name}.mode=hardened")
        if maths is not None and name != maths and component.gate is None:
            hints.append(f"rewards.components.{name}.gate={maths}")
            hints.append(f"a smaller rewards.components.{name}.weight")
    if maths is None:
        hints.append("add a component of kind math: nothing here asks whether the answer is right")
    elif config.components[maths].weight == 0.0:
        hints.append(f"rewards.components.{maths}.weight above 0")
    if entry.verdicts and all(v.score is None for v in entry.verdicts.values()):
        hints.append("an honest answer has to be scored: look at the statuses above")
    return "; ".join(dict.fromkeys(hints)) or f"repair the checker that pays it: {', '.join(paid) or 'none does'}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
