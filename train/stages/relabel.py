"""Failures replayed as successes (HiR, arXiv 2512.23457): the same response behind the requirements that it met.

A replay is one more row of the update, behind another prompt and with an advantage of its own; the rollout itself is
trained on as ever. Its old log-probs are those of the policy that drew it, behind the new prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from adhere.prompts.attach import without_constraints
from adhere.prompts.privileged import relabelled
from adhere.train.model.chat import prompt_ids
from adhere.train.stages.microbatches import left_padded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.records.tables import Row
    from adhere.train.config.schema import RelabelConfig
    from adhere.train.stages.microbatches import Slot

PREFIX = "replay_"
"""How the entries of a slot that belong to its replays begin."""


class Relabelling:
    """Finds the replays of a generation; ``shares`` are those that each generation had."""

    def __init__(self, config: RelabelConfig, items: Sequence[PromptItem], tokenizer: PreTrainedTokenizerBase) -> None:
        """Check that the requirements of all items can be taken out of their prompts.

        Raises:
            DataError: those of an item cannot.
        """
        self._config, self._tokenizer = config, tokenizer
        self._items = {item.id: item for item in items}
        for item in items:
            without_constraints(item)

    def replays(self, rows: Sequence[Row], first: int, output: Slot) -> Slot:
        """Return the prompts and advantages of this rank's replays, one row for each rollout; 0 where it has none.

        Which there are is decided among the rollouts of all ranks, so that their number changes nothing.

        Args:
            rows: the scored rollouts of all ranks.
            first: place among them of this rank's first.
            output: this rank's rollouts as tokens.
        """
        others: dict[int, PromptItem] = {}
        met: dict[int, float] = {}
        for place, row in enumerate(rows):
            item = self._items[row["item_id"]]
            if (other := relabelled(item, row, self._config.least)) is not None:
                others[place], met[place] = other, len(other.checklist) / len(item.checklist)
        chosen = {*sorted(met, key=lambda place: (-met[place], place))[: int(self._config.share * len(rows))]}
        own, device = range(first, first + len(output["completion_ids"])), output["completion_ids"].device
        prompts = [prompt_ids(self._tokenizer, others[i].messages) if i in chosen else None for i in own]
        ids, mask = left_padded(prompts, device)
        advantages = torch.tensor([self._config.advantage if i in chosen else 0.0 for i in own])
        return {
            f"{PREFIX}prompt_ids": ids,
            f"{PREFIX}prompt_mask": mask,
            f"{PREFIX}advantages": advantages.to(device),
        }


def replayed(slots: Sequence[Slot]) -> list[Slot]:
    """Return a slot of the replays of each of ``slots``; rows without one have no tokens."""
    found = []
    for slot in slots:
        if f"{PREFIX}advantages" not in slot:
            continue
        own: Slot = {name.removeprefix(PREFIX): value for name, value in slot.items() if name.startswith(PREFIX)}
        live: Any = (own["advantages"] != 0.0).unsqueeze(1)
        own |= {"completion_ids": slot["completion_ids"], "completion_mask": slot["completion_mask"] * live}
        if "importance_sampling_ratio" in slot:
            own["importance_sampling_ratio"] = torch.ones_like(slot["importance_sampling_ratio"])
        found.append(own)
    return found
