"""The check between two stages: tokenizer, chat template and end tokens are still those of the recipe's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from adhere.records.objects import read_object
from adhere.rewards.errors import StageError
from adhere.rewards.files import write_json
from adhere.train.config.adapters import AdapterMode, mode_of_adapter
from adhere.train.model.chat import prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.config.schema import AdapterConfig

SAMPLES, SAMPLE_TOKENS = 8, 1024
"""Greedy samples of the check, and tokens of one at most: where training allows more, they only say what they found."""


@dataclass(slots=True)
class Handoff:
    """What the check found; written to the manifest.

    ``stopped`` is the share of greedy samples that ended by themselves before the first step, ``None`` where sampling
    would have to gather a sharded model.
    """

    adapter: str
    eos_ids: list[int]
    stopped: float | None

    def sample(
        self,
        path: Path,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        items: Sequence[PromptItem],
        limit: int,
        dtype: torch.dtype,
    ) -> None:
        """Set ``stopped`` to what an earlier attempt wrote to ``path``, or sample and write it; see `greedy_stops`.

        Args:
            path: of the artifact's file.
            model: on its device, before its first step.
            tokenizer: of the model.
            items: the training items.
            limit: tokens of a completion in training.
            dtype: type of the arithmetic.

        Raises:
            StageError: no sample ended.
        """
        if not path.exists():
            write_json(path, {"stopped": greedy_stops(model, tokenizer, items, limit, dtype)})
        self.stopped = read_object(path)["stopped"]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def check_tokenizers(before: PreTrainedTokenizerBase, after: PreTrainedTokenizerBase) -> None:
    """Check that the tokenizer of the model that a stage starts from is that of the recipe's model.

    Raises:
        StageError: vocabulary, chat template or end token changed in between.
    """
    if before.get_vocab() != after.get_vocab():
        raise StageError(
            "hand-off: the stage before changed the tokenizer's vocabulary; start all stages from one tokenizer"
        )
    if before.chat_template != after.chat_template:
        raise StageError(
            "hand-off: the stage before was trained with another chat template; set model.chat_template for all stages"
        )
    if before.eos_token_id != after.eos_token_id:
        raise StageError(
            f"hand-off: the end token changed from {before.eos_token!r} to {after.eos_token!r}; none would stop"
        )


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end a response, and make generation stop at the tokenizer's.

    Raises:
        StageError: generation stops at tokens that leave out the tokenizer's end token, and cannot be mended.
    """
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = configured if isinstance(configured, list) else [] if configured is None else [configured]
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int)
    if ids and eos not in ids:
        raise StageError(
            f"hand-off: the generation config ends responses at {ids}, the chat template ends turns with {eos} "
            f"({tokenizer.eos_token!r}); put {eos} into the model's generation_config.json"
        )
    return sorted({*ids, eos})


@torch.no_grad()
def greedy_stops(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[PromptItem],
    limit: int,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Return the share of greedy samples on the first items that end, sampled in one batch.

    Args:
        model: on its device.
        tokenizer: of the model.
        items: the first ``SAMPLES`` are asked.
        limit: tokens of a completion in training; a sample has no more than ``SAMPLE_TOKENS``.
        dtype: type of the arithmetic.

    Raises:
        StageError: none ends within ``limit``; GRPO would see a clipped ratio of 1.0 and learn nothing.
    """
    prompts = [prompt_ids(tokenizer, item.messages) for item in items[:SAMPLES]]
    longest = max(len(prompt) for prompt in prompts)
    assert isinstance(tokenizer.pad_token_id, int)
    padded = [[tokenizer.pad_token_id] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    tokens, was_training = min(limit, SAMPLE_TOKENS), model.training
    model.eval()
    with torch.autocast(model.device.type, dtype, enabled=dtype is not torch.float32):
        output = model.generate(  # type: ignore[operator]
            torch.tensor(padded, device=model.device), attention_mask=torch.tensor(mask, device=model.device),
            do_sample=False, max_new_tokens=tokens,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
    model.train(was_training)
    share = float((output[:, longest:] == tokenizer.eos_token_id).any(1).float().mean())
    if share == 0.0 and tokens == limit:
        raise StageError(
            f"hand-off: none of {len(prompts)} greedy samples ended within {limit} tokens; train SFT "
            f"longer, raise grpo.max_completion_length, or check that targets end with the end token"
        )
    return share


def adapter_mode(path: Path, adapter: AdapterConfig, strategy: str, *, staged: bool) -> AdapterMode:
    """Return what happens to the adapter that ``path`` may hold, as :func:`mode_of_adapter` says.

    Args:
        path: the model that the stage starts from.
        adapter: what the stage trains.
        strategy: how its ranks share the model.
        staged: whether another stage made ``path``; else it is the recipe's model.

    Raises:
        ConfigError: an adapter would have to be merged into whole weights, which no rank has.
    """
    return mode_of_adapter(adapter, strategy, holds=(path / "adapter_config.json").exists(), staged=staged)
