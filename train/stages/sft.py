"""Supervised fine-tuning: items with targets → TRL's SFTTrainer → weights to hand on.

adhere train recipe=quickstart stages=[sft]
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PrinterCallback
from trl import SFTConfig as TrlSftConfig

from adhere.records.artifact import Artifact
from adhere.train.model.handoff import adapter_mode, check_tokenizers
from adhere.train.model.load import check_context, load_for_training, load_tokenizer, lora_config
from adhere.train.plan.memory import sft_microbatch_tokens
from adhere.train.stages.callbacks import training_callbacks
from adhere.train.stages.data import load_items, sft_dataset
from adhere.train.stages.held_out import METER, add_held_out
from adhere.train.stages.microbatches import Packing
from adhere.train.stages.setup import (
    check_before_training,
    check_equal_weights,
    check_world,
    last_metrics,
    manifest,
    on_cpu,
    save_for_handoff,
    trainer_arguments,
)
from adhere.train.stages.trainer import AdhereSFTTrainer, resume_point

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec


def run_sft(spec: StageSpec, artifact: Artifact) -> None:
    """Train on the targets of the training items, resuming where an earlier attempt was cut off."""
    started = time.time()
    check_world(spec)
    recipe, config = spec.recipe, spec.recipe.sft

    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    staged = "model" in spec.inputs
    if staged:
        check_tokenizers(load_tokenizer(recipe.model, recipe.model.path), tokenizer)
    exceeds = f"sft.max_length: {config.max_length} exceeds the model's context of {{context}} tokens; lower it"
    check_context(recipe.model, config.max_length, exceeds)
    items = load_items(spec, artifact, tokenizer, "train", with_targets=True)
    dataset, dropped = sft_dataset(items, tokenizer, config.max_length, drop=config.too_long == "drop")
    if dropped:
        text = f"sft.too_long: left out {dropped} of {len(items)} items, longer than sft.max_length={config.max_length}"
        warnings.warn(text, stacklevel=1)

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
    shown = {"loss": "loss", "mean_token_accuracy": "token accuracy", **METER}
    callbacks, stop, clock = training_callbacks(spec, artifact, config.save_every_minutes, shown)
    longest = max(len(row) for row in dataset["input_ids"])
    tokens = sft_microbatch_tokens(recipe, longest, cpu=on_cpu(recipe.launcher))
    trainer = AdhereSFTTrainer(
        packing=None if tokens is None else Packing(tokens),
        token_share=config.token_share,
        token_entropy=config.token_entropy,
        model=load_for_training(recipe.model, spec.model_path, merge=mode in ("merge", "whole")),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.adapter) if mode in ("new", "merge") else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    check_before_training(trainer, spec, 1, longest - 1, None if tokens is None else max(1, tokens // longest))
    add_held_out(trainer, spec, artifact, tokenizer, recipe.evaluation.sampling.max_new_tokens)
    trainer.keep_average(config.ema)
    trainer.resume(resume_point(artifact.checkpoints))
    stop.raise_if_asked(trainer.state.global_step)

    if config.hand_over == "best":
        trainer.hand_over_best()
    trainer.hand_over_average()
    check_equal_weights(trainer.accelerator, trainer.model)
    save_for_handoff(trainer, tokenizer, artifact, merge=mode == "merge")
    if trainer.args.should_save:
        figures = {
            "items": len(dataset),
            "too_long": dropped,
            "steps": trainer.state.global_step,
            "last": last_metrics(artifact),
            "best": trainer.best.found,
            "timing": clock.figures,
            "ranks_by_step": trainer.ranks,
        }
        artifact.finish(manifest(spec, started, figures))
