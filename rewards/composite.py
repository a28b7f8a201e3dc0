"""The composite reward: named components, gates, what the trainer sees of them, and scored rollouts as rows."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adhere.rewards.adherence import adherence
from adhere.rewards.checklist.judge_protocol import Unasked
from adhere.rewards.components import Context
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.panel import Panel
from adhere.rewards.judge.usage import JudgeUsage
from adhere.rewards.rollout import Rollout
from adhere.rewards.services import Service, Services
from adhere.rewards.verdict import Status, Verdict

UNDECIDED = (Status.TIMEOUT, Status.ERROR, Status.UNPARSED)


@dataclass(frozen=True, slots=True)
class BatchScores:
    """All components of one batch of rollouts (B of them).

    ``verdicts[name]`` has B raw verdicts. ``values[name]`` has B values after gating, ``None`` where the trainer has to
    learn nothing. ``decided`` says for each rollout whether every weighted component was decided. ``seconds[name]`` is
    the wall time of a component over the batch. ``usage`` is what its judges did, ``None`` without judges, and
    ``outage`` why an endpoint that a component asks did not answer at all.
    """

    verdicts: Mapping[str, Sequence[Verdict]]
    values: Mapping[str, Sequence[float | None]]
    decided: Sequence[bool]
    seconds: Mapping[str, float]
    usage: JudgeUsage | None = None
    outage: str | None = None


class Composite:
    """Scores batches of rollouts by every component of ``config`` in one pass.

    ``weights`` is what each component weighs now, and ``gates`` what gates it: what the configuration says, until
    :meth:`at` moves a schedule on.
    """

    def __init__(self, config: RewardConfig, engine: Engine) -> None:
        self.config = config
        self.weights, self.gates = config.weights(0, 1), _gates(config, 0, 1)
        judges = {name: getattr(component, "judge", None) for name, component in config.components.items()}
        self.judges = Panel({name: judge for name, judge in judges.items() if judge is not None})
        self._contexts = {
            name: Context(engine, self.judges.of(name), name, component.open(name))
            for name, component in config.components.items()
        }
        resources = [context.resource for context in self._contexts.values()]
        self.services = Services([*self.judges.distinct(), *(r for r in resources if isinstance(r, Service))])

    def under(self, config: RewardConfig) -> Composite:
        """Return a composite of ``config``, of the same components, that shares judges, processes and connections."""
        other = copy.copy(self)
        other.config, other.weights, other.gates = config, config.weights(0, 1), _gates(config, None, None)
        # A gate that has not closed yet stays open: an audit has to see what is paid now.
        for name, gate in self.gates.items():
            if gate is None and config.components[name].gate_from > 0.0:
                other.gates[name] = None
        return other

    def close(self) -> None:
        """End what components keep between batches; the next batch starts it again."""
        for context in self._contexts.values():
            if hasattr(context.resource, "close"):
                context.resource.close()

    @property
    def names(self) -> list[str]:
        """Component names, in the order of the configuration."""
        return list(self.config.components)

    def at(self, step: int, total: int) -> None:
        """Let scheduled weights and gates be those of optimizer ``step`` (from 0) of ``total``."""
        self.weights, self.gates = self.config.weights(step, total), _gates(self.config, step, total)

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        """Score every rollout by every component, then apply the gates.

        A rollout with a weighted component that timed out, failed or could not be parsed has ``None`` in *every*
        component: a partial sum would tell the model that the missing part was worth 0.
        """
        found: dict[str, list[Verdict]] = {}
        seconds: dict[str, float] = {}
        self.services.forget_outage()
        before = self.judges.usage
        for name in sorted(self.names, key=lambda name: self.gates[name] is not None):
            started = time.perf_counter()
            found[name] = self._scored(name, rollouts, found)
            seconds[name] = time.perf_counter() - started
        verdicts = {name: found[name] for name in self.names}
        decided = [True] * len(rollouts)
        for name, weight in self.weights.items():
            for needed in (name, self.gates[name]):
                if weight > 0.0 and needed is not None:
                    decided = [
                        so and v.status not in UNDECIDED for so, v in zip(decided, verdicts[needed], strict=True)
                    ]
        values = {name: self._gated(name, verdicts, decided) for name in verdicts}
        usage = self.judges.usage - before if self.judges else None
        outage = self.services.outage
        return BatchScores(verdicts, values, decided, seconds, usage, outage.reason if outage else None)

    def _scored(self, name: str, rollouts: Sequence[Rollout], found: Mapping[str, Sequence[Verdict]]) -> list[Verdict]:
        """Return the verdicts of a component, whose judge is asked only where the gate lets a weighted score count.

        Elsewhere rules and programs decide as ever, and stand in ``parts``; a score that needs the judge there is
        ``not_applicable``, for a mean over the rest would not be the checklist's. At weight 0 the score is wanted as a
        metric, and the judge is asked about every response.
        """
        gate, context = self.gates[name], self._contexts[name]
        if context.judge is None or gate is None or self.weights[name] == 0.0:
            return self._checked(context, rollouts)
        shut = [i for i, v in enumerate(found[gate]) if v.status is not Status.NOT_APPLICABLE and not v.passed]
        if not shut:
            return self._checked(context, rollouts)
        unasked = Unasked(_not_asked(gate))
        counting = sorted(set(range(len(rollouts))) - set(shut))
        verdicts: dict[int, Verdict] = {}
        for places, here in ((counting, context), (shut, replace(context, judge=unasked))):
            scored = self._checked(here, [rollouts[i] for i in places])
            verdicts.update(zip(places, scored, strict=True))
        for i in shut:
            if not verdicts[i].undecided and unasked.touched(verdicts[i]):
                verdicts[i] = replace(verdicts[i], score=None, status=Status.NOT_APPLICABLE, detail=unasked.why)
        return [verdicts[i] for i in range(len(rollouts))]

    def _checked(self, context: Context, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return the component's verdicts.

        Raises:
            ConfigError: they are not one for each rollout; the fault of a user's class.
        """
        component = self.config.components[context.name]
        verdicts = list(component.score(rollouts, context))
        if len(verdicts) != len(rollouts):
            raise ConfigError(
                f"{context.key}: kind '{component.kind}' returned {len(verdicts)} verdicts for {len(rollouts)} "
                f"rollouts; return one for each, in order"
            )
        for i, verdict in enumerate(verdicts):
            if not isinstance(verdict, Verdict):
                raise ConfigError(
                    f"{context.key}: kind '{component.kind}' returned {type(verdict).__name__} for rollout {i}; return "
                    f"an adhere.rewards.Verdict"
                )
        return verdicts

    def _gated(
        self, name: str, verdicts: Mapping[str, Sequence[Verdict]], decided: Sequence[bool]
    ) -> list[float | None]:
        gate = self.gates[name]
        values: list[float | None] = []
        for i, verdict in enumerate(verdicts[name]):
            unasked = gate is not None and verdict.detail == _not_asked(gate)
            if not decided[i] or (verdict.score is None and not unasked):
                values.append(None)
            elif gate is None or verdicts[gate][i].status is Status.NOT_APPLICABLE or verdicts[gate][i].passed:
                values.append(verdict.score)
            else:
                values.append(None if verdicts[gate][i].score is None else 0.0)
        return values


