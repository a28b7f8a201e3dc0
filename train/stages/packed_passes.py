"""Forward and backward passes over packed rows, for the trainers of GRPO and SFT alike.

A rank that has no rows left, or fewer micro-batches than another that it shares weights with, runs one row with weight
zero, so that all ranks join every collective.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from accelerate.utils import DistributedType, gather
from peft import PeftModel
from transformers import Trainer
from transformers.integrations.fsdp import is_fsdp_managed_module

from adhere.train.stages.microbatches import Microbatch, Packing, Rows, pack_rows, score_completions


class PackedPasses(Trainer):
    """What trainers with packed updates share; a subclass sets ``_packing``."""

    _packing: Packing | None
    model: Any

    @property
    def _sharded(self) -> bool:
        """Whether the ranks share weights, so that each forward and backward pass is a collective of all."""
        return self.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)

    def _packed(self, rows: Rows, kept: list[int], *, at_least: int = 1) -> list[tuple[list[int], bool]]:
        """Return the micro-batches of the rows ``kept``, each with whether it counts.

        Where ranks share weights, all get as many as the one with the most.
        """
        assert self._packing is not None
        lengths = [len(rows.ids[i]) for i in kept]
        found = [
            ([kept[j] for j in run], True) for run in pack_rows(lengths, self._packing.tokens, self._packing.overhead)
        ]
        number = max(at_least, len(found))
        if self._sharded:
            number = int(gather(torch.tensor([number], device=self.accelerator.device)).max())
        shortest = min(range(len(rows)), key=lambda i: (not rows.completions[i], len(rows.ids[i])))
        return [([shortest], False)] * (number - len(found)) + found

    def _unsynchronised(self, model: Any) -> AbstractContextManager[Any]:
        """Return the context of a backward pass after which another one follows before the optimizer's step."""
        deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        if deepspeed or self.accelerator.gradient_state.plugin_kwargs.get("sync_each_batch", False):
            return contextlib.nullcontext()
        if self.is_distributed_loading_by_transformers and is_fsdp_managed_module(self.model):
            context: AbstractContextManager[Any] = self._defer_fsdp_gradient_reduction()
            return context
        return self.accelerator.no_sync(model)

    def _pass(self, model: Any, batch: Microbatch, *, last: bool) -> torch.Tensor:
        """Run one forward and backward pass; gradients are exchanged in the ``last`` one. Return the loss, ()."""
        self.accelerator.gradient_state._set_sync_gradients(last)
        with contextlib.nullcontext() if last else self._unsynchronised(model):
            with self.compute_loss_context_manager():
                loss: torch.Tensor = self._packed_loss(model, batch)
            self.accelerator.backward(loss, **({"scale_wrt_gas": False} if self.is_deepspeed_enabled else {}))
        return loss.detach()

    def _packed_loss(self, model: Any, batch: Microbatch) -> torch.Tensor:
        """Return a micro-batch's share of the loss, ()."""
        raise NotImplementedError

    def _scored_tokens(self, model: Any, batch: Microbatch) -> Any:
        """Return what the fused head says of the completion tokens, each (1, N)."""
        inner = self.accelerator.unwrap_model(model)
        backbone: Any = (inner.get_base_model() if isinstance(inner, PeftModel) else inner).base_model
        with self.accelerator.autocast():
            return score_completions(model, backbone, batch)
