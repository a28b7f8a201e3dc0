"""Plain TRL: the same model, data, seed and reward as a finished adhere GRPO stage, with nothing of adhere's trainer.

python tests/train/plain_trl.py GRPO_ARTIFACT OUTPUT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from adhere.prompts.item import read_items
from adhere.rewards.composite import Composite
from adhere.rewards.engine import default_engine
from adhere.rewards.functions import RewardFunctions
from adhere.rewards.math import verify_answer
from adhere.rewards.segments import split_response
from adhere.train.config.stage import read_spec
from adhere.train.model.load import compute_dtype
from adhere.train.stages.data import grpo_dataset


def correct(completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
    """1.0 where the answer after the reasoning is the gold answer."""
    texts = [split_response(turns[0]["content"]).answer for turns in completions]
    return [0.0 if text is None else verify_answer(gold, text).score for gold, text in zip(answer, texts, strict=True)]


def build(artifact: Path, output: Path, *, composite: bool = False) -> GRPOTrainer:
    """Return the trainer that does what the stage does.

    Args:
        artifact: the finished stage, or one that has written its items.
        output: where checkpoints would go.
        composite: reward with the stage's own components, as TRL's reward functions, instead of maths by ``correct``.
    """
    spec = read_spec(artifact / "stage.yaml")
    recipe, grpo, before = spec.recipe, spec.recipe.grpo, spec.inputs.get("model")
    model = before / "model" if before else Path(recipe.model.path)
    tokenizer = AutoTokenizer.from_pretrained(model)
    rewards, weights = [correct], None
    if composite:
        functions = RewardFunctions(
            Composite(recipe.rewards, default_engine()),
            eos_ids=[tokenizer.eos_token_id],
            decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
        )
        rewards, weights = functions.as_list(), functions.weights()
    cpu = recipe.launcher.device == "cpu" or not torch.cuda.is_available()
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        reward_funcs=rewards,
        args=GRPOConfig(
            output_dir=str(output / "checkpoints"),
            seed=recipe.seed,
            use_cpu=cpu,
            bf16=compute_dtype(recipe.model) is torch.bfloat16,
            learning_rate=grpo.learning_rate,
            lr_scheduler_type=grpo.lr_scheduler,
            max_steps=grpo.max_steps,
            per_device_train_batch_size=grpo.per_device_batch_size,
            gradient_accumulation_steps=grpo.gradient_accumulation,
            num_generations=grpo.group_size,
            max_completion_length=grpo.max_completion_length,
            beta=grpo.kl_coefficient,
            gradient_checkpointing=grpo.gradient_checkpointing,
            dataloader_pin_memory=not cpu,
            logging_steps=grpo.logging_steps,
            save_strategy="no",
            report_to=[],
            reward_weights=weights,
        ),
        train_dataset=grpo_dataset(
            read_items(artifact / "train_items.jsonl"), recipe.completions_per_step // grpo.group_size
        ),
        processing_class=tokenizer,
    )


def main(artifact: Path, output: Path) -> None:
    """Train as the stage did, and save the weights."""
    trainer = build(artifact, output)
    trainer.train()
    trainer.save_model(str(output))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