def rollout_rows(composite: Composite, rollouts: Sequence[Rollout], scores: BatchScores) -> list[dict[str, Any]]:
    """Return one row per rollout, of plain values that can be gathered."""
    components = composite.config.components
    answers, requirements = (
        next((name for name, component in components.items() if component.decides == what), None)
        for what in ("correctness", "requirements")
    )
    rows = []
    for i, rollout in enumerate(rollouts):
        verdicts = {name: column[i] for name, column in scores.verdicts.items()}
        figures = adherence(verdicts.get(answers or ""), verdicts.get(requirements or ""))
        parts = verdicts[requirements].parts if requirements else ()
        rows.append(
            {
                "item_id": rollout.id,
                "source": rollout.source,
                "prompt": rollout.prompt,
                "response": rollout.response,
                "answer": rollout.answer,
                "tokens": rollout.tokens,
                "finished": rollout.finished,
                "values": {name: column[i] for name, column in scores.values.items()},
                "verdicts": {name: verdict.to_dict() for name, verdict in verdicts.items()},
                "requirements": [
                    {"id": requirement.id, "text": requirement.text, **part.to_dict()}
                    for requirement, part in zip(rollout.checklist, parts, strict=False)
                ],
                "correct": figures.correct,
                "followed": figures.followed,
                "joint": figures.joint,
                "decided": scores.decided[i],
                "seconds": {name: s / len(rollouts) for name, s in scores.seconds.items()},
            }
        )
    return rows


def _gates(config: RewardConfig, step: int | None, total: int | None) -> dict[str, str | None]:
    return {name: config.gate_of(name, step, total) for name in config.components}


def _not_asked(gate: str) -> str:
    return f"not asked: '{gate}' did not pass"
