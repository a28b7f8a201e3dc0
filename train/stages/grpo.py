"""Group relative policy optimisation on the composite reward: rollouts → verdicts → TRL's GRPOTrainer → weights.

adhere train recipe=quickstart stages=[sft,grpo]
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate import PartialState
from trl import GRPOConfig as TrlGrpoConfig

from adhere.evaluation.audit import form_of
from adhere.records.artifact import Artifact, newest_checkpoint
from adhere.rewards.checklist import excluded_programs, shared_sandbox
from adhere.rewards.components import ChecklistComponent
from adhere.rewards.composite import Composite
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.functions import RewardFunctions, reward_weights
from adhere.rewards.judge.needs import check_judged
from adhere.train.launch.local.signals import notice_seconds
from adhere.train.model.chat import check_template, prompt_ids
from adhere.train.model.handoff import Handoff, adapter_mode, check_tokenizers, eos_ids, greedy_stops
from adhere.train.model.load import context_length, load_for_training, load_tokenizer, lora_config
from adhere.train.stages.callbacks import CompleteCheckpoints, MetricsFile, Progress, StepClock
from adhere.train.stages.data import grpo_dataset, load_items
from adhere.train.stages.distributed_checks import check_world, check_wrapped
from adhere.train.stages.generation import generation_arguments
from adhere.train.stages.grpo_trainer import AdhereGRPOTrainer
from adhere.train.stages.monitors import Monitors, TrainingAudit
from adhere.train.stages.preflight import WorstCase, add_preflight
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

SHOWN = {
    "rates/joint": "joint",
    "rates/accuracy": "accuracy",
    "rates/hacc": "hacc",
    "completions/mean_length": "tokens",
}


def run_grpo(spec: StageSpec, artifact: Artifact) -> None:
    """Train on the composite reward, resuming where an earlier attempt was cut off."""
    started = time.time()
    check_world(spec)
    recipe, config = spec.recipe, spec.recipe.grpo

    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    check_template(tokenizer, prefilled=recipe.model.prefilled_reasoning)
    items = load_items(spec, artifact, tokenizer, "train")
    check_judged(recipe.rewards, [(item.id, item.checklist) for item in items])
    for component in recipe.rewards.components.values():
        if isinstance(component, ChecklistComponent):
            sandbox = shared_sandbox(component.programs.limits)
            excluded = excluded_programs([(item.id, item.checklist) for item in items], sandbox)
            if excluded:
                shown = "\n".join(f"  {line}" for line in excluded[:20])
                warnings.warn(f"{len(excluded)} requirements are scored for no response:\n{shown}", stacklevel=1)
    longest = max(len(prompt_ids(tokenizer, item.messages)) for item in items)
    context, completion = context_length(recipe.model, recipe.model.path), config.max_completion_length
    if context is not None and completion + longest > context:
        raise ConfigError(
            f"grpo.max_completion_length: {completion} and the longest prompt, {longest} tokens, exceed the model's "
            f"context of {context}; lower it, or set data.max_prompt_tokens"
        )
    prompts = recipe.completions_per_step // config.group_size
    if len(items) < prompts:
        raise ConfigError(
            f"grpo.per_device_batch_size: a step takes {prompts} prompts, but there are {len(items)} training items, "
            f"so none would be trained on; lower it, or add data"
        )

    # Before the model: under ZeRO-3 it is the configuration that lets the weights load in shards.
    arguments = grpo_arguments(spec, artifact)
    staged = "model" in spec.inputs
    mode = adapter_mode(Path(spec.model_path), recipe.model.adapter, recipe.launcher.strategy, staged=staged)
    model = load_for_training(recipe.model, spec.model_path, merge=mode in ("merge", "whole"))
    if staged:
        check_tokenizers(load_tokenizer(recipe.model, recipe.model.path), tokenizer)
    stops = None
    if recipe.launcher.strategy in ("single", "ddp"):
        model.to(PartialState().device)
        stops = greedy_stops(model, tokenizer, items, config.max_completion_length)
    handoff = Handoff(mode, eos_ids(model, tokenizer), stops)

    rewards = RewardFunctions(
        Composite(recipe.rewards, default_engine()),
        eos_ids=handoff.eos_ids,
        decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
        prefilled=recipe.model.prefilled_reasoning,
    )
    watch = config.monitors
    writes = PartialState().is_main_process
    monitors = Monitors(watch, artifact, writes=writes, rehearsed=spec.rehearsed) if watch.enabled else None
    form = form_of(recipe.rewards, reasoning=recipe.data.targets.think, prefilled=recipe.model.prefilled_reasoning)
    stop = Stop(artifact, config.save_every_minutes, spec.until)
    clock = StepClock(artifact.timing, notice_seconds())
    trainer = AdhereGRPOTrainer(
        rewards=rewards,
        artifact=artifact,
        max_clipped=config.max_clipped_steps,
        monitors=monitors,
        audit=TrainingAudit(items, watch, form),
        model=model,
        args=arguments,
        train_dataset=grpo_dataset(items),
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.adapter) if mode in ("new", "merge") else None,
        callbacks=[
            MetricsFile(artifact.metrics),
            Progress(spec.label, SHOWN),
            CompleteCheckpoints(),
            stop,
            Tracking(spec, artifact),
            clock,
        ],
    )
    check_wrapped(trainer, spec)
    add_preflight(trainer, spec, WorstCase(longest, config.max_completion_length))
    checkpoint = newest_checkpoint(artifact.checkpoints)
    if monitors is not None:
        monitors.resume(int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0)
    trainer.resume(checkpoint)
    stop.raise_if_asked(trainer.state.global_step)

    if config.hand_over == "best":
        trainer.hand_over_best()
    check_equal_weights(trainer.accelerator, trainer.model)
    save_for_handoff(trainer, tokenizer, artifact, merge=mode == "merge")
    if trainer.args.should_save:
        figures = {
            "items": len(items), "steps": trainer.state.global_step, "handoff": handoff.to_dict(),
            "last": last_metrics(artifact), "best": trainer.best.found, "timing": clock.figures,
        }  # fmt: skip
        artifact.finish(manifest(spec, started, figures))


def grpo_arguments(spec: StageSpec, artifact: Artifact) -> TrlGrpoConfig:
    """Return TRL's configuration of the stage.

    A groupwise aggregation arrives as one column whose groups already have mean 0, so that scaling by the batch gives
    GDPO's final whitening. A scheduled weight starts here at its first value; the trainer moves it on.
    """
    config, composite = spec.recipe.grpo, spec.recipe.rewards
    return TrlGrpoConfig(
        **{
            "num_generations": config.group_size,
            "max_completion_length": config.max_completion_length,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "beta": config.kl_coefficient,
            "loss_type": config.loss,
            "reward_weights": reward_weights(composite, composite.weights(0, config.max_steps)),
            "scale_rewards": "batch" if composite.aggregator.groupwise else composite.scale,
            **generation_arguments(spec),
            **trainer_arguments(spec, artifact, config),
        }
    )
