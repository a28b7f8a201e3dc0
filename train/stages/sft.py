"""Supervised fine-tuning: items with targets → TRL's SFTTrainer → weights to hand on.

adhere train recipe=quickstart stages=[sft]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PrinterCallback
from trl import SFTConfig as TrlSftConfig

from adhere.records.artifact import Artifact, newest_checkpoint
from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.needs import check_judged
from adhere.train.launch.local.signals import notice_seconds
from adhere.train.model.chat import check_template
from adhere.train.model.handoff import adapter_mode, check_tokenizers
from adhere.train.model.load import context_length, load_for_training, load_tokenizer, lora_config
from adhere.train.stages.callbacks import CompleteCheckpoints, MetricsFile, Progress, StepClock
from adhere.train.stages.data import load_items, sft_dataset
from adhere.train.stages.distributed_checks import check_world, check_wrapped
from adhere.train.stages.preflight import WorstCase, add_preflight
from adhere.train.stages.resume import AdhereSFTTrainer
from adhere.train.stages.setup import (
    check_equal_weights,
    last_metrics,
    manifest,
    save_for_handoff,
    trainer_arguments,
)
from adhere.train.stages.stop import Stop
from adhere.train.stages.tracking import Tracking

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec


def run_sft(spec: StageSpec, artifact: Artifact) -> None:
    """Train on the targets of the training items, resuming where an earlier attempt was cut off."""
    started = time.time()
    check_world(spec)
    recipe, config = spec.recipe, spec.recipe.sft

    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    check_template(tokenizer, prefilled=recipe.model.prefilled_reasoning)
    staged = "model" in spec.inputs
    if staged:
        check_tokenizers(load_tokenizer(recipe.model, recipe.model.path), tokenizer)
    context = context_length(recipe.model, recipe.model.path)
    if context is not None and config.max_length > context:
        raise ConfigError(
            f"sft.max_length: {config.max_length} exceeds the model's context of {context} tokens; lower it"
        )
    items = load_items(spec, artifact, tokenizer, "train", with_targets=True)
    if "grpo" in recipe.kinds:
        check_judged(recipe.rewards, [(item.id, item.checklist) for item in items])
    dataset = sft_dataset(items, tokenizer, config.max_length)

    # Before the model: under ZeRO-3 it is the configuration that lets the weights load in shards.
    arguments = TrlSftConfig(
        **{
            "num_train_epochs": config.epochs,
            "max_length": config.max_length,
            "completion_only_loss": True,
            "shuffle_dataset": True,
            **trainer_arguments(spec, artifact, config),
        }
    )
    mode = adapter_mode(Path(spec.model_path), recipe.model.adapter, recipe.launcher.strategy, staged=staged)
    stop, clock = Stop(artifact, config.save_every_minutes), StepClock(artifact.timing, notice_seconds())
    trainer = AdhereSFTTrainer(
        model=load_for_training(recipe.model, spec.model_path, merge=mode in ("merge", "whole")),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.adapter) if mode in ("new", "merge") else None,
        callbacks=[
            MetricsFile(artifact.metrics),
            Progress(spec.label, {"loss": "loss", "mean_token_accuracy": "token accuracy"}),
            CompleteCheckpoints(),
            stop,
            Tracking(spec, artifact),
            clock,
        ],
    )
    trainer.remove_callback(PrinterCallback)
    check_wrapped(trainer, spec)
    add_preflight(trainer, spec, WorstCase(1, max(len(row) for row in dataset["input_ids"]) - 1))
    trainer.resume(newest_checkpoint(artifact.checkpoints))
    stop.raise_if_asked(trainer.state.global_step)

    check_equal_weights(trainer.accelerator, trainer.model)
    save_for_handoff(trainer, tokenizer, artifact, merge=mode == "merge")
    if trainer.args.should_save:
        figures = {
            "items": len(items),
            "steps": trainer.state.global_step,
            "last": last_metrics(artifact),
            "timing": clock.figures,
        }
        artifact.finish(manifest(spec, started, figures))
