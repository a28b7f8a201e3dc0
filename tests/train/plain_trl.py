"""Plain TRL: the same model, data, seed and reward as a finished adhere GRPO stage, with nothing of adhere's trainer.

python tests/train/plain_trl.py GRPO_ARTIFACT OUTPUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from adhere.rewards.math import verify_answer
from adhere.rewards.segments import split_response


def correct(completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
    """1.0 where the answer after the reasoning is the gold answer."""
    texts = [split_response(turns[0]["content"]).answer for turns in completions]
    return [0.0 if text is None else verify_answer(gold, text).score for gold, text in zip(answer, texts, strict=True)]


def build(artifact: Path, output: Path) -> GRPOTrainer:
    """Return the trainer that does what the stage does."""
    spec = yaml.safe_load((artifact / "stage.yaml").read_text())
    grpo, before = spec["recipe"]["grpo"], spec["inputs"].get("model")
    model = Path(before) / "model" if before else Path(spec["recipe"]["model"]["path"])
    rows = [json.loads(line) for line in (artifact / "train_items.jsonl").read_text().splitlines()]
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        reward_funcs=[correct],
        args=GRPOConfig(
            output_dir=str(output / "checkpoints"),
            seed=spec["recipe"]["seed"],
            use_cpu=True,
            bf16=False,
            learning_rate=grpo["learning_rate"],
            lr_scheduler_type=grpo["lr_scheduler"],
            max_steps=grpo["max_steps"],
            per_device_train_batch_size=grpo["per_device_batch_size"],
            num_generations=grpo["group_size"],
            max_completion_length=grpo["max_completion_length"],
            beta=grpo["kl_coefficient"],
            gradient_checkpointing=False,
            save_strategy="no",
            report_to=[],
        ),
        train_dataset=Dataset.from_list([{"prompt": row["messages"], "answer": row["answer"]} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(model),
    )


def main(artifact: Path, output: Path) -> None:
    """Train as the stage did, and save the weights."""
    trainer = build(artifact, output)
    trainer.train()
    trainer.save_model(str(output))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
