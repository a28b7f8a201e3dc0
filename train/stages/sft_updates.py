"""The update side of SFT: TRL's loss and gradients, on micro-batches packed by length and a budget of tokens.

TRL pads a batch to its longest row, and scores its prompts and its padding with the rest. Here the rows of an optimizer
step are packed anew (``microbatches.py``), none attends to another, and the head sees tokens with a label alone.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import reduce
from trl import SFTTrainer

from adhere.rewards.errors import StageError
from adhere.train.stages.microbatches import Microbatch, Packing, Rows, Slot
from adhere.train.stages.packed_passes import PackedPasses


class PackedSft(PackedPasses, SFTTrainer):
    """TRL's trainer with packed updates; ``packing=None`` leaves every update to TRL.

    Raises:
        StageError: packing is wanted, and the loss is more than the log-likelihood of the labelled tokens.
    """

    maybe_activation_offload_context: Any

    def __init__(self, *arguments: Any, packing: Packing | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._packing = packing
        args: Any = self.args
        other = {
            "loss_type": args.loss_type != "nll",
            "label_smoothing_factor": args.label_smoothing_factor > 0.0,
            "packing": args.packing,
            "padding_free": args.padding_free,
            "router_aux_loss_coef": self.aux_loss_enabled,
        }
        if packing is not None and (unlike := [name for name, is_unlike in other.items() if is_unlike]):
            raise StageError(
                f"sft.tokens_per_microbatch: with sft.trl.{unlike[0]} TRL's own batches are kept; leave that out, or "
                f"set sft.tokens_per_microbatch=null"
            )
        self._window: list[Slot] = []

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Keep this batch; with the last one of the optimizer step, train on the rows of all of them."""
        if self._packing is None:
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss
        model.train()
        if callable(prepare := getattr(self.optimizer, "train", None)):
            prepare()
        self._window.append(self._prepare_inputs(inputs))
        loss = torch.zeros((), device=self.accelerator.device)
        if self.accelerator.sync_gradients:
            with self.maybe_activation_offload_context:
                loss = self._update(model, self._window, num_items_in_batch)
            self._window = []
        return loss

    def _update(self, model: Any, slots: list[Slot], tokens: Any) -> torch.Tensor:
        """Run forward and backward passes over the rows of ``slots``; return the loss that TRL would, (), detached.

        Args:
            model: as the trainer has wrapped it.
            slots: TRL's batches of this optimizer step.
            tokens: labelled tokens of the step, of all ranks where the mean is over those; ``None`` averages batches.
        """
        rows = Rows.labelled(slots)
        device = rows.advantages.device
        slot_R = torch.tensor([slot for slot, _ in rows.places], device=device)
        tokens_R = torch.tensor(rows.completions, device=device, dtype=torch.float32)
        tokens_S = torch.zeros(len(slots), device=device).index_add(0, slot_R, tokens_R)
        if tokens is None:
            weights_R = 1.0 / (tokens_S.clamp(min=1.0)[slot_R] * len(slots))
        else:
            # The count is that of all ranks, and their gradients are averaged.
            ranks = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
            weights_R = torch.full_like(tokens_R, ranks / max(float(tokens), 1.0))
        figures_R_2 = torch.zeros(len(rows), 2, device=device)
        total = torch.zeros((), device=device)
        batches = self._packed(rows, [i for i in range(len(rows)) if rows.completions[i]])
        for k, (chosen, counts) in enumerate(batches):
            batch = Microbatch.of(rows, chosen, weights_R * counts)
            loss = self._pass(model, batch, last=k == len(batches) - 1)
            if counts:
                assert batch.figures is not None
                total += loss
                figures_R_2[chosen] = batch.figures

        # What TRL logs, batch by batch.
        sums = torch.zeros(len(slots), 3, device=device)
        sums.index_add_(0, slot_R, torch.cat([figures_R_2, tokens_R.unsqueeze(1)], dim=1))
        log = self._metrics["train"]
        for entropy, right, count in reduce(sums, reduction="sum").tolist():
            log["entropy"].append(entropy / count if count else 0.0)
            log["mean_token_accuracy"].append(right / count if count else 0.0)
        seen = torch.tensor(sum(rows.lengths), device=device)
        self._total_train_tokens += int(reduce(seen, reduction="sum"))
        log["num_tokens"] = [self._total_train_tokens]
        return total

    def _packed_loss(self, model: Any, batch: Microbatch) -> torch.Tensor:
        """Return a micro-batch's share of the loss, (); leave entropy and right guesses of each row in ``figures``."""
        scored = self._scored_tokens(model, batch)
        batch.figures = torch.stack(
            [batch.by_row(x[0].detach().float()) for x in (scored.entropy, scored.is_top1)], dim=1
        )
        return -(scored.log_probs[0] * batch.weights[batch.row]).sum()
