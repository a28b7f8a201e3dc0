"""A ladder of requirements: a prompt asks for few of its requirements first, and for all of them in the end.

Rung k of a prompt is the prompt with k of its requirements, the easiest kinds first; the last rung is the prompt as it
was built. Prompts climb together with training (``rise: schedule``), or each by itself, one requirement more after a
group in which every rollout was right and met all that was asked (``rise: pass``), as a tutor appends one (arXiv
2607.04412). Below the last rung the requirements stand behind the question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adhere.prompts.attach import expand, with_constraints, without_constraints

if TYPE_CHECKING:
    from adhere.prompts.item import PromptItem
    from adhere.train.config.schema import LadderConfig

Row = dict[str, Any]


def rungs(item: PromptItem, config: LadderConfig) -> list[PromptItem]:
    """Return ``item`` with its first requirements by difficulty, from ``config.start`` of them to all of them.

    A prompt without a gold answer keeps at least one: else nothing could be scored.
    """
    assert config.start is not None
    kinds = [expand([name]) for name in config.order]
    places = range(len(item.checklist))

    def difficulty(place: int) -> int:
        label = item.checklist[place].label
        return next((rank for rank, kind in enumerate(kinds) if label in kind), len(kinds))

    easiest, bare = sorted(places, key=difficulty), without_constraints(item)
    first = max(config.start, 1 if item.answer is None else 0)
    lower = [[item.checklist[place] for place in sorted(easiest[:k])] for k in range(first, len(item.checklist))]
    return [*(with_constraints(bare, asked) if asked else bare for asked in lower), item]


class Ladder:
    """Which rung each prompt stands on."""

    def __init__(self, config: LadderConfig) -> None:
        self._config = config
        self.climbed: dict[str, int] = {}
        """Requirements that each prompt has gained by passing, by its id."""

    def place(self, example: Row, progress: float) -> Row:
        """Return the dataset's row of a prompt on the rung where it stands.

        Args:
            example: with the column ``rungs``, its rows from the lowest to the highest rung as JSON.
            progress: the share of training that is done, in [0, 1].
        """
        found: list[Row] = json.loads(example["rungs"])
        if self._config.rise == "pass":
            rung = self.climbed.get(example["item_id"], 0)
        else:
            until = self._config.until  # a hair more, so that a share of 0.6 / 0.8 is 3 of 4 in floats too
            rung = int(len(found) * progress / until + 1e-9) if until > 0.0 else len(found)
        return {**example, **found[min(rung, len(found) - 1)]}

    def observe(self, rows: Sequence[Row], group_size: int) -> float:
        """Let prompts climb whose whole group passed; return the mean number of requirements that were asked.

        Args:
            rows: the scored rollouts of all ranks, group by group.
            group_size: rollouts of a group.
        """
        for start in range(0, len(rows), group_size) if self._config.rise == "pass" else ():
            if all(map(all_met, rows[start : start + group_size])):
                item = rows[start]["item_id"]
                self.climbed[item] = self.climbed.get(item, 0) + 1
        return sum(len(row["requirements"]) for row in rows) / len(rows)


def all_met(row: Mapping[str, Any]) -> bool:
    """Return whether a rollout is right and met all that was asked, as far as it was asked; undecided is no pass."""
    known = [row[key] for key in ("correct", "followed") if row[key] is not None]
    undecided = not row["decided"] or (row["requirements"] and row["followed"] is None)
    return bool(known) and not undecided and all(known)
