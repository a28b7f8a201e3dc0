"""The check between two stages: tokenizer, chat template and end tokens are still those of the recipe's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from adhere.rewards.errors import StageError
from adhere.train.config.adapters import AdapterMode, mode_of_adapter
from adhere.train.model.chat import prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from adhere.prompts.item import PromptItem
    from adhere.train.config.schema import AdapterConfig

SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Handoff:
    """What the check found; written to the manifest.

    ``stopped`` is the share of greedy samples that ended by themselves, ``None`` where sampling would have to gather a
    sharded model.
    """

    adapter: str
    eos_ids: list[int]
    stopped: float | None

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
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, items: Sequence[PromptItem], limit: int
) -> float:
    """Return the share of greedy samples on the first items that end within ``limit`` tokens.

    Raises:
        StageError: none does; GRPO would see a clipped ratio of 1.0 and learn nothing.
    """
    stopped = 0
    was_training = model.training
    model.eval()
    for item in items[:SAMPLES]:
        ids = torch.tensor([prompt_ids(tokenizer, item.messages)], device=model.device)
        output = model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=limit,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        stopped += int(output[0, -1] == tokenizer.eos_token_id)
    model.train(was_training)
    share = stopped / len(items[:SAMPLES])
    if share == 0.0:
        raise StageError(
            f"hand-off: none of {len(items[:SAMPLES])} greedy samples ended within {limit} tokens; train SFT "
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
