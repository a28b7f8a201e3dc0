"""A worst-case step before training, so that an out-of-memory shows in the first minute and not after hours.

Every sequence of the micro batch has the longest prompt and the longest completion there can be. Forward and backward
pass run for real; the optimizer's state and the generation's cache are held as plain memory meanwhile. Afterwards
weights, gradients and random generators are as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adhere.rewards.errors import ConfigError, StageError
from adhere.train.model.load import compute_dtype
from adhere.train.plan.architecture import architecture_of
from adhere.train.plan.memory import ADAM_STATES, GIB, generation_bytes, stage_memory, steps_per_generation
from adhere.train.stages.judge_pause import random_state

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec

CPU_REFUSAL = "can't allocate memory"
"""What torch's allocator of the CPU says, as a plain RuntimeError."""


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The longest sequence of the stage in tokens; ``prompt`` of them are not scored."""

    prompt: int
    completion: int


class _Preflight(TrainerCallback):
    def __init__(self, trainer: Trainer, spec: StageSpec, worst: WorstCase) -> None:
        self._trainer, self._spec, self._worst = trainer, spec, worst

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        restore = random_state()
        try:
            _step(self._trainer, self._spec, self._worst)
        except torch.OutOfMemoryError as error:
            raise StageError(_explain(self._spec, self._trainer, self._worst)) from error
        except RuntimeError as error:
            if CPU_REFUSAL not in str(error):
                raise
            raise StageError(_explain(self._spec, self._trainer, self._worst)) from error
        finally:
            _forget_gradients(self._trainer)
            restore()


def add_preflight(trainer: Trainer, spec: StageSpec, worst: WorstCase) -> None:
    """Have ``trainer`` run the worst-case step when training begins, where the recipe asks for it.

    Raises:
        StageError: at the beginning of training, if memory does not suffice; names what to lower.
    """
    if spec.recipe.preflight:
        trainer.add_callback(_Preflight(trainer, spec, worst))


def _step(trainer: Trainer, spec: StageSpec, worst: WorstCase) -> None:
    model: Any = trainer.model_wrapped
    device = trainer.args.device
    config: Any = trainer.accelerator.unwrap_model(trainer.model).config
    # Moments of Adam come with the first real step; after a resume, and under DeepSpeed, they are there already.
    local = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters() if p.requires_grad]
    trained = sum(p.numel() * p.element_size() for p in local)
    assert trainer.optimizer is not None
    moments = 0 if trainer.optimizer.state or trainer.is_deepspeed_enabled else ADAM_STATES * trained
    held = torch.empty(moments, dtype=torch.uint8, device=device)
    if spec.kind == "grpo" and spec.recipe.grpo.generation == "transformers":
        a = architecture_of(config.to_dict())
        sequences = trainer.args.per_device_train_batch_size * steps_per_generation(spec.recipe)
        adapter, tokens = spec.recipe.model.adapter, worst.prompt + worst.completion
        rank = 0 if adapter.kind == "none" else adapter.rank
        width = compute_dtype(spec.recipe.model).itemsize
        cache = int(sum(generation_bytes(a, sequences, worst.prompt, tokens, width, rank=rank).values()))
        # Generation is over before the backward pass begins: the two are never in memory together.
        torch.empty(cache, dtype=torch.uint8, device=device)
    ids = torch.zeros(
        (trainer.args.per_device_train_batch_size, worst.prompt + worst.completion), dtype=torch.long, device=device
    )
    labels = ids.clone()
    labels[:, : worst.prompt] = -100
    with trainer.compute_loss_context_manager():
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels, fused_lm_head=True).loss
    if trainer.is_deepspeed_enabled:
        # An engine takes its step at the boundary of a batch, and cannot undo one: here it only accumulates.
        model.set_gradient_accumulation_boundary(is_boundary=False)
        model.backward(loss)
    else:
        trainer.accelerator.backward(loss)
    del held


def _forget_gradients(trainer: Trainer) -> None:
    """Leave no gradient behind, so that the first real backward pass does not add to this one's."""
    model: Any = trainer.model_wrapped
    model.zero_grad()
    if not trainer.is_deepspeed_enabled:
        return
    zero = model.optimizer
    zero.zero_grad(set_to_none=True)
    if model.zero_optimization_stage() < 3:
        # Its stage 2 has no method for this: only a step, or an overflow in one, forgets what was accumulated.
        from deepspeed.runtime.zero.stage_1_and_2 import INITIAL_MICRO_STEP_ID

        zero.micro_step_id = INITIAL_MICRO_STEP_ID
        zero.averaged_gradients, zero.all_grad_tensors = {}, {}


def _explain(spec: StageSpec, trainer: Trainer, worst: WorstCase) -> str:
    kind = spec.kind
    length = "grpo.max_completion_length" if kind == "grpo" else "sft.max_length"
    try:
        model: Any = trainer.accelerator.unwrap_model(trainer.model)
        peak = stage_memory(spec.recipe, kind, architecture_of(model.config.to_dict())).peak
        estimate = f"the estimate is {peak.total / GIB:.1f} GiB per device"
    except ConfigError as error:
        estimate = f"no estimate: {error}"
    return (
        f"preflight: a step of {trainer.args.per_device_train_batch_size} sequences of {worst.prompt} + "
        f"{worst.completion} tokens does not fit in memory ({estimate}); lower {kind}.per_device_batch_size (and raise "
        f"{kind}.gradient_accumulation), lower {length}, or set {kind}.gradient_checkpointing=true"
    )
