"""The composite as TRL reward functions: one per component, so that TRL weighs, logs and normalises the vector.

They need no adhere trainer: ``GRPOTrainer(reward_funcs=functions.as_list(), ...)`` works with plain TRL for every
aggregation that does not have to see whole groups (``Aggregation.groupwise``), and for every weight but a scheduled one
of a sum, which TRL reads once; adhere's own trainer finishes both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from adhere.rewards.arithmetic import group_rewards, weights_array
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.config import COMBINED, RewardConfig
from adhere.rewards.rollout import Rollout, checklist_of


class RewardFunctions:
    """One callable per component over one shared pass of scoring.

    The data set's columns ``answer`` (gold or null) and ``checklist`` (JSON list of requirements) reach the functions
    through TRL.
    """

    def __init__(
        self,
        composite: Composite,
        *,
        eos_ids: Sequence[int] = (),
        decode: Callable[[Sequence[int]], str] | None = None,
        prefilled: bool = False,
    ) -> None:
        """Score nothing yet.

        Args:
            composite: the components and their weights.
            eos_ids: ids that end a finished completion; a cut one has none. Empty: every completion counts as finished.
            decode: turns completion ids into text; without it the completions' content is scored, which loses the
                reasoning of a tokenizer whose template parses it away.
            prefilled: the prompt ends in ``<think>``, so that completions start inside the reasoning.
        """
        self.composite = composite
        self.rollouts: list[Rollout] = []
        self.scores: BatchScores | None = None
        self._eos_ids = frozenset(eos_ids)
        self._decode = decode
        self._prefilled = prefilled
        self._shared: tuple[Any, ...] | None = None
        self._served: set[int] = set()

    @property
    def summed(self) -> bool:
        """Whether TRL itself makes the reward out of the components' columns."""
        return self.composite.config.aggregator.summed

    @property
    def names(self) -> list[str]:
        """Names of the columns: the components', and that of the combined reward where TRL does not sum it."""
        return [*self.composite.names, *([] if self.summed else [COMBINED])]

    def as_list(self) -> list[Callable[..., list[float | None]]]:
        """Return the functions in the order of :meth:`weights`; each has its column's name as ``__name__``."""
        return [self._function(place, name) for place, name in enumerate(self.names)]

    def _function(self, place: int, name: str) -> Callable[..., list[float | None]]:
        def function(**batch: Any) -> list[float | None]:
            # The functions share a pass over equal rollouts of one step; one that asks again has the next batch.
            state = batch.get("trainer_state")
            shared = (self._rollouts(batch), None if state is None else state.global_step)
            if shared != self._shared or place in self._served:
                self.score(batch)
                self._shared, self._served = shared, set()
            self._served.add(place)
            return self.columns()[place]

        function.__name__ = function.__qualname__ = name
        return function

    def weights(self) -> list[float]:
        """Return TRL's ``reward_weights`` at the composite's present step."""
        return reward_weights(self.composite.config, self.composite.weights)

    def score(self, batch: Mapping[str, Any]) -> BatchScores:
        """Score a batch, given as TRL calls its reward functions: ``prompts``, ``completions``, columns of the data."""
        if self.composite.config.scheduled:
            self._follow_schedule(batch.get("trainer_state"))
        self._shared = None
        self.rollouts = self._rollouts(batch)
        self.scores = self.composite.score(self.rollouts)
        return self.scores

    def columns(self) -> list[list[float | None]]:
        """Return what TRL sees of the batch that was scored last: a column for each function, a value a rollout.

        A rollout has no value where no weighted component has one: TRL takes it for unscorable only where every column
        is ``None``, and a metric's value beside would make its reward 0, below that of whatever its group has earned.
        """
        assert self.scores is not None
        values, config = self.scores.values, self.composite.config
        weighted = [values[name] for name, weight in self.composite.weights.items() if weight > 0.0]
        there = [not weighted or any(column[i] is not None for column in weighted) for i in range(len(self.rollouts))]
        columns = {n: [v if there[i] else None for i, v in enumerate(column)] for n, column in values.items()}
        if self.summed:
            return list(columns.values())
        if config.aggregator.groupwise:
            # Whole groups are needed, so the trainer fills the reward in.
            return [*columns.values(), [0.0 if scored else None for scored in there]]
        # A float array turns None into NaN.
        values_1_B_K = np.array([[values[name] for name in config.components]], dtype=float).transpose(0, 2, 1)
        found = group_rewards(config, values_1_B_K, weights_array(config, self.composite.weights))
        return [*columns.values(), [None if math.isnan(reward) else float(reward) for reward in found[0]]]

    def _follow_schedule(self, state: Any) -> None:
        """Move scheduled weights to the step of ``state``, TRL's ``trainer_state``."""
        if state is None:
            raise ValueError("a weight that is a schedule needs the step: pass TRL's trainer_state to the functions")
        self.composite.at(state.global_step, state.max_steps)

    def _rollouts(self, batch: Mapping[str, Any]) -> list[Rollout]:
        prompts, completions, ids = batch["prompts"], batch["completions"], batch["completion_ids"]
        answers = batch.get("answer") or [None] * len(prompts)
        checklists = batch.get("checklist") or [None] * len(prompts)
        names = batch.get("item_id") or [""] * len(prompts)
        sources = batch.get("source") or [""] * len(prompts)
        return [
            Rollout(
                prompt=_text(prompt),
                response=self._decode(tokens) if self._decode else _text(completion),
                answer=answer,
                checklist=checklist_of(checklist) if checklist else (),
                finished=not self._eos_ids or (len(tokens) > 0 and tokens[-1] in self._eos_ids),
                tokens=len(tokens),
                prefilled=self._prefilled,
                id=str(name),
                source=str(source),
            )
            for prompt, completion, tokens, answer, checklist, name, source in zip(
                prompts, completions, ids, answers, checklists, names, sources, strict=True
            )
        ]


def reward_weights(config: RewardConfig, weights: Mapping[str, float]) -> list[float]:
    """Return one weight per function: the components' ``weights``, or 1.0 for only the combined column."""
    if config.aggregator.summed:
        return list(weights.values())
    return [*(0.0 for _ in weights), 1.0]


def _text(turns: str | Sequence[dict[str, Any]]) -> str:
    return turns if isinstance(turns, str) else str(turns[-1]["content"])
