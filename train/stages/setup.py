"""The set-up that the training stages share, and their end: ranks, memory, arguments, the manifest, the weights.

Several launch combinations silently train lone copies, each with a world of one, or fall back from FSDP or DeepSpeed to
DDP: this is looked for before anything loads, and again once the trainer has wrapped the model. Then one worst-case
step shows within the first minute, and not after hours, whether memory suffices.
"""

from __future__ import annotations

import importlib.metadata
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy
import torch
from accelerate import Accelerator, DistributedType, PartialState
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SchedulerType

from adhere.records.artifact import Artifact
from adhere.records.jsonl import read_jsonl
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import ON_POLICY
from adhere.train.config.trackers import chosen, tracker_named
from adhere.train.launch.serve.servers import visible_gpus
from adhere.train.model.load import compute_dtype
from adhere.train.plan.architecture import architecture_of
from adhere.train.plan.memory import (
    GIB,
    gathered_to_generate,
    generation_bytes,
    moment_bytes,
    stage_memory,
    steps_per_generation,
)
from adhere.train.stages.profile import ProfileSteps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.train.config.schema import DpoConfig, GrpoConfig, LauncherConfig, SftConfig
    from adhere.train.config.stage import StageSpec

Restore = Callable[[], None]

TRACKED_PACKAGES = ("adhere", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "math-verify")

PROMISED = {
    "single": {DistributedType.NO},
    "ddp": {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU},
    # accelerate calls it FSDP only once the trainer's Accelerator is there; check_wrapped looks again.
    "fsdp2": {DistributedType.MULTI_GPU, DistributedType.MULTI_CPU},
    "zero2": {DistributedType.DEEPSPEED},
    "zero3": {DistributedType.DEEPSPEED},
}

CPU_REFUSAL = "can't allocate memory"
"""What torch's allocator of the CPU says, as a plain RuntimeError."""


def on_cpu(launcher: LauncherConfig) -> bool:
    """Whether the stage runs on the CPU: because its launcher says so, or because there is no GPU.

    Raises:
        StageError: its launcher insists on a GPU, and torch cannot use one.
    """
    if launcher.device == "cpu" or torch.cuda.is_available():
        return launcher.device == "cpu"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    why = "the driver does not work, or is older than this torch needs"
    if hidden is not None:
        why = f"CUDA_VISIBLE_DEVICES is '{hidden}'"
    if torch.version.cuda is None and torch.version.hip is None:
        why = "this torch is built without CUDA"
    if launcher.device == "cuda":
        raise StageError(f"launcher.device: cuda, but torch cannot use a GPU ({why}); mend that, or set auto or cpu")
    if visible_gpus():
        _say_once(f"note: torch cannot use the GPUs of this machine ({why}); this stage runs on the CPU")
    return True


@cache
def _say_once(message: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"\nadhere: {message}", file=sys.stderr, flush=True)


def check_world(spec: StageSpec) -> None:
    """Check that the ranks which the plan promised are really one job.

    Raises:
        StageError: the world size or the distributed type is not the promised one.
    """
    launcher = spec.recipe.launcher
    # The first PartialState decides the back end of all.
    if not on_cpu(launcher):
        state = PartialState()
    elif not launcher.strategy.startswith("zero"):
        state = PartialState(cpu=True)  # without cpu=True two CPU ranks become two worlds of one
    else:
        os.environ["DS_ACCELERATOR"] = "cpu"
        import deepspeed.ops

        # Its shared-memory collectives take minutes to compile, and serve inference; gloo does the training's.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        state = PartialState(backend="gloo")
    expected = launcher.processes
    if state.num_processes != expected:
        raise StageError(
            f"the plan promised {expected} ranks, but this is rank {state.process_index} of {state.num_processes}"
        )
    kind = state.distributed_type
    if kind not in PROMISED[launcher.strategy] or (expected > 1 and kind is DistributedType.NO):
        raise StageError(
            f"the plan promised strategy '{launcher.strategy}', but accelerate runs {kind.value}; use ddp on a CPU"
        )


class CheckSharing(TrainerCallback):
    """Stops training at its beginning, with a StageError, where the strategy does not share the model as promised."""

    def __init__(self, trainer: Trainer, launcher: LauncherConfig) -> None:
        self._trainer, self._launcher = trainer, launcher

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        found = sharing(self._trainer.model_wrapped)
        promised = self._launcher.strategy
        if promised == "ddp" and self._launcher.processes == 1:
            promised = "single"
        if found != promised:
            raise StageError(
                f"the plan promised strategy '{promised}', but the trainer shares the model by '{found}'; "
                + ("let the process see one GPU" if found == "dp" else "on a CPU use ddp, zero2 or zero3")
            )


def sharing(model: Any) -> str:
    """Return the name of the strategy by which ``model``, as the trainer has wrapped it, is shared among ranks."""
    if type(model).__name__ == "DeepSpeedEngine":
        return f"zero{model.zero_optimization_stage()}"
    if isinstance(model, DistributedDataParallel):
        return "ddp"
    if isinstance(model, torch.nn.DataParallel):
        return "dp"
    if any(isinstance(parameter, DTensor) for parameter in model.parameters()):
        return "fsdp2"
    return "single"


