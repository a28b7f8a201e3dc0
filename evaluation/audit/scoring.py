"""What honest answers and probes earn under a composite, prompt by prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from adhere.evaluation.audit.cases import Case
from adhere.evaluation.audit.probes import PROBES, Probe
from adhere.rewards.arithmetic import group_rewards, values_array, weights_array
from adhere.rewards.composite import BatchScores
from adhere.rewards.config import RewardConfig
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Verdict

CHARS_PER_TOKEN = 4
"""Characters that count as one token for ``Rollout.tokens``: an audit has no tokenizer."""

HONEST, PLAIN, WRONG = "honest", "plain", "wrong"
ANSWERS: Mapping[str, str] = {
    HONEST: "right, and meets the checklist",
    PLAIN: "right, written as if there were no checklist",
    WRONG: "wrong, and meets the checklist",
}
"""The answers that probes are measured against, and what each one is."""


class Scorer(Protocol):
    """Anything that scores like `rewards.composite.Composite`."""

    config: RewardConfig

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        """Score every rollout by every component."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One scored response: ``name`` is an honest answer's or a probe's; ``values`` are those after the gates."""

    case: Case
    name: str
    response: str
    verdicts: Mapping[str, Verdict]
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Scored:
    """All entries of an audit by prompt, in the order of the cases; ``rewards`` runs parallel to ``groups``."""

    config: RewardConfig
    groups: Sequence[Sequence[Entry]]
    rewards: Sequence[Sequence[float | None]] = field(default=())

    def rows(self) -> Iterator[tuple[Case, dict[str, float | None]]]:
        """Yield each case with the reward of each of its entries by name."""
        for group, rewards in zip(self.groups, self.rewards, strict=True):
            yield group[0].case, {entry.name: reward for entry, reward in zip(group, rewards, strict=True)}

    def entries(self) -> Iterator[tuple[Entry, float | None]]:
        """Yield every entry with its reward."""
        for group, rewards in zip(self.groups, self.rewards, strict=True):
            yield from zip(group, rewards, strict=True)

    def under(self, config: RewardConfig) -> Scored:
        """Return the same entries rewarded by ``config``, which differs only in its weights; nothing is rescored."""
        values_G_N_K = values_array(config, [[entry.values for entry in group] for group in self.groups])
        found = group_rewards(config, values_G_N_K, weights_array(config)).tolist()
        return Scored(
            config,
            self.groups,
            [[None if math.isnan(r) else r for r in row[: len(g)]] for row, g in zip(found, self.groups, strict=True)],
        )


def score_cases(cases: Sequence[Case], scorer: Scorer, probes: Mapping[str, Probe] = PROBES) -> Scored:
    """Score the honest answers and the probes of every case in one batch."""
    planned = [list(_responses(case, probes)) for case in cases]
    rollouts = [
        Rollout(
            prompt=str(case.item.messages[-1]["content"]),
            response=response,
            answer=case.gold,
            checklist=case.item.checklist,
            finished=finished,
            tokens=-(-len(response) // CHARS_PER_TOKEN),
            prefilled=case.form.prefilled,
        )
        for case, responses in zip(cases, planned, strict=True)
        for _, response, finished in responses
    ]
    scores = scorer.score(rollouts)
    flat = iter(range(len(rollouts)))
    groups = [
        [_entry(case, name, response, scores, next(flat)) for name, response, _ in responses]
        for case, responses in zip(cases, planned, strict=True)
    ]
    return Scored(scorer.config, groups).under(scorer.config)


def _responses(case: Case, probes: Mapping[str, Probe]) -> Iterator[tuple[str, str, bool]]:
    for name, text in ((HONEST, case.honest), (PLAIN, case.plain), (WRONG, case.wrong)):
        if text is not None:
            yield name, case.respond(text), True
    for name, probe in probes.items():
        if (response := probe.build(case)) is not None:
            yield name, response, probe.finished


def _entry(case: Case, name: str, response: str, scores: BatchScores, i: int) -> Entry:
    return Entry(
        case=case,
        name=name,
        response=response,
        verdicts={component: column[i] for component, column in scores.verdicts.items()},
        values={component: column[i] for component, column in scores.values.items()},
    )
