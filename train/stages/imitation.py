"""An SFT loss beside GRPO's: in each optimizer step, some targets of the training items (CHORD, arXiv 2508.11408).

L = L_GRPO + μ·(mean −log π(y*_t | x, y*_<t) over the targets' tokens), with μ constant or falling to 0. CHORD weighs
the two losses 1 − μ and μ; here GRPO's stays whole, so that μ = 0 is plain GRPO.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from adhere.train.stages.data import sft_dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.config.schema import ImitationConfig


class Imitation:
    """The targets, and how much they weigh."""

    def __init__(
        self, config: ImitationConfig, items: Sequence[PromptItem], tokenizer: PreTrainedTokenizerBase
    ) -> None:
        """Tokenise the targets of ``items``, as SFT does.

        Raises:
            DataError: an item has no target.
        """
        self._config = config
        self._rows, _ = sft_dataset(items, tokenizer, max_length=2**31)
        self._padding = int(tokenizer.pad_token_id or 0)

    def weight(self, progress: float) -> float:
        """Return μ at ``progress``, the share of training that is done."""
        until = self._config.until
        return self._config.weight * (1.0 if until is None else max(0.0, 1.0 - progress / until))

    def batch(self, seed: int, step: int, rank: int, ranks: int, device: Any) -> dict[str, torch.Tensor]:
        """Return the targets of a step on one rank: ids, mask and labels, (B, T); the same whenever it is asked.

        All ranks together have the same targets, whatever their number; none comes twice while there are enough.

        Args:
            seed: of the stage.
            step: optimizer steps that are done.
            rank: of this process.
            ranks: processes that train together.
            device: where the tensors are made.
        """
        count = min(self._config.rows, len(self._rows))
        order = random.Random(f"imitation:{seed}:{step}").sample(range(len(self._rows)), len(self._rows))
        rows = [self._rows[order[(rank + i * ranks) % len(order)]] for i in range(count)]
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((count, longest), self._padding, dtype=torch.long)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for i, row in enumerate(rows):
            tokens, counts = torch.tensor(row["input_ids"]), torch.tensor(row["completion_mask"], dtype=torch.bool)
            ids[i, : len(tokens)], mask[i, : len(tokens)] = tokens, 1
            labels[i, : len(tokens)] = tokens.masked_fill(~counts, -100)
        found = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return {name: tensor.to(device) for name, tensor in found.items()}


def imitation_loss(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean loss of the labelled tokens, (), in nats, at temperature 1 whatever rollouts are drawn at."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), batch["labels"][:, 1:].flatten())
