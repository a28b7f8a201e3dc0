"""The same completions under other weights, gates and aggregations, and groups of other sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from adhere.evaluation.rehearsal.estimates import dead_step, live_share
from adhere.evaluation.rehearsal.figures import Rehearsal, rehearsal_figures
from adhere.evaluation.reweight.agreement import cells
from adhere.rewards.aggregation import AGGREGATIONS
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError
from adhere.rewards.schedules import WeightSchedule

FACTORS = (0.25, 0.5, 2.0, 4.0)
COMPLIANT_WRONG = "as told, wrong"
"""The cell of rollouts that obey and are wrong."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One change, and what it would make of the groups.

    ``overrides`` make it from the recipe. ``live`` is the share of groups with an advantage, ``dead`` that of steps
    without one. ``least`` is the share of groups in which the weighted component that varies least varies: of what GRPO
    can learn only as much as that. ``shares`` are those of the advantage. ``paid`` is the mean advantage of a wrong
    answer that obeys, above 0 where it is rewarded; ``None`` where there is none. ``cost`` is the completions of a step
    in units of the recipe's.
    """

    name: str
    overrides: tuple[str, ...]
    live: float
    dead: float
    least: float
    shares: dict[str, float]
    paid: float | None
    cost: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "overrides": list(self.overrides),
            "live_share": round(self.live, 4),
            "zero_gradient_share": round(self.dead, 6),
            "least_taught": round(self.least, 4),
            "advantage_shares": {n: None if math.isnan(s) else round(s, 4) for n, s in self.shares.items()},
            "compliant_wrong_advantage": None if self.paid is None else round(self.paid, 4),
            "completions_a_step": round(self.cost, 4),
        }


def alternatives(found: Rehearsal) -> list[Alternative]:
    """Return other gates, aggregations, weights and group sizes; the first is the recipe as it is."""
    made = [_measured(found, "as it is", ())]
    for name, overrides, config in _other_rewards(found.config, found.total):
        try:
            other = rehearsal_figures(
                found.rollouts, config, total=found.total, prompts=found.prompts, accumulation=found.accumulation,
                kinds=found.kinds, finished=found.finished,
            )  # fmt: skip
        except ConfigError:
            continue  # it does not take these components, or a judge was not asked about what it would count
        made.append(_measured(other, name, overrides))
    drawn = found.rollouts.shape[1]
    for size in sorted({max(2, drawn // 2), 2 * drawn, 4 * drawn} - {drawn}):
        live = live_share(found.found.rewards, size)
        least = min((live_share(found.gated(name), size) for name in found.weighted), default=0.0)
        made.append(
            replace(
                made[0],
                name=f"groups of {size}",
                overrides=_batch(found, size, found.prompts),
                live=live,
                dead=(1.0 - live) ** found.prompts,
                least=least,
                cost=size / drawn,
            )
        )
    for times in (2, 4):
        prompts = found.prompts * times
        overrides = _batch(found, drawn, prompts)
        dead = dead_step(found.live, found.groups, prompts)
        made.append(
            replace(made[0], name=f"{prompts} prompts a step", overrides=overrides, dead=dead, cost=float(times))
        )
    return made


def batch_for(found: Rehearsal, wanted: float) -> tuple[Alternative, float] | None:
    """Return the smallest batch whose steps are expected to have ``wanted`` live groups, and how many they would have.

    ``None`` where none has them. Group sizes are those of the alternatives. The passes of a step stay as they are; as
    many are accumulated as it takes, at most 64 times those of the recipe.
    """
    drawn, prompts = found.rollouts.shape[1], found.prompts
    one_pass = drawn * prompts // found.accumulation
    base, best = _measured(found, "as it is", ()), None
    for size in (drawn, *sorted({max(2, drawn // 2), 2 * drawn, 4 * drawn} - {drawn})):
        live = base.live if size == drawn else live_share(found.found.rewards, size)
        enough = (
            passes
            for passes in range(1, 64 * found.accumulation + 1)
            if one_pass * passes % size == 0 and live * one_pass * passes / size >= wanted
        )
        passes = next(enough, None)
        if passes is None or (best is not None and passes >= best[0]):
            continue
        groups = one_pass * passes // size
        overrides = (f"grpo.group_size={size}",) if size != drawn else ()
        least = min((live_share(found.gated(name), size) for name in found.weighted), default=0.0)
        other = replace(
            base,
            name=f"{groups} groups of {size} a step",
            overrides=(*overrides, f"grpo.gradient_accumulation={passes}"),
            live=live,
            dead=(1.0 - live) ** groups,
            least=base.least if size == drawn else least,
            cost=size * groups / (drawn * prompts),
        )
        best = passes, other, live * groups
    return None if best is None else best[1:]


def _measured(found: Rehearsal, name: str, overrides: tuple[str, ...]) -> Alternative:
    spreads = [found.spread_gated(component) for component in found.weighted]
    paid = cells(found.found, found.rollouts).get(COMPLIANT_WRONG)
    return Alternative(
        name=name,
        overrides=overrides,
        live=found.live / found.groups,
        dead=found.zero_gradient_share,
        least=min(spreads, default=0.0),
        shares=dict(found.found.shares),
        paid=None if paid is None else paid.advantage,
    )


def _other_rewards(config: RewardConfig, total: int) -> Iterator[tuple[str, tuple[str, ...], RewardConfig]]:
    """Yield rewards that differ from ``config`` in one gate, the aggregation, the scale or one weight."""
    weights = config.weights(0, total)
    weighted = [name for name, weight in weights.items() if weight > 0.0]
    for name in weighted:
        gate = getattr(config.components[name], "gate", None)
        others = [None] if gate is not None else [other for other in weighted if other != name]
        for other in others:
            override = f"rewards.components.{name}.gate={'null' if other is None else other}"
            text = f"{name} ungated" if other is None else f"{name} gated on {other}"
            if (made := _with(config, name, gate=other, gate_from=0.0)) is not None:
                yield text, (override,), made
    for aggregation in AGGREGATIONS:
        if aggregation != config.aggregation and (made := _whole(config, aggregation=aggregation)) is not None:
            yield aggregation, (f"rewards.aggregation={aggregation}",), made
    for scale in ("group", "batch", "none"):
        if (
            scale != config.scale
            and not config.aggregator.groupwise
            and (made := _whole(config, scale=scale)) is not None
        ):
            yield f"scaled by {scale}", (f"rewards.scale={scale}",), made
    for name in weighted if len(weighted) > 1 else []:
        if isinstance(config.components[name].weight, WeightSchedule):
            continue
        for factor in FACTORS:
            weight = weights[name] * factor
            if (made := _with(config, name, weight=weight)) is not None:
                yield f"{name} weighs {weight:g}", (f"rewards.components.{name}.weight={weight:g}",), made


def _whole(config: RewardConfig, **changes: Any) -> RewardConfig | None:
    try:
        return RewardConfig.model_validate(config.model_dump() | changes)
    except ValueError:
        return None


def _with(config: RewardConfig, name: str, **changes: Any) -> RewardConfig | None:
    components = config.model_dump()["components"]
    return _whole(config, components=components | {name: components[name] | changes})


def _batch(found: Rehearsal, size: int, prompts: int) -> tuple[str, ...]:
    """Return the overrides of a step of ``prompts`` groups of ``size``, by further accumulation."""
    drawn = found.rollouts.shape[1]
    times = size * prompts / (drawn * found.prompts)
    overrides = [f"grpo.group_size={size}"] if size != drawn else []
    if times > 1:
        overrides.append(f"grpo.gradient_accumulation={found.accumulation * round(times)}")
    return tuple(overrides)
