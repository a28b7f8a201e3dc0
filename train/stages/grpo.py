"""Group relative policy optimisation on the composite reward: rollouts → verdicts → TRL's GRPOTrainer → weights.

adhere train recipe=quickstart stages=[sft,grpo]
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import PartialState

from adhere.records.artifact import Artifact
from adhere.train.model.handoff import Handoff, adapter_mode, check_tokenizers, eos_ids
from adhere.train.model.load import check_context, compute_dtype, load_for_training, load_tokenizer, lora_config
from adhere.train.plan.memory import microbatch_tokens
from adhere.train.stages.callbacks import training_callbacks
from adhere.train.stages.data import grpo_dataset, load_items, prompt_length, sft_lengths, target_too_long
from adhere.train.stages.grpo_trainer import AdhereGRPOTrainer, grpo_arguments
from adhere.train.stages.held_out import METER, add_held_out
from adhere.train.stages.levers import levers, reward_functions
from adhere.train.stages.setup import (
    check_before_training,
    check_equal_weights,
    check_world,
    last_metrics,
    manifest,
    on_cpu,
    save_for_handoff,
)
from adhere.train.stages.trainer import raise_on_all_ranks, resume_point

if TYPE_CHECKING:
    from adhere.train.config.stage import StageSpec

SHOWN = {
    "rates/joint": "joint",
    "rates/accuracy": "accuracy",
    "rates/hacc": "hacc",
    "completions/mean_length": "tokens",
    **METER,
}


def run_grpo(spec: StageSpec, artifact: Artifact) -> None:
    """Train on the composite reward, resuming where an earlier attempt was cut off."""
    started = time.time()
    check_world(spec)
    recipe, config = spec.recipe, spec.recipe.grpo

    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    imitates = config.imitation.weight > 0.0
    items = load_items(spec, artifact, tokenizer, "train", with_targets=imitates)
    longest = max(prompt_length(tokenizer, item) for item in items)
    exceed = (
        f"grpo.max_completion_length: {config.max_completion_length} and the longest prompt, {longest} tokens, exceed "
        f"the model's context of {{context}}; lower it, or set data.max_prompt_tokens"
    )
    check_context(recipe.model, config.max_completion_length + longest, exceed)
    if imitates:
        most = max(map(sum, sft_lengths(items, tokenizer)))
        check_context(recipe.model, most, target_too_long(most, "{context}"))
    credit = config.token_credit if config.token_credit.strength > 0.0 else None
    ladder = config.ladder if config.ladder.start is not None else None
    prompts = recipe.completions_per_step // config.group_size
    dataset = grpo_dataset(items, prompts, credit.against if credit else None, ladder)

    # Before the model: under ZeRO-3 it is the configuration that lets the weights load in shards.
    arguments = grpo_arguments(spec, artifact)
    staged = "model" in spec.inputs
    mode = adapter_mode(Path(spec.model_path), recipe.model.adapter, recipe.launcher.strategy, staged=staged)
    model = load_for_training(recipe.model, spec.model_path, merge=mode in ("merge", "whole"))
    if staged:
        check_tokenizers(load_tokenizer(recipe.model, recipe.model.path), tokenizer)
    handoff = Handoff(mode, eos_ids(model, tokenizer), None)
    if recipe.launcher.strategy in ("single", "ddp"):
        model.to(PartialState().device)

        def sample() -> None:
            if PartialState().is_main_process:
                dtype = compute_dtype(recipe.model)
                handoff.sample(artifact.handoff, model, tokenizer, items, config.max_completion_length, dtype)

        raise_on_all_ranks(sample, "the hand-off check")

    tokens = microbatch_tokens(recipe, longest, cpu=on_cpu(recipe.launcher))
    callbacks, stop, clock = training_callbacks(spec, artifact, config.save_every_minutes, SHOWN)
    trainer = AdhereGRPOTrainer(
        rewards=reward_functions(recipe, tokenizer, handoff.eos_ids),
        artifact=artifact,
        **levers(spec, artifact, items, tokenizer, seed=arguments.seed, tokens=tokens),
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.adapter) if mode in ("new", "merge") else None,
        callbacks=callbacks,
    )
    sequences = max(1, tokens // (longest + config.max_completion_length)) if trainer.packs else None
    check_before_training(trainer, spec, longest, config.max_completion_length, sequences)
    add_held_out(trainer, spec, artifact, tokenizer, config.max_completion_length)
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
            "items": len(items), "steps": trainer.state.global_step, "handoff": handoff.to_dict(),
            "last": last_metrics(artifact), "best": trainer.best.found, "timing": clock.figures,
            "ranks_by_step": trainer.ranks,
        }  # fmt: skip
        artifact.finish(manifest(spec, started, figures))
