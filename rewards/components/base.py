"""What a reward component is: its keys in a recipe, and a score for every rollout of a batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from adhere.rewards.checklist.judge_protocol import Decider
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.registry import Registry
from adhere.rewards.rollout import Rollout
from adhere.rewards.schedules import Weight
from adhere.rewards.strict import Strict
from adhere.rewards.verdict import Status, Verdict, unscored


@dataclass(frozen=True, slots=True)
class Context:
    """What a component may use while it scores.

    ``engine`` runs functions in killable processes. ``judge`` answers questions where the component has a field
    ``judge``, else it is ``None``. ``name`` is the component's name in the recipe, and ``resource`` what its
    :meth:`Component.open` returned.
    """

    engine: Engine
    judge: Decider | None = None
    name: str = "NAME"
    resource: Any = None

    @property
    def key(self) -> str:
        """The dotted key of the component, with which messages begin."""
        return f"rewards.components.{self.name}"


class Component(Strict):
    """The base of every kind of reward component: a subclass adds its keys as fields, and :meth:`score`.

    Register it under its kind, which it also has as the default of its field ``kind``::

        @reward_component("brevity")
        class Brevity(Component):
            kind: Literal["brevity"] = "brevity"
            words: int = 50

            def score(self, rollouts, context):
                return [Verdict(1.0 if len(r.response.split()) <= self.words else 0.0) for r in rollouts]

    A field ``judge: JudgeConfig`` gives it a judge, in ``context.judge``.
    """

    weight: Weight = 1.0
    """How much the component counts, at least 0, used as written: a number, or a schedule over training. 0 makes it a
    metric: scored and logged, never trained on."""

    gate: str | None = None
    """Name of another component. This one counts only where that one passed, and where that one does not apply."""

    gate_from: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of training from which the gate counts; before that the component counts whether or not the other one
    passed. 0 is from the start, 1 never."""

    kind: str
    """Which kind of component it is."""

    decides: ClassVar[Literal["correctness", "requirements"] | None] = None
    """``correctness``: a verdict that passed says that the answer is right. ``requirements``: the ``parts`` of a
    verdict are those of the checklist's requirements, in order. The first of each gives the rates of a run."""

    operational: ClassVar[frozenset[str]] = frozenset()
    """Keys that decide how a score is reached, not what it is: a run goes on under other values of these."""

    rescorable: ClassVar[frozenset[str]] = frozenset()
    """Keys under whose other values :meth:`rescored` makes the scores of a finished run again."""

    @property
    def binary(self) -> bool:
        """Whether every score is 0 or 1, and nothing between."""
        return False

    def check(self, name: str) -> None:
        """Check, before anything starts, what the types of the keys cannot say; ``name`` is the component's.

        Raises:
            ConfigError: with the dotted key. The driver calls it, so it must not import torch.
        """

    def open(self, name: str) -> Any:
        """Return what the component keeps between batches, such as a process; closed by its ``close`` if it has one."""
        return None

    def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
        """Return one verdict for each rollout, in order; what cannot be scored has none, which is never 0."""
        raise NotImplementedError(f"a component of kind '{self.kind}' has no method score")

    def rescored(self, scores: np.ndarray, tokens: np.ndarray, parts: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """Return the scores of recorded rollouts under this component's values of the keys :attr:`rescorable`.

        Args:
            scores: the recorded scores, of any shape, in [0, 1]; NaN where there is none.
            tokens: completion lengths, of the same shape.
            parts: the scores of all requirements of all rollouts, one after another; NaN where there is none.
            owners: for each of ``parts`` the place of its rollout in the flattened ``scores``.
        """
        raise NotImplementedError(f"the scores of a component of kind '{self.kind}' cannot be made again")


def _problem(name: str, thing: Any) -> str | None:
    """Say in one sentence why a class cannot be registered as the component kind ``name``."""
    if not (isinstance(thing, type) and issubclass(thing, Component)):
        return "is not a subclass of adhere.rewards.Component"
    if thing.model_fields["kind"].default != name:
        return f'needs the field `kind: Literal["{name}"] = "{name}"`'
    if thing.score is Component.score:
        return "needs a method score(self, rollouts, context) that returns one Verdict for each rollout"
    return None


COMPONENTS: Registry[type[Component]] = Registry("reward component kind", _problem)
"""The kinds of component that a recipe can name, ours and those of plug-ins."""

reward_component = COMPONENTS.register


def ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return ``bounds``.

    Raises:
        ValueError: the first is not below the second, or one is not finite.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"bounds: [{low:g}, {high:g}]: the first has to be below the second, and both finite")
    return bounds