class WorstCase(TrainerCallback):
    """A worst-case step when training begins, so that an out-of-memory shows in the first minute and not after hours.

    Every sequence of the micro batch has the longest prompt and the longest completion there can be: ``prompt`` tokens
    that are not scored, and ``completion`` that are. Forward and backward pass run for real; the optimizer's state and
    the generation's cache are held as plain memory meanwhile. Afterwards weights, gradients and random generators are
    as they were. Where memory does not suffice, a StageError names what to lower.
    """

    def __init__(
        self, trainer: Trainer, spec: StageSpec, prompt: int, completion: int, sequences: int | None = None
    ) -> None:
        self._trainer, self._spec, self._prompt, self._completion = trainer, spec, prompt, completion
        self._packed = sequences is not None
        self._sequences = trainer.args.per_device_train_batch_size if sequences is None else sequences

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        restore = random_state()
        try:
            self.step()
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and CPU_REFUSAL not in str(error):
                raise
            kind, trainer = self._spec.kind, self._trainer
            section = self._spec.section
            try:
                model: Any = trainer.accelerator.unwrap_model(trainer.model)
                peak = stage_memory(self._spec.recipe, kind, architecture_of(model.config.to_dict())).peak
                estimate = f"the estimate is {peak.total / GIB:.1f} GiB per device"
            except ConfigError as unknown:
                estimate = f"no estimate: {unknown}"
            length = "grpo.max_completion_length" if kind in ON_POLICY else "sft.max_length"
            lower = f"{section}.per_device_batch_size (and raise {section}.gradient_accumulation)"
            lower = "grpo.tokens_per_microbatch" if self._packed and self._sequences > 1 else lower
            raise StageError(
                f"preflight: a step of {self._sequences} sequences of {self._prompt} + {self._completion} tokens does "
                f"not fit in memory ({estimate}); lower {lower}, lower {length}, or set "
                f"{section}.gradient_checkpointing=true"
            ) from error
        finally:
            self.forget_gradients()
            restore()

    def step(self) -> None:
        """Run the forward and the backward pass."""
        trainer, spec = self._trainer, self._spec
        model: Any = trainer.model_wrapped
        device = trainer.args.device
        config: Any = trainer.accelerator.unwrap_model(trainer.model).config
        # Moments of Adam come with the first real step; after a resume, and under DeepSpeed, they are there already.
        local = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters() if p.requires_grad]
        trained = sum(p.numel() * moment_bytes(trainer.args.optim, p.element_size()) for p in local)
        assert trainer.optimizer is not None
        moments = 0 if trainer.optimizer.state or trainer.is_deepspeed_enabled else int(trained)
        held = torch.empty(moments, dtype=torch.uint8, device=device)
        if spec.kind in ON_POLICY and spec.recipe.grpo.generation == "transformers":
            a = architecture_of(config.to_dict())
            sequences = trainer.args.per_device_train_batch_size * steps_per_generation(spec.recipe)
            adapter, tokens = spec.recipe.model.adapter, self._prompt + self._completion
            rank = 0 if adapter.kind == "none" else adapter.rank
            width = compute_dtype(spec.recipe.model).itemsize
            cache = int(sum(generation_bytes(a, sequences, self._prompt, tokens, width, rank=rank).values()))
            cache += int(gathered_to_generate(spec.recipe, a))
            # Generation is over before the backward pass begins: the two are never in memory together.
            torch.empty(cache, dtype=torch.uint8, device=device)
        ids = torch.zeros((self._sequences, self._prompt + self._completion), dtype=torch.long, device=device)
        labels = ids.clone()
        labels[:, : self._prompt] = -100
        mask = None if self._packed else torch.ones_like(ids)
        with trainer.compute_loss_context_manager():
            loss = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).loss
        if trainer.is_deepspeed_enabled:
            # An engine takes its step at the boundary of a batch, and cannot undo one: here it only accumulates.
            model.set_gradient_accumulation_boundary(is_boundary=False)
            model.backward(loss)
        else:
            trainer.accelerator.backward(loss)
        del held

    def forget_gradients(self) -> None:
        """Leave no gradient behind, so that the first real backward pass does not add to this one's."""
        model: Any = self._trainer.model_wrapped
        model.zero_grad()
        if not self._trainer.is_deepspeed_enabled:
            return
        zero = model.optimizer
        zero.zero_grad(set_to_none=True)
        if model.zero_optimization_stage() < 3:
            # Its stage 2 has no method for this: only a step, or an overflow in one, forgets what was accumulated.
            from deepspeed.runtime.zero.stage_1_and_2 import INITIAL_MICRO_STEP_ID

            zero.micro_step_id = INITIAL_MICRO_STEP_ID
            zero.averaged_gradients, zero.all_grad_tensors = {}, {}


