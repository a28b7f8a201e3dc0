"""Direct preference optimisation (arXiv 2305.18290): pairs of another stage → TRL's DPOTrainer → weights to hand on.

The reference is the model that the stage starts from. Prompts and responses are tokenised as rollouts and SFT targets
are; a response that was cut at the length limit gets no end token.

adhere train recipe=rlcf_dpo
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig as TrlDpoConfig
from trl import DPOTrainer

from adhere.records.artifact import PAIRS, Artifact
from adhere.records.jsonl import read_jsonl
from adhere.rewards.errors import DataError
from adhere.train.model.chat import prompt_ids
from adhere.train.model.handoff import adapter_mode, check_tokenizers
from adhere.train.model.load import check_context, load_for_training, load_tokenizer, lora_config
from adhere.train.stages.callbacks import training_callbacks
from adhere.train.stages.setup import (
    CheckSharing,
    check_equal_weights,
    check_world,
    last_metrics,
    manifest,
    save_for_handoff,
    trainer_arguments,
)
from adhere.train.stages.trainer import ExactResume, resume_point

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.train.config.stage import StageSpec

SHOWN = {"loss": "loss", "rewards/accuracies": "preferred", "rewards/margins": "margin"}


class AdhereDPOTrainer(ExactResume, DPOTrainer):
    """TRL's DPOTrainer with an exact resume, on rows of ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # as tokens already: TRL would write the end token and its own special tokens


def run_dpo(spec: StageSpec, artifact: Artifact) -> None:
    """Train on the pairs, resuming where an earlier attempt was cut off."""
    started = time.time()
    check_world(spec)
    recipe, config = spec.recipe, spec.recipe.dpo
    tokenizer = load_tokenizer(recipe.model, spec.model_path)
    staged = "model" in spec.inputs
    if staged:
        check_tokenizers(load_tokenizer(recipe.model, recipe.model.path), tokenizer)
    files = [path / PAIRS for role, path in spec.inputs.items() if role.startswith("pairs.")]
    dataset = dpo_dataset(files, tokenizer)
    longest = max(len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in dataset)
    exceed = f"pairs.max_completion_length: a pair has {longest} tokens, the model's context is {{context}}; lower it"
    check_context(recipe.model, longest, exceed)

    arguments = TrlDpoConfig(
        **{
            "num_train_epochs": config.epochs,
            "max_length": None,
            "beta": config.beta,
            "loss_type": [config.loss],
            **trainer_arguments(spec, artifact, config),
        }
    )
    mode = adapter_mode(Path(spec.model_path), recipe.model.adapter, recipe.launcher.strategy, staged=staged)
    merge = mode in ("merge", "whole")
    callbacks, stop, clock = training_callbacks(spec, artifact, config.save_every_minutes, SHOWN)
    trainer = AdhereDPOTrainer(
        model=load_for_training(recipe.model, spec.model_path, merge=merge),
        # With adapters TRL's reference is the same model under its first adapters, or under none.
        ref_model=load_for_training(recipe.model, spec.model_path, merge=merge)
        if recipe.model.adapter.kind == "none"
        else None,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(recipe.model.adapter) if mode in ("new", "merge") else None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(CheckSharing(trainer, recipe.launcher))
    trainer.keep_average(config.ema)
    trainer.resume(resume_point(artifact.checkpoints))
    stop.raise_if_asked(trainer.state.global_step)

    trainer.hand_over_average()
    check_equal_weights(trainer.accelerator, trainer.model)
    save_for_handoff(trainer, tokenizer, artifact, merge=mode == "merge")
    if trainer.args.should_save:
        shutil.rmtree(artifact.model / "ref", ignore_errors=True)  # TRL's frozen copy of the first adapters
        figures = {
            "items": len(dataset),
            "steps": trainer.state.global_step,
            "last": last_metrics(artifact),
            "timing": clock.figures,
            "ranks_by_step": trainer.ranks,
        }
        artifact.finish(manifest(spec, started, figures))


def dpo_dataset(files: list[Path], tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Return rows of ``prompt_ids``, ``chosen_ids`` and ``rejected_ids`` of all pairs in ``files``.

    Raises:
        DataError: a file has a damaged line, or no pair.
    """
    rows = []
    for file in files:
        found = read_jsonl(file)
        if found.unreadable or not found.rows:
            where = f"{file}:{found.unreadable[0]}: is damaged" if found.unreadable else f"{file}: holds no pair"
            raise DataError(f"{where}; remove {file.parent} and run the command again")
        for pair in found.rows:
            row = {"prompt_ids": prompt_ids(tokenizer, pair["messages"])}
            for side in ("chosen", "rejected"):
                ids = tokenizer(pair[side], add_special_tokens=False)["input_ids"]
                row[f"{side}_ids"] = [*ids, *([tokenizer.eos_token_id] if pair[f"{side}_finished"] else [])]
            rows.append(row)
    return Dataset.from_list(rows)