class Valued(Component):
    """A component whose scores are made from values that come from outside."""

    def verdict(self, value: float | None) -> Verdict:
        """Return the verdict of one value.

        Raises:
            ValueError: it cannot be used; says why.
        """
        raise NotImplementedError

    def verdicts(self, rows: Sequence[Any], key: str, *, strict: bool) -> list[Verdict]:
        """Return the verdicts of a batch's ``rows``, each a value, ``{"verdict": [...]}``, ``{"error": reason}`` or,
        for a timeout, ``{"late": reason}``.

        ``{"wrong": reason}``, and a value out of bounds, is a fault of the function: with ``strict`` it is an error
        that opens with ``key``, else an ``error`` verdict of its row.

        Raises:
            ConfigError: see above.
        """
        found = []
        for i, row in enumerate(rows):
            try:
                match row:
                    case {"verdict": verdict}:
                        found.append(Verdict.decode(verdict))
                    case {"error": reason}:
                        found.append(unscored(Status.ERROR, reason))
                    case {"late": reason}:
                        found.append(unscored(Status.TIMEOUT, reason))
                    case {"wrong": reason}:
                        raise ValueError(reason)
                    case _:
                        found.append(self.verdict(row))
            except ValueError as error:
                if strict:
                    raise ConfigError(f"{key}: rollout {i} of the first batch: {error}") from error
                found.append(unscored(Status.ERROR, f"{key}: {error}"))
        return found


ORDINARY = "The sum is 12.\n\nThe answer is \\boxed{12}."
"""A response that nothing should fail on; it stands in for one that something has failed on."""

PATIENCE = 10.0
"""How many times as long as the ordinary response one may take before that is its own fault."""

LIMIT_SECONDS = 1500.0
"""How long a batch may be looked into; ranks give each other up after 1800 seconds."""


def own_faults(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    lost: Collection[int],
    again: Callable[[Rollout, float], Verdict],
) -> list[Verdict]:
    """Return the verdicts, with 0.0 in place of none where the response alone is at fault: it must not earn more.

    It is where it fails once more by itself, while an ordinary response to the same prompt is scored in a tenth of the
    time. Where that one fails too, the fault is the machine's, the scorer's or the row's, and the verdict stays.

    Args:
        rollouts: what was scored.
        verdicts: one for each.
        lost: places of the verdicts without a score that the scorer has not asked for.
        again: scores one rollout by itself, within so many seconds or a limit of its own if that is longer.
    """
    found, ordinary = list(verdicts), dict[str, tuple[bool, float]]()
    end = time.monotonic() + LIMIT_SECONDS
    for place in lost:
        rollout = rollouts[place]
        stand_in = replace(rollout, response=ORDINARY, finished=True, tokens=20, prefilled=False, id="")
        if time.monotonic() >= end:
            break
        if (key := repr(stand_in)) not in ordinary:
            start = time.monotonic()
            scored = again(stand_in, 0.0).score is not None
            ordinary[key] = scored, time.monotonic() - start
        scored, seconds = ordinary[key]
        if not scored:
            continue
        verdict = again(rollout, PATIENCE * seconds)
        if verdict.undecided:
            verdict = Verdict(0.0, detail=f"this response cannot be scored, others can: {verdict.detail}")
        found[place] = verdict
    return found


class Bounded(Valued):
    """A component whose values lie within bounds."""

    bounds: tuple[float, float] = Field(default=(0.0, 1.0))
    """Lowest and highest value that there can be; they are mapped to 0 and 1. Other bounds than 0 and 1 keep the value
    itself in the verdict's detail."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ordered(self.bounds)
        return self

    def verdict(self, value: float | None) -> Verdict:
        """Return the verdict of one value; ``None`` says that the component does not apply to the rollout.

        Raises:
            ValueError: the value is not a number within the bounds.
        """
        low, high = self.bounds
        if value is None:
            return unscored(Status.NOT_APPLICABLE, "no value (None)")
        if math.isnan(value) or not low <= value <= high:
            advice = "; set bounds to the range of the values" if math.isfinite(value) else ""
            raise ValueError(f"the value {value:g} is not within bounds [{low:g}, {high:g}]{advice}")
        return Verdict((value - low) / (high - low), detail="" if (low, high) == (0.0, 1.0) else f"raw value {value:g}")
