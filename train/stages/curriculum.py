"""Prompts by the measured rates of their kinds of constraints: easy ones first, free ones as few as wanted.

A prompt is expected to be obeyed with the product of its kinds' rates. Training draws from a growing share of the
prompts in that order, easiest first, as competence-based curricula do (arXiv 1903.09848); within the share every prompt
comes as often as any other. A kind is measured on the rollouts that training draws anyway. Where those are too few, the
trainer rehearses it: it draws groups that are scored and not trained on. No torch; a pure function of what it is shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adhere.evaluation.generation import draw_seed
from adhere.evaluation.rehearsal.figures import ENOUGH, FREE, HOPELESS
from adhere.prompts.item import PromptItem

if TYPE_CHECKING:
    from adhere.train.config.schema import CurriculumConfig

UNKNOWN = 0.5
"""Rate of a kind that no rollout decided: neither free nor hopeless."""


class Curriculum:
    """Which prompts a generation takes, and what is known of the kinds of constraints."""

    def __init__(self, config: CurriculumConfig, items: Sequence[PromptItem], *, seed: int, group_size: int) -> None:
        """Know nothing yet.

        Args:
            config: says how often kinds are measured and what follows.
            items: the training prompts, in the order of the trainer's data.
            seed: decides the order of prompts that are alike.
            group_size: completions of a group, at least 2.
        """
        assert config.every is not None
        self._config, self._every, self._seed, self._size = config, config.every, seed, group_size
        self._labels = {item.id: [requirement.label for requirement in item.checklist] for item in items}
        self._kinds = [sorted({*self._labels[item.id]}) for item in items]
        self._asked = sorted({kind for kinds in self._kinds for kind in kinds})
        self._taken = [0] * len(items)
        self._window: dict[str, list[float]] = {kind: [0.0, 0.0] for kind in self._asked}  # rollouts, sum of scores
        self._next = 0
        self.rates: dict[str, float] = {}
        """Mean score of each kind at its last measurement; a kind that no rollout decided has none."""

    def observe(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count the scored requirements of rollouts, each with ``item_id`` and ``requirements`` (of ``score``)."""
        for row in rows:
            for kind, requirement in zip(self._labels[row["item_id"]], row["requirements"], strict=False):
                if requirement["score"] is not None:
                    self._window[kind][0] += 1.0
                    self._window[kind][1] += requirement["score"]

    def due(self, step: int) -> bool:
        """Whether the kinds are to be measured before the generation that feeds optimizer step ``step``."""
        return step >= self._next

    def missing(self, generation: int) -> list[int]:
        """Return prompts to rehearse, one a group, so that every kind of the data has ``ENOUGH`` rollouts."""
        rollouts = {kind: counts[0] for kind, counts in self._window.items()}
        shuffle = np.random.default_rng(draw_seed(self._seed, generation, "missing"))
        order = shuffle.permutation(len(self._kinds)).tolist()
        chosen: list[int] = []
        for kind in self._asked:
            for place in order:
                if rollouts[kind] >= ENOUGH:
                    break
                if kind in self._kinds[place] and place not in chosen:
                    chosen.append(place)
                    for other in self._kinds[place]:
                        rollouts[other] += self._size
        return chosen

    def measure(self, step: int) -> None:
        """Take the rates of what was observed since the last measurement; go on observing from nothing."""
        self.rates |= {kind: met / n for kind, (n, met) in self._window.items() if n}
        self._window = {kind: [0.0, 0.0] for kind in self._asked}
        self._next = step + self._every

    def pool(self, progress: float) -> tuple[list[int], list[int]]:
        """Return the prompts to learn from, easiest first, and the free ones, at a share of training in [0, 1].

        A prompt is free where all of its kinds are, and hopeless where one of them is. Hopeless ones come last, or not
        at all.
        """
        rates = [[self.rates.get(kind, UNKNOWN) for kind in kinds] for kinds in self._kinds]
        free = [i for i, found in enumerate(rates) if found and min(found) >= FREE]
        hopeless = {i for i, found in enumerate(rates) if found and min(found) <= HOPELESS}
        out = {*free} | (hopeless if self._config.hopeless == "out" else set())
        ties = np.random.default_rng(draw_seed(self._seed, "ties")).permutation(len(rates)).tolist()
        left = [i for i in range(len(rates)) if i not in out]
        order = sorted(left, key=lambda i: (i in hopeless, -math.prod(rates[i]), ties[i]))
        config = self._config
        grown = 1.0 if progress >= config.all_from else progress / config.all_from
        share = config.start + (1.0 - config.start) * grown
        return order[: math.ceil(round(share * len(order), 9))], free

    def choose(self, groups: int, generation: int, progress: float) -> list[int]:
        """Return ``groups`` different prompts, those that came least often first; count them as taken.

        At most ``free`` of them are free, unless the others do not suffice; then hopeless ones come in last.

        Args:
            groups: wanted, at most as many as there are prompts.
            generation: number of the generation within the stage.
            progress: share of training that is over, in [0, 1].
        """
        learnable, free = self.pool(progress)
        shuffle = np.random.default_rng(draw_seed(self._seed, generation, "curriculum"))
        ties = shuffle.permutation(len(self._kinds)).tolist()

        def least(places: Sequence[int]) -> list[int]:
            return sorted(places, key=lambda i: (self._taken[i], ties[i]))

        few = {*least(free)[: int(self._config.free * groups)]}
        chosen = least([*learnable, *few])[:groups]
        for rest in (free, range(len(self._kinds))):
            chosen += [place for place in least(rest) if place not in chosen][: groups - len(chosen)]
        for place in chosen:
            self._taken[place] += 1
        return chosen

    def figures(self) -> dict[str, float]:
        """Return the rates by kind as metrics, and the shares of prompts that are free and hopeless."""
        rates = [[self.rates.get(kind, UNKNOWN) for kind in kinds] for kinds in self._kinds]
        shares = {
            "free": sum(bool(found) and min(found) >= FREE for found in rates) / len(rates),
            "hopeless": sum(bool(found) and min(found) <= HOPELESS for found in rates) / len(rates),
        }
        return shares | {f"rates/{kind}": rate for kind, rate in self.rates.items()}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold to go on: plain values."""
        window = {kind: list(counts) for kind, counts in self._window.items()}
        return {"taken": list(self._taken), "window": window, "next": self._next, "rates": dict(self.rates)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._taken, self._next = list(state["taken"]), state["next"]
        self._window = {kind: list(counts) for kind, counts in state["window"].items()}
        self.rates = dict(state["rates"])
