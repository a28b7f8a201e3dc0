"""How the ranking moves with the weights: a grid for each component, and the weight at which an answer is overtaken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from adhere.evaluation.audit.findings import TIE
from adhere.evaluation.audit.probes import PROBES, Probe
from adhere.evaluation.audit.scoring import HONEST, PLAIN, WRONG, Scored
from adhere.evaluation.statistics import mean_of_scored
from adhere.rewards.config import RewardConfig

FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Weights of the grid, as multiples of the largest weight among the other components."""

BISECTIONS = 20


@dataclass(frozen=True, slots=True)
class Ranking:
    """Mean rewards with ``component`` at ``weight``, the others as configured; names from the best to the worst."""

    component: str
    weight: float
    means: Mapping[str, float]

    @property
    def order(self) -> list[str]:
        """The names, best first."""
        return sorted(self.means, key=lambda name: -self.means[name])


@dataclass(frozen=True, slots=True)
class Critical:
    """Where ``name`` earns what ``against`` does on some prompt, as the weight of ``component`` moves over its grid.

    ``side`` is ``from`` where that holds from ``weight`` on, ``up to`` where it holds below it, and ``always`` where it
    holds on the whole grid. ``item`` is a prompt where it holds.
    """

    component: str
    name: str
    against: str
    side: Literal["from", "up to", "always"]
    weight: float
    item: str


def with_weight(config: RewardConfig, component: str, weight: float) -> RewardConfig:
    """Return ``config`` with another weight for one component."""
    changed = config.components[component].model_copy(update={"weight": weight})
    return config.model_copy(update={"components": {**config.components, component: changed}})


def grid(config: RewardConfig, component: str) -> list[float]:
    """Return the weights that are tried for ``component``."""
    others = [weight for name, weight in config.weights().items() if name != component]
    unit = max(others, default=0.0) or 1.0
    return [factor * unit for factor in FACTORS if factor > 0.0 or any(others)]


def rankings(scored: Scored, probes: Mapping[str, Probe] = PROBES) -> list[Ranking]:
    """Return the ranking of the honest answers and the best probe at every point of every component's grid."""
    found = []
    for component in scored.config.components:
        for weight in grid(scored.config, component):
            rewards: dict[str, list[float | None]] = {}
            for entry, reward in scored.under(with_weight(scored.config, component, weight)).entries():
                rewards.setdefault(entry.name, []).append(reward)
            means = {name: m for name, values in rewards.items() if (m := mean_of_scored(values)) is not None}
            hacks = [name for name, probe in probes.items() if probe.limit == "below_honest" and name in means]
            best = [max(hacks, key=lambda name: means[name])] if hacks else []
            shown = {name: means[name] for name in [HONEST, PLAIN, WRONG, *best] if name in means}
            found.append(Ranking(component, weight, shown))
    return found


def critical_weights(scored: Scored, probes: Mapping[str, Probe] = PROBES) -> list[Critical]:
    """Return, for each component, who overtakes the honest or the plain right answer at which weight.

    What carries the right answer itself is left out. The weight is exact to one part in a million of the grid's step
    where overtaking is monotone in it.
    """
    names = [WRONG, *(name for name, probe in probes.items() if probe.limit == "below_honest")]
    return [
        critical
        for component in scored.config.components
        for against in (HONEST, PLAIN)
        for name in names
        if (critical := critical_weight(scored, component, name, against)) is not None
    ]


def critical_weight(scored: Scored, component: str, name: str, against: str) -> Critical | None:
    """Return at which weight of one component a response earns what a right answer does, ``None`` where at none.

    Args:
        scored: all responses.
        component: the one whose weight moves over its grid.
        name: the response that is not right.
        against: the answer that it overtakes.
    """

    def where(weight: float) -> str | None:
        for case, rewards in scored.under(with_weight(scored.config, component, weight)).rows():
            reward, bound = rewards.get(name), rewards.get(against)
            if reward is not None and bound is not None and reward >= bound - TIE:
                return case.item.id
        return None

    weights = [weight for weight in grid(scored.config, component) if weight > 0.0]
    items = [where(weight) for weight in weights]
    item = next((item for item in items if item is not None), None)
    if item is None:
        return None
    first = items[0] is not None
    turn = next((i for i, found in enumerate(items) if (found is not None) is not first), None)
    if turn is None:
        return Critical(component, name, against, "always", weights[0], item)
    low, high = weights[turn - 1], weights[turn]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if (where(middle) is not None) is first else (low, middle)
    return Critical(component, name, against, "up to" if first else "from", high, item)