def check_before_training(
    trainer: Trainer, spec: StageSpec, prompt: int, completion: int, sequences: int | None = None
) -> None:
    """Have ``trainer`` check how the model is shared; where the recipe asks for it, run a worst-case step, and trace
    real ones.

    Args:
        trainer: of the stage; both happen when its training begins.
        spec: the stage.
        prompt: tokens of the longest sequence that are not scored.
        completion: tokens of it that are.
        sequences: of this length in a micro-batch that is packed; ``None`` where none is.

    Raises:
        StageError: when training begins: the model is not shared as promised, or memory does not suffice.
    """
    trainer.add_callback(CheckSharing(trainer, spec.recipe.launcher))
    if spec.recipe.profile is not None:
        trainer.add_callback(ProfileSteps(trainer, spec.artifact / "profile", spec.recipe.profile))
    if spec.recipe.preflight:
        trainer.add_callback(WorstCase(trainer, spec, prompt, completion, sequences))


def random_state() -> Restore:
    """Return a function that puts the generators of Python, numpy and torch back to where they are now."""
    python, arrays, cpu = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore() -> None:
        random.setstate(python)
        numpy.random.set_state(arrays)
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)

    return restore


def seed_of(spec: StageSpec) -> int:
    """Return the seed of the stage: GRPO, and what is drawn as it draws, may have one of its own."""
    return spec.recipe.grpo_seed if kind_of(spec.kind).scores else spec.recipe.seed


def trainer_arguments(
    spec: StageSpec, artifact: Artifact, config: SftConfig | GrpoConfig | DpoConfig
) -> dict[str, Any]:
    """Return the fields that TRL's two config classes share."""
    dtype = compute_dtype(spec.recipe.model)
    launcher = spec.recipe.launcher
    cpu, floor = on_cpu(launcher), config.lr_scheduler == "cosine_with_floor"
    return {
        "output_dir": str(artifact.checkpoints),
        "seed": seed_of(spec),
        # DeepSpeed on the CPU is gloo, and not accelerate's CPU mode.
        **({"ddp_backend": "gloo"} if cpu and launcher.strategy.startswith("zero") else {"use_cpu": cpu}),
        "bf16": dtype is torch.bfloat16,
        "fp16": dtype is torch.float16,
        "max_steps": config.max_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": SchedulerType("cosine_with_min_lr" if floor else config.lr_scheduler),
        **({"lr_scheduler_kwargs": {"min_lr_rate": config.lr_floor}} if floor else {}),
        **({"optim": "adamw_8bit"} if config.optimizer == "adamw_8bit" else {}),
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "per_device_train_batch_size": config.per_device_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "gradient_checkpointing": config.gradient_checkpointing,
        "logging_steps": config.logging_steps,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "disable_tqdm": True,
        "report_to": [name for t in chosen(spec.recipe.tracking) if (name := tracker_named(t).report_to) is not None],
        "run_name": f"{spec.label}-{spec.key[:8]}",
        "project": spec.recipe.tracking.project,
        "dataloader_pin_memory": not cpu,
        **config.trl,
    }


def save_for_handoff(
    trainer: Trainer, tokenizer: PreTrainedTokenizerBase, artifact: Artifact, *, merge: bool = False
) -> None:
    """Write weights, tokenizer and generation config into ``model/``: first under another name, then renamed.

    With ``merge`` the trained adapter becomes part of the weights. It has to where it was trained on a model that
    merged an earlier one: the recipe's base alone is not what it belongs to.
    """
    temporary = artifact.path / "model.partial"
    if trainer.args.should_save:
        shutil.rmtree(temporary, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    if not merge:
        trainer.save_model(str(temporary))
    elif trainer.args.should_save:
        trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().save_pretrained(temporary)
    if trainer.args.should_save:
        tokenizer.save_pretrained(temporary)
        (temporary / "training_args.bin").unlink(missing_ok=True)
        shutil.rmtree(artifact.model, ignore_errors=True)
        temporary.rename(artifact.model)
    trainer.accelerator.wait_for_everyone()


def manifest(spec: StageSpec, started: float, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was made of what: key, inputs, versions, seconds, and the stage's own figures."""
    return {
        "kind": spec.kind,
        "label": spec.label,
        "key": spec.key,
        "inputs": {name: path.name for name, path in spec.inputs.items()},
        "seed": seed_of(spec),
        "ranks": PartialState().num_processes,
        "seconds": round(time.time() - started, 1),
        "versions": {name: importlib.metadata.version(name) for name in TRACKED_PACKAGES},
        **extra,
    }


def check_equal_weights(accelerator: Accelerator, model: torch.nn.Module | None) -> None:
    """Check that all ranks trained the same weights, by a checksum of each; sharded weights have no copies.

    Raises:
        StageError: the ranks have drifted apart, so what they trained is not one model.
    """
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        return
    assert model is not None
    checksum = torch.stack([p.detach().double().sum() for p in model.parameters() if p.requires_grad])
    gathered = accelerator.gather(checksum.unsqueeze(0))
    assert isinstance(gathered, torch.Tensor)
    if not bool((gathered == gathered[0]).all()):
        raise StageError("the ranks hold different weights: they did not train one model; nothing was handed on")


def last_metrics(artifact: Artifact) -> dict[str, Any]:
    """Return the last row of ``metrics.jsonl``, or nothing."""
    rows = read_jsonl(artifact.metrics).rows
    return rows[-1] if rows else {}
