"""The update side of GRPO: TRL's loss and gradients, on micro-batches that are packed by a budget of tokens.

TRL's trainer calls ``training_step`` once for each of its slots. Here a slot is only kept until the last one of the
optimizer step has come; then the rows of all are packed anew (``microbatches.py``) and trained on. Rows without
advantage are left out where their gradient is exactly zero. A rank that has no rows left, or fewer micro-batches than
another that it shares weights with, runs one row with weight zero, so that all ranks join every collective.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather, reduce
from transformers.trainer import clear_device_cache
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing

from adhere.rewards.errors import StageError
from adhere.train.stages.microbatches import (
    LOSSES,
    Microbatch,
    Packing,
    Rows,
    Slot,
    left_padded,
    row_weights,
    trim_slot,
)
from adhere.train.stages.packed_passes import PackedPasses
from adhere.train.stages.relabel import PREFIX, replayed
from adhere.train.stages.token_credit import credit_weights, ramp

if TYPE_CHECKING:
    from adhere.train.config.schema import TokenCreditConfig
    from adhere.train.stages.distill import Distillation


class PackedUpdates(PackedPasses, GRPOTrainer):
    """TRL's trainer with packed updates; ``packing=None`` leaves every update to TRL.

    Where the loss is more than a weighted sum over tokens (an entropy bonus, a router's loss, VESPO, TRL's masks by
    entropy or by divergence), TRL's own micro-batches are kept, each trimmed to its own longest row.
    """

    args: GRPOConfig
    model: Any
    max_completion_length: int
    pad_to_multiple_of: int | None
    _buffered_inputs: Any

    kl_share: float = 1.0
    """Factor of the KL term, in [0, 1]."""

    def __init__(
        self,
        *,
        packing: Packing | None = None,
        credit: TokenCreditConfig | None = None,
        distillation: Distillation | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._packing, self._credit, self._distillation = packing, credit, distillation
        self.packs: bool = (
            packing is not None
            and self.loss_type in LOSSES
            and self.off_policy_mask_threshold is None
            and self.top_entropy_quantile == 1.0
            and not self._entropy_bonus_enabled
            and not self.aux_loss_enabled
        )
        if credit is not None and not self.packs:
            raise StageError(
                "grpo.token_credit: this loss keeps TRL's own micro-batches (docs/performance.md), which have no "
                "weights of tokens; use another loss or option, or set grpo.token_credit.strength=0"
            )
        if distillation is not None:
            if not self.packs:
                raise StageError(
                    "distill: this loss keeps TRL's own micro-batches (docs/performance.md), which know no teacher; "
                    "use another loss or option"
                )
            distillation.begin(self)
        self._window: list[Slot] = []
        self._leave_out_next_pass = False

    @property
    def _corrects_sampling(self) -> bool:
        return bool(self.use_vllm and self.vllm_importance_sampling_correction)

    @property
    def _slots_of_generation(self) -> int:
        """Slots that one generation fills."""
        assert self.args.steps_per_generation is not None
        return self.args.steps_per_generation

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Keep this slot; with the last one of the optimizer step, train on all of them."""
        if not self.packs:
            loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return loss
        began = time.perf_counter()
        model.train()
        if callable(prepare := getattr(self.optimizer, "train", None)):
            prepare()
        generated_before = self._buffered_inputs
        slot = self._prepare_inputs(inputs)
        if self._buffered_inputs is not generated_before:
            self._score_later_slots()
        self._window.append(slot)
        loss = torch.zeros((), device=self.accelerator.device)
        if last := self.accelerator.sync_gradients:
            loss = self._update(model, self._window)
            self._window = []
        self._step += 1
        every = self.args.torch_empty_cache_steps
        if every is not None and self.state.global_step % every == 0:
            clear_device_cache()
        self._current_train_step_time += time.perf_counter() - began
        if last:
            self._metrics["train"]["step_time"].append(self._current_train_step_time)
            self._current_train_step_time = 0.0
        return loss

    def _update(self, model: Any, slots: list[Slot]) -> torch.Tensor:
        """Run forward and backward passes over the rows of ``slots``; return the loss that TRL would, (), detached."""
        own = len(slots)
        weights = [
            row_weights(
                slot,
                self.loss_type,
                accumulation=self.current_gradient_accumulation_steps,
                max_completion_length=self.max_completion_length,
                slots=self._slots_of_generation,
                ranks=self.accelerator.num_processes,
            )
            for slot in slots
        ]
        # A replay has the weight of the rollout that it replays.
        again = replayed(slots)
        weights, slots = [*weights, *weights[: len(again)]], [*slots, *again]
        rows = Rows.of(slots)
        weights_R = torch.cat(weights)
        old = [slot.get("old_per_token_logps") for slot in slots]
        # What a later update on the same rows starts from: log-probs under the weights that generated them.
        found = [torch.zeros_like(slot["completion_ids"], dtype=torch.float32) for slot in slots]
        figures_R_4 = torch.zeros(len(rows), 4, device=weights_R.device)
        total = torch.zeros((), device=weights_R.device)
        kept = self._with_gradient(rows)
        batches = self._packed(rows, kept)
        for k, (chosen, counts) in enumerate(batches):
            batch = Microbatch.of(rows, chosen, weights_R * counts, self.pad_to_multiple_of)
            batch.old = batch.flat(rows, old if counts else [None] * len(slots))
            if self.beta != 0.0 and counts:
                batch.reference = batch.flat(rows, [slot["ref_per_token_logps"] for slot in slots])
            if self._corrects_sampling and counts:
                batch.ratio = batch.flat(rows, [slot["importance_sampling_ratio"] for slot in slots])
            if self._credit is not None and counts:
                batch.contrast = batch.flat(rows, [slot.get("contrast_logps") for slot in slots])
            if self._distillation is not None and counts:
                batch.teacher = batch.flat(rows, [slot.get("teacher_logps") for slot in slots])
                batch.twins = self._distillation.twins(slots)
            last = k == len(batches) - 1
            loss = self._pass(model, batch, last=last)
            if counts:
                total += loss
                assert batch.log_probs is not None and batch.figures is not None
                figures_R_4[chosen] = batch.figures
                batch.put(rows, batch.log_probs, found)
        if self.num_iterations > 1:
            for slot, log_probs in zip(slots[:own], found[:own], strict=True):
                slot.setdefault("old_per_token_logps", log_probs)
            for slot, log_probs in zip(slots[:own], found[own:], strict=False):
                slot.setdefault(f"{PREFIX}old_per_token_logps", log_probs)
        self._log_update(rows, kept, figures_R_4, own)
        return total

    def _with_gradient(self, rows: Rows) -> list[int]:
        """Return the positions of the rows whose gradient is not known to be zero."""
        assert self._packing is not None
        skip = self._packing.skip_zero_advantage and self.beta == 0.0
        live = ((rows.advantages != 0.0) | rows.guided).tolist()
        return [i for i in range(len(rows)) if rows.completions[i] and (live[i] or not skip)]

    def _log_probs(self, model: Any, batch: Microbatch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return log-probs and entropies of the completion tokens, (N,)."""
        scored = self._scored_tokens(model, batch)
        return scored.log_probs[0], None if scored.entropy is None else scored.entropy[0]

    def _packed_loss(self, model: Any, batch: Microbatch) -> torch.Tensor:
        return self._compute_loss(model, batch)

    def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        """Return a micro-batch's share of the loss, ()."""
        if not isinstance(inputs, Microbatch):
            cut = self._packing is not None and self.model.training
            loss: torch.Tensor = super()._compute_loss(model, trim_slot(inputs) if cut else inputs)
            return loss
        batch, (log_probs, entropy) = inputs, self._log_probs(model, inputs)
        assert batch.old is not None and entropy is not None
        advantages, weights = batch.advantages[batch.row], batch.weights[batch.row]
        if batch.contrast is not None and self._credit is not None:
            level = ramp(self._credit, self.state.global_step / self.state.max_steps)
            delta = log_probs.detach() - batch.contrast
            credit = credit_weights(self._credit, level, delta, batch.row)
            advantages = advantages * credit
            self._metrics["train"]["token_credit/delta"].append(delta.nanmean().item())
            self._metrics["train"]["token_credit/spread"].append(credit.std(unbiased=False).item())
        old = torch.where(batch.old.isnan(), log_probs.detach(), batch.old)
        log_ratio = log_probs - old
        if self._distillation is not None and batch.teacher is not None:
            heard = self._distillation.heard(log_ratio.detach(), batch)
            advantages = advantages + self._distillation.credit(old, heard, batch)
        if self.importance_sampling_level == "sequence":
            lengths = batch.by_row(torch.ones_like(log_ratio)).clamp(min=1.0)
            log_ratio = (batch.by_row(log_ratio) / lengths)[batch.row]
        ratio = unclamped = torch.exp(log_ratio)
        low = high = torch.zeros_like(ratio)
        match self.loss_type:
            case "cispo":
                losses = -torch.clamp(ratio, max=self.epsilon_high).detach() * advantages * log_probs
                high = ((ratio > self.epsilon_high) & (advantages > 0)).float()
            case "sapo":
                heat = torch.where(advantages > 0, self.args.sapo_temperature_pos, self.args.sapo_temperature_neg)
                losses = -torch.sigmoid(heat * (ratio - 1)) * 4 / heat * advantages
            case _:
                clipped = torch.clamp(ratio, 1 - self.epsilon_low, 1 + self.epsilon_high)
                if self.args.delta is not None:
                    ratio = torch.clamp(ratio, max=self.args.delta)
                losses = -torch.min(ratio * advantages, clipped * advantages)
                low = ((ratio < 1 - self.epsilon_low) & (advantages < 0)).float()
                high = ((ratio > 1 + self.epsilon_high) & (advantages > 0)).float()
        if batch.ratio is not None:
            losses = losses * batch.ratio
        kl = torch.zeros_like(losses)
        if batch.reference is not None:
            away = batch.reference - log_probs
            kl = torch.exp(away) - away - 1
            if self.args.use_bias_correction_kl:
                kl = kl * unclamped
            losses = losses + self.beta * self.kl_share * kl
        if self._distillation is not None and batch.twins is not None:
            losses = losses + self._distillation.divergence(self.accelerator.unwrap_model(model), heard, batch)
        batch.log_probs = log_probs.detach()
        batch.figures = torch.stack([batch.by_row(x.detach().float()) for x in (entropy, kl, low, high)], dim=1)
        return (losses * weights).sum()

    def _log_update(self, rows: Rows, kept: list[int], figures_R_4: torch.Tensor, originals: int) -> None:
        """Log what TRL logs of an update, slot by slot; the entropy is that of the rows that were trained on.

        Args:
            rows: of the window.
            kept: positions of those that were trained on.
            figures_R_4: sums over each row's tokens of entropy, KL, and whether clipped below and above, (R, 4).
            originals: slots that are not replays; only these are logged.
        """
        device = figures_R_4.device
        slot_R = torch.tensor([slot for slot, _ in rows.places], device=device)
        tokens_R = torch.tensor(rows.completions, device=device, dtype=torch.float32)
        kept_R = torch.zeros_like(tokens_R)
        kept_R[kept] = 1.0
        entropy_R, kl_R, low_R, high_R = figures_R_4.unbind(1)
        shares_R_2 = torch.stack([low_R, high_R], dim=1) / tokens_R.unsqueeze(1)  # of a row; NaN without tokens
        by_sequence = self.importance_sampling_level == "sequence"
        clipped_R_2 = shares_R_2 if by_sequence else torch.stack([low_R, high_R], dim=1)
        columns = [entropy_R, kept_R * tokens_R, kl_R, tokens_R, *clipped_R_2.nan_to_num().unbind(1)]
        columns += [torch.ones_like(tokens_R) if by_sequence else tokens_R]
        sums = torch.zeros(int(slot_R.max()) + 1, len(columns), device=device)
        sums = reduce(sums.index_add(0, slot_R, torch.stack(columns, dim=1)), reduction="sum")
        shares = gather(torch.cat([slot_R.unsqueeze(1), shares_R_2], dim=1))
        log = self._metrics["train"]
        for slot, (entropy, scored, kl, tokens, low, high, count) in enumerate(sums[:originals].tolist()):
            if self.beta != 0.0:
                log["kl"].append(kl / max(tokens, 1.0))
            log["entropy"].append(entropy / scored if scored else float("nan"))
            own = shares[(shares[:, 0] == slot) & ~shares[:, 1].isnan()]
            match self.loss_type:
                case "sapo":
                    pass
                case "cispo":
                    log["cispo_clip_ratio"].append(high / max(count, 1.0))
                case _:
                    log["clip_ratio/low_mean"].append(low / max(count, 1.0))
                    log["clip_ratio/high_mean"].append(high / max(count, 1.0))
                    log["clip_ratio/region_mean"].append((low + high) / max(count, 1.0))
                    log["clip_ratio/low_min"].append(own[:, 1].min().item() if len(own) else float("nan"))
                    log["clip_ratio/high_max"].append(own[:, 2].max().item() if len(own) else float("nan"))

    def _generate_single_turn(self, *arguments: Any, **named: Any) -> Any:
        """Generate; the trained weights keep their type, which TRL's continuous batching would cast for good.

        It then optimises bfloat16 weights, of which a small learning rate changes hardly any. Here its engine reads a
        copy of the arithmetic's type. Buffers, such as rotary frequencies, keep their precision.
        """
        dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else None
        if not self.use_transformers_continuous_batching or dtype is None:
            return super()._generate_single_turn(*arguments, **named)
        trained = [
            (parameter, parameter.data) for parameter in self.model.parameters() if parameter.is_floating_point()
        ]
        asked = self.args.bf16, self.args.fp16
        try:
            self.args.bf16 = self.args.fp16 = False
            for parameter, data in trained:
                parameter.data = data.to(dtype)
            return super()._generate_single_turn(*arguments, **named)
        finally:
            self.args.bf16, self.args.fp16 = asked
            for parameter, data in trained:
                parameter.data = data

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        # TRL's first pass over what it generated is that of the old log-probs, wherever it makes one.
        every = self._slots_of_generation * self.num_iterations
        trl_scores = self.args.gradient_accumulation_steps % every != 0 or self._corrects_sampling
        training = self.model.training
        self._leave_out_next_pass = self.packs and training and trl_scores and not self._corrects_sampling
        return super()._generate_and_score_completions(inputs)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **further: Any,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Score completions without gradients, packed; what TRL asks with gradients is left to it.

        Args:
            model: the policy or the reference.
            input_ids: (R, P + C), prompts padded at the left, completions at the right.
            attention_mask: (R, P + C).
            logits_to_keep: C.
            batch_size: rows that TRL would score at a time.
            compute_entropy: whether entropies are wanted too.
            further: TRL's arguments for images and routers.
        """
        if self._leave_out_next_pass:
            self._leave_out_next_pass = False
            return None, None, None
        plain = not compute_entropy and all(value is None or value is False for value in further.values())
        if self._packing is None or torch.is_grad_enabled() or not plain:
            passed: tuple[Any, Any, Any] = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **further
            )
            return passed
        slot = {
            "prompt_ids": input_ids[:, :-logits_to_keep],
            "prompt_mask": attention_mask[:, :-logits_to_keep],
            "completion_ids": input_ids[:, -logits_to_keep:],
            "completion_mask": attention_mask[:, -logits_to_keep:],
        }
        rows = Rows.of([slot])
        (found,) = self._packed_log_probs(model, rows, [slot], [i for i in range(len(rows)) if rows.completions[i]])
        return found, None, None

    def _packed_log_probs(self, model: Any, rows: Rows, slots: list[Slot], kept: list[int]) -> list[torch.Tensor]:
        """Return the log-probs of the rows ``kept``, one (B, C) for each slot; the others' are 0."""
        found = [torch.zeros_like(slot["completion_ids"], dtype=torch.float32) for slot in slots]
        for chosen, counts in self._packed(rows, kept, at_least=0):
            batch = Microbatch.of(rows, chosen, torch.ones_like(rows.advantages), self.pad_to_multiple_of)
            log_probs, _ = self._log_probs(model, batch)
            if counts:
                batch.put(rows, log_probs, found)
        return found

    def contrast_log_probs(self, prompts: Sequence[Sequence[int] | None], slot: Slot) -> torch.Tensor:
        """Return the log-probs of completions behind other prompts, (B, C), without gradients; NaN where there is none.

        Args:
            prompts: token ids of the other prompt of each row; ``None`` where it has none.
            slot: the completions, with their advantages: rows without gradient are left out too.
        """
        kept = [i for i in self._with_gradient(Rows.of([slot])) if prompts[i]]
        return self.log_probs_behind(self.model, prompts, slot, kept)

    def log_probs_behind(
        self, model: Any, prompts: Sequence[Sequence[int] | None], slot: Slot, kept: Sequence[int]
    ) -> torch.Tensor:
        """Return the log-probs of completions behind other prompts, (B, C), without gradients; NaN but for ``kept``.

        Args:
            model: the policy or a teacher, with TRL's fused head.
            prompts: token ids of the other prompt of each row.
            slot: the completions.
            kept: rows to score; each has a prompt.
        """
        device = slot["completion_ids"].device
        ids, mask = left_padded(prompts, device)
        other = {**slot, "prompt_ids": ids, "prompt_mask": mask}
        rows = Rows.of([other])
        kept = [i for i in kept if rows.completions[i]]
        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        with torch.no_grad(), disable_gradient_checkpointing(self.model, checkpointing):
            (found,) = self._packed_log_probs(model, rows, [other], kept)
        known = torch.zeros(len(prompts), 1, dtype=torch.bool, device=device)
        known[kept] = True
        return torch.where(known, found, math.nan)

    def _score_later_slots(self) -> None:
        """Score, under the weights that generated them, the rows of slots that an optimizer step comes before.

        The others need no such pass: their log-probs are those of the update itself.
        """
        later = self._buffered_inputs[max(0, self.current_gradient_accumulation_steps - len(self._window)) :]
        again = replayed(later)  # TRL never scores these
        own = [slot for slot in later if "old_per_token_logps" not in slot]
        slots = [*own, *again]
        if not slots:
            return
        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        with torch.no_grad(), disable_gradient_checkpointing(self.model, checkpointing):
            rows = Rows.of(slots)
            scored = self._packed_log_probs(self.model, rows, slots, self._with_gradient(rows))
            for slot, log_probs in zip(own, scored[: len(own)], strict=True):
                slot["old_per_token_logps"] = log_probs
            for slot, log_probs in zip(later, scored[len(own) :], strict=False):
                slot[f"{PREFIX}old_per_token_logps"] = log_probs
