"""The composite as TRL reward functions: one per component, so that TRL weighs, logs and normalises the vector.

They need no adhere trainer: ``GRPOTrainer(reward_funcs=functions.as_list(), ...)`` works with plain TRL for every
aggregation that does not have to see whole groups (``Aggregation.groupwise``), and for every weight but a scheduled one
of a sum, which TRL reads once; adhere's own trainer finishes both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from adhere.rewards.arithmetic import group_rewards, weights_array
from adhere.rewards.checklist import Requirement, parse_checklist
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.config import COMBINED, RewardConfig
from adhere.rewards.rollout import Rollout


class RewardFunctions:
    """One callable per component over one shared pass of scoring.

    The data set's columns ``answer`` (gold or null) and ``checklist`` (JSON list of requirements) reach the functions
    through TRL. ``decode`` turns completion ids into text; without it the completions' content is scored, which loses
    the reasoning of a tokenizer whose template parses it away. ``eos_ids`` tell a finished completion from a cut one.
    """

    def __init__(
        self,
        composite: Composite,
        *,
        eos_ids: Sequence[int] = (),
        decode: Callable[[Sequence[int]], str] | None = None,
        prefilled: bool = False,
    ) -> None:
        self.composite = composite
        self.rollouts: list[Rollout] = []
        self.scores: BatchScores | None = None
        self._eos_ids = frozenset(eos_ids)
        self._decode = decode
        self._prefilled = prefilled
        self._scored: Any = None

    @property
    def summed(self) -> bool:
        """Whether TRL itself makes the reward out of the components' columns."""
        return self.composite.config.aggregator.summed

    def as_list(self) -> list[Callable[..., list[float | None]]]:
        """Return the functions in the order of :meth:`weights`; each has its component's name as ``__name__``."""
        functions = [_named(name, self._component(name)) for name in self.composite.names]
        return functions if self.summed else [*functions, _named(COMBINED, lambda **batch: self._combined(batch))]

    def weights(self) -> list[float]:
        """Return TRL's ``reward_weights`` at the composite's present step."""
        return reward_weights(self.composite.config, self.composite.weights)

    def forget(self) -> None:
        """Score the next call's batch again, even if it is the last one's."""
        self._scored = None

    def _component(self, name: str) -> Callable[..., list[float | None]]:
        return lambda **batch: self._column(self.score(batch), self.score(batch).values[name])

    def _column(self, scores: BatchScores, values: Sequence[float | None]) -> list[float | None]:
        """Return ``values`` without those of rollouts that no weighted component has a value for.

        TRL takes a rollout for unscorable where every column is ``None``: a metric's value beside would make its reward
        0, below that of whatever its group has earned.
        """
        weighted = [scores.values[name] for name, weight in self.composite.weights.items() if weight > 0.0]
        if not weighted:
            return list(values)
        return [value if any(column[i] is not None for column in weighted) else None for i, value in enumerate(values)]

    def _combined(self, batch: dict[str, Any]) -> list[float | None]:
        """Return the rewards; where whole groups are needed, 0.0 for whatever has one, and the trainer fills it in."""
        config, values = self.composite.config, self.score(batch).values
        weights_1_K = weights_array(config, self.composite.weights)
        # A float array turns None into NaN.
        values_1_B_K = np.array([[values[name] for name in config.components]], dtype=float).transpose(0, 2, 1)
        if config.aggregator.groupwise:
            scored = ~np.isnan(values_1_B_K[:, :, weights_1_K[0] > 0.0]).all(axis=2)
            return [0.0 if there else None for there in scored[0]]
        found = group_rewards(config, values_1_B_K, weights_1_K)
        return [None if math.isnan(reward) else float(reward) for reward in found[0]]

    def score(self, batch: dict[str, Any]) -> BatchScores:
        """Score the batch once; the functions that TRL calls after the first one find the result."""
        if self.scores is None or self._scored is not batch["completions"]:
            if self.composite.config.scheduled:
                self._follow_schedule(batch.get("trainer_state"))
            self.rollouts = self._rollouts(batch)
            self.scores = self.composite.score(self.rollouts)
            self._scored = batch["completions"]
        return self.scores

    def _follow_schedule(self, state: Any) -> None:
        """Move scheduled weights to the step of ``state``, TRL's ``trainer_state``."""
        if state is None:
            raise ValueError("a weight that is a schedule needs the step: pass TRL's trainer_state to the functions")
        self.composite.at(state.global_step, state.max_steps)

    def _rollouts(self, batch: dict[str, Any]) -> list[Rollout]:
        prompts, completions, ids = batch["prompts"], batch["completions"], batch["completion_ids"]
        answers = batch.get("answer") or [None] * len(prompts)
        checklists = batch.get("checklist") or [None] * len(prompts)
        return [
            Rollout(
                prompt=_text(prompt),
                response=self._decode(tokens) if self._decode else _text(completion),
                answer=answer,
                checklist=_checklist(checklist) if checklist else (),
                finished=not self._eos_ids or (len(tokens) > 0 and tokens[-1] in self._eos_ids),
                tokens=len(tokens),
                prefilled=self._prefilled,
            )
            for prompt, completion, tokens, answer, checklist in zip(
                prompts, completions, ids, answers, checklists, strict=True
            )
        ]


def reward_weights(config: RewardConfig, weights: Mapping[str, float]) -> list[float]:
    """Return one weight per function: the components' ``weights``, or 1.0 for the combined column alone."""
    if config.aggregator.summed:
        return list(weights.values())
    return [*(0.0 for _ in weights), 1.0]


@lru_cache(maxsize=4096)
def _checklist(column: str) -> tuple[Requirement, ...]:
    """Parse a checklist once for all completions of its prompt, so that its constraints stay prepared."""
    return parse_checklist(json.loads(column), where="column 'checklist'")


def _text(turns: str | Sequence[dict[str, Any]]) -> str:
    return turns if isinstance(turns, str) else str(turns[-1]["content"])


def _named(name: str, function: Callable[..., list[float | None]]) -> Callable[..., list[float | None]]:
    function.__name__ = function.__qualname__ = name
    return function
