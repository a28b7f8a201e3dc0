"""What both training stages share: arguments, the manifest, and the weights to hand on."""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator, DistributedType, PartialState
from transformers.trainer_utils import SchedulerType

from adhere.records.artifact import Artifact
from adhere.records.jsonl import read_jsonl
from adhere.rewards.errors import StageError
from adhere.train.config.trackers import TRACKERS, chosen
from adhere.train.model.load import compute_dtype
from adhere.train.stages.distributed_checks import device_arguments, on_cpu

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer

    from adhere.train.config.schema import GrpoConfig, SftConfig
    from adhere.train.config.stage import StageSpec

TRACKED_PACKAGES = ("adhere", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "math-verify")


def seed_of(spec: StageSpec) -> int:
    """Return the seed of the stage: GRPO may have one of its own."""
    return spec.recipe.grpo_seed if spec.kind == "grpo" else spec.recipe.seed


def trainer_arguments(spec: StageSpec, artifact: Artifact, config: SftConfig | GrpoConfig) -> dict[str, Any]:
    """Return the fields that TRL's two config classes share."""
    dtype = compute_dtype(spec.recipe.model)
    cpu = on_cpu(spec.recipe.launcher)
    return {
        "output_dir": str(artifact.checkpoints),
        "seed": seed_of(spec),
        **device_arguments(spec.recipe.launcher, cpu=cpu),
        "bf16": dtype is torch.bfloat16,
        "fp16": dtype is torch.float16,
        "max_steps": config.max_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": SchedulerType(config.lr_scheduler),
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
        "report_to": [name for t in chosen(spec.recipe.tracking) if (name := TRACKERS[t].report_to) is not None],
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
