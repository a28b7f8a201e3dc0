"""Gradients and logged figures of some GRPO steps of a tiny model, packed or as TRL pads them.

python tests/train/update_gradients.py FOLDER      (below torchrun: both, with ranks that share no rows; FOLDER/rank.pt)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig

from adhere.train.stages.microbatches import Packing
from adhere.train.stages.updates import PackedUpdates

WORDS = ["<|end|>", "<|pad|>", *(f"w{i}" for i in range(30))]
Reward = Callable[..., list[float]]


def mixed(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Differs within most groups, and is equal within some."""
    return [float(len(set(ids)) % 3 == 0) for ids in completion_ids]


def flat(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Is the same for all, so that no rollout has an advantage."""
    return [1.0] * len(completion_ids)


def first_rank(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Differs on the first rank only."""
    return mixed(completion_ids) if PartialState().process_index == 0 else flat(completion_ids)


def save_model(folder: Path) -> None:
    """Write a model of 32 words and its tokenizer."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<|pad|>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>").save_pretrained(folder)


class Recorder(PackedUpdates):
    """Keeps the gradient of every optimizer step, and how many rows every forward pass for it had."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.gradients: list[torch.Tensor] = []
        self.trained: list[tuple[int, int]] = []

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        self.gradients.append(torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.requires_grad]))
        return super()._get_grad_norm(model, grad_norm=grad_norm)

    def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        ids = inputs["completion_ids"] if isinstance(inputs, dict) else inputs.ids
        self.trained.append(tuple(ids.shape))
        return super()._compute_loss(model, inputs)


def train(
    folder: Path,
    packing: Packing | None,
    *,
    reward: Reward = mixed,
    steps: int = 3,
    peft: Any = None,
    share: float = 1.0,
    **given: Any,
) -> Recorder:
    """Train ``steps`` steps from the model in ``folder``; ``given`` are fields of TRL's config.

    ``share`` is the factor of the KL term.

    By SGD: Adam would make a whole step out of a rounding error in a weight without gradient.
    """
    prompts = [" ".join(f"w{i * j % 30}" for j in range(1 + i * 5 % 7)) for i in range(1, 33)]
    fields: dict[str, Any] = {
        "output_dir": str(folder / "checkpoints"), "use_cpu": True, "seed": 3, "report_to": [], "save_strategy": "no",
        "max_steps": steps, "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 24,
        "learning_rate": 0.5, "optim": "sgd", "logging_steps": 1, "disable_tqdm": True, "bf16": False,
        "max_grad_norm": 1e9, "gradient_checkpointing": False,
    }  # fmt: skip
    trainer = Recorder(
        packing=packing,
        model=LlamaForCausalLM.from_pretrained(folder),
        reward_funcs=[reward],
        args=GRPOConfig(**(fields | given)),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder),
        peft_config=peft,
    )
    trainer.kl_share = share
    trainer.train()
    return trainer


def main(folder: Path) -> None:
    """Train packed and padded on each rank, with rows for all ranks, for the first only, and for none."""
    found = {}
    for reward in (mixed, first_rank, flat):
        for accumulation in (1, 2):
            both = [
                train(folder, packing, reward=reward, gradient_accumulation_steps=accumulation, ddp_backend="gloo")
                for packing in (None, Packing(100))
            ]
            assert both[0].accelerator.distributed_type == DistributedType.MULTI_CPU
            found[f"{reward.__name__} {accumulation}"] = [trainer.gradients for trainer in both]
    torch.save(found, folder / f"{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
