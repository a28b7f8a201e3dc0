"""The composite reward: named components, gates, and what the trainer sees of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewards.components import score_component
from rewards.config import ChecklistComponent, JudgeComponent, RewardConfig
from rewards.engine import Engine
from rewards.judge.panel import Panel
from rewards.judge.usage import JudgeUsage
from rewards.rollout import Rollout
from rewards.verdict import Status, Verdict

UNDECIDED = (Status.TIMEOUT, Status.ERROR, Status.UNPARSED)


@dataclass(frozen=True, slots=True)
class BatchScores:
    """All components of one batch of rollouts (B of them).

    ``verdicts[name]`` has B raw verdicts. ``values[name]`` has B values after gating, ``None`` where the trainer has to
    learn nothing. ``decided`` says for each rollout whether every weighted component was decided. ``seconds[name]`` is
    the wall time of a component over the batch. ``usage`` is what its judges did, ``None`` without judges, and
    ``outage`` why one of their endpoints did not answer at all.
    """

    verdicts: Mapping[str, Sequence[Verdict]]
    values: Mapping[str, Sequence[float | None]]
    decided: Sequence[bool]
    seconds: Mapping[str, float]
    usage: JudgeUsage | None = None
    outage: str | None = None


class Composite:
    """Scores batches of rollouts by every component of ``config`` in one pass."""

    def __init__(self, config: RewardConfig, engine: Engine) -> None:
        self.config = config
        self._engine = engine
        self.judges = Panel(
            {
                name: component.judge
                for name, component in config.components.items()
                if isinstance(component, ChecklistComponent | JudgeComponent) and component.judge is not None
            }
        )

    @property
    def names(self) -> list[str]:
        """Component names, in the order of the configuration."""
        return list(self.config.components)

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        """Score every rollout by every component, then apply the gates.

        A rollout with a weighted component that timed out, failed or could not be parsed has ``None`` in *every*
        component: a partial sum would tell the model that the missing part was worth 0.
        """
        verdicts: dict[str, list[Verdict]] = {}
        seconds: dict[str, float] = {}
        self.judges.forget_outage()
        before = self.judges.usage
        for name, component in self.config.components.items():
            started = time.perf_counter()
            verdicts[name] = score_component(component, rollouts, self._engine, self.judges.of(name))
            seconds[name] = time.perf_counter() - started
        decided = [self._decided({n: v[i] for n, v in verdicts.items()}) for i in range(len(rollouts))]
        values = {name: self._gated(name, verdicts, decided) for name in verdicts}
        usage = self.judges.usage - before if self.judges else None
        return BatchScores(verdicts, values, decided, seconds, usage, self.judges.outage)

    def _decided(self, row: Mapping[str, Verdict]) -> bool:
        for name, component in self.config.components.items():
            needed = [name] if component.gate is None else [name, component.gate]
            if component.weight > 0.0 and any(row[n].status in UNDECIDED for n in needed):
                return False
        return True

    def _gated(
        self, name: str, verdicts: Mapping[str, Sequence[Verdict]], decided: Sequence[bool]
    ) -> list[float | None]:
        gate = self.config.components[name].gate
        values: list[float | None] = []
        for i, verdict in enumerate(verdicts[name]):
            if not decided[i] or verdict.score is None:
                values.append(None)
            elif gate is None or verdicts[gate][i].status is Status.NOT_APPLICABLE or verdicts[gate][i].passed:
                values.append(verdict.score)
            else:
                values.append(None if verdicts[gate][i].score is None else 0.0)
        return values


def combine(config: RewardConfig, values: Mapping[str, float | None]) -> float | None:
    """Return one rollout's reward under the aggregations that do not need the group, before scaling.

    ``weighted_sum`` is Σ w·r, ``product`` Π r^w, ``all`` 1.0 where every weighted component that applies is 1.0.
    ``None`` where no weighted component has a value.

    Raises:
        ValueError: ``normalize_then_sum``, which is defined on groups only.
    """
    weighted = [
        (component.weight, value)
        for name, component in config.components.items()
        if component.weight > 0.0 and (value := values[name]) is not None
    ]
    if not weighted:
        return None
    match config.aggregation:
        case "weighted_sum":
            return sum(weight * value for weight, value in weighted)
        case "product":
            return math.prod(value**weight for weight, value in weighted)
        case "all":
            return float(all(value == 1.0 for _, value in weighted))
        case "normalize_then_sum":
            raise ValueError("normalize_then_sum is defined on groups of rollouts, not on one")


def normalize_then_sum(
    config: RewardConfig, groups: Sequence[Sequence[Mapping[str, float | None]]]
) -> list[float | None]:
    """Return Σ w·(r − mean)/max(std, floor) for every rollout, groups flattened in order (GDPO, arXiv 2601.05242).

    Mean and sample standard deviation are those of the component's values within the group. A component counts 0 where
    it has no value; a rollout without any value is ``None``. GDPO itself has no floor: without one, a judge's noise of
    0.02 in an otherwise perfect group weighs as much as a failure.
    """
    rewards: list[float | None] = []
    for group in groups:
        sums: list[float | None] = [None] * len(group)
        for name, component in config.components.items():
            known = [value for row in group if (value := row[name]) is not None]
            if component.weight == 0.0 or not known:
                continue
            mean = math.fsum(known) / len(known)
            variance = math.fsum((v - mean) ** 2 for v in known) / max(1, len(known) - 1)
            scale = max(math.sqrt(variance), config.std_floor, 1e-6)
            for i, row in enumerate(group):
                if (value := row[name]) is not None:
                    sums[i] = (sums[i] or 0.0) + component.weight * (value - mean) / scale
        rewards.extend(sums)
    return rewards
