"""The decoding loop that rollouts and evaluations share: over a model's own forward pass, with its key-value cache.

Every distinct prompt is prefilled once and its cache repeated for the rows that continue it; rows that ended leave the
batch. A row draws from a stream of its own, so that its tokens depend on its seed, its prompt and the weights, not on
what shares the batch, up to rounding inside the model.

Shapes: U distinct prompts, B rows in the batch, P prompt tokens (left padded), T tokens drawn, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer

from adhere.rewards.errors import StageError

FEWER = 0.75
"""Share of the batch's rows still being drawn from which on the others leave it; leaving copies the cache once."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are chosen; each filter means what transformers' ``GenerationConfig`` means by it."""

    limit: int
    """Most tokens of a completion."""

    end_ids: tuple[int, ...]
    """Tokens that end a completion; the one drawn is its last token."""

    temperature: float = 1.0
    """0 takes the likeliest token."""

    top_p: float = 1.0
    """Nucleus mass; 1 keeps every token."""

    top_k: int = 0
    """Number of the likeliest tokens that are kept; 0 keeps every token."""

    min_p: float | None = None
    """Share of the likeliest token's probability that a token needs to be kept; ``None`` keeps every token."""

    def filters(self) -> LogitsProcessorList:
        """Return transformers' own warpers, in the order in which ``generate`` applies them."""
        found = LogitsProcessorList()
        if self.temperature not in (0.0, 1.0):
            found.append(TemperatureLogitsWarper(self.temperature))
        if self.top_k:
            found.append(TopKLogitsWarper(self.top_k))
        if self.top_p < 1.0:
            found.append(TopPLogitsWarper(self.top_p))
        if self.min_p is not None:
            found.append(MinPLogitsWarper(self.min_p))
        return found


def can_decode(model: Any) -> bool:
    """Whether the loop can drive ``model``: a decoder whose state is transformers' dynamic cache, one or more layers."""
    return not (model.config.is_encoder_decoder or model._is_stateful) and hasattr(model, "prepare_inputs_for_generation")


@torch.no_grad()
def decode(
    model: Any, prompts: Sequence[Sequence[int]], seeds: Sequence[int], how: Decoding
) -> list[list[int]]:
    """Return one completion for each prompt, its end token included.

    Args:
        model: a causal model of transformers on its device, in evaluation mode, or such a one under adapters.
        prompts: token ids, one list a row; rows with equal prompts share their prefill.
        seeds: one seed a row, of a stream of its own; not used at temperature 0.
        how: limit, end tokens and filters.

    Raises:
        StageError: the model's logits are not finite.
    """
    distinct: dict[tuple[int, ...], int] = {}
    of_row = [distinct.setdefault(tuple(prompt), len(distinct)) for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in distinct])
    width, device = int(lengths.max()), model.device
    ids_UP = torch.zeros((len(distinct), width), dtype=torch.long)
    for row, prompt in enumerate(distinct):
        ids_UP[row, width - len(prompt) :] = torch.tensor(prompt)
    places_P = torch.arange(width + how.limit)
    mask = (places_P >= width - lengths[:, None]).long()
    positions_UP = (mask.cumsum(-1) - 1).clamp(min=0)[:, :width]

    cache = DynamicCache(config=model.config)
    given: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    takes = inspect.signature(getattr(model, "get_base_model", lambda: model)().forward).parameters
    if "logits_to_keep" in takes:
        given["logits_to_keep"] = 1
    positioned = "position_ids" in takes
    if positioned:
        given["position_ids"] = positions_UP.to(device)
    padded = len({len(prompt) for prompt in distinct}) > 1
    out = model(
        input_ids=ids_UP.to(device), attention_mask=mask[:, :width].to(device) if padded else None, **given
    )
    rows_B = torch.tensor(of_row, device=device)
    logits_BV = out.logits[:, -1].float()[rows_B]
    cache.reorder_cache(rows_B)
    mask, length_B = mask[of_row].to(device), lengths[of_row]
    trims = all(type(layer) is DynamicLayer for layer in cache.layers)

    greedy, filters = how.temperature == 0.0, how.filters()
    draws_BT = None
    if not greedy:
        draws_BT = torch.from_numpy(np.stack([np.random.default_rng(s).random(how.limit) for s in seeds])).to(device)
    ends = torch.tensor(how.end_ids, device=device)
    drawn_BT = torch.empty((len(prompts), how.limit), dtype=torch.long, device=device)
    alive_B = torch.ones(len(prompts), dtype=torch.bool, device=device)
    alive = torch.arange(len(prompts), device=device)  # the rows of the batch, by their place in the output
    for step in range(how.limit):
        if greedy:
            token_B = logits_BV.argmax(-1)
        else:
            token_B = draw(filters(None, logits_BV), draws_BT[:, step])
        drawn_BT[alive, step] = token_B
        alive_B &= ~torch.isin(token_B, ends)
        left = int(alive_B.sum())
        if not left or step + 1 == how.limit:
            break
        if left <= FEWER * len(alive):
            kept = alive_B.nonzero().squeeze(1)
            cache.reorder_cache(kept)
            alive, token_B, mask, length_B = alive[kept], token_B[kept], mask[kept], length_B[kept.cpu()]
            alive_B = alive_B[kept]
            draws_BT = None if draws_BT is None else draws_BT[kept]
            spare = width - int(length_B.max())
            if trims and spare:
                for layer in cache.layers:
                    layer.keys, layer.values = layer.keys[:, :, spare:], layer.values[:, :, spare:]
                mask, width = mask[:, spare:], width - spare
            padded = bool((length_B < width).any())
        if positioned:
            given["position_ids"] = (length_B + step)[:, None].to(device)
        out = model(
            input_ids=token_B[:, None], attention_mask=mask[:, : width + step + 1] if padded else None, **given
        )
        logits_BV = out.logits[:, -1].float()
    completions = []
    for row in drawn_BT.tolist():
        end = next((place for place, token in enumerate(row) if token in how.end_ids), how.limit - 1)
        completions.append(row[: end + 1])
    return completions


def draw(logits_BV: torch.Tensor, noise_B: torch.Tensor) -> torch.Tensor:
    """Return one token a row by inversion of its distribution at ``noise_B``, uniform in [0, 1).

    Raises:
        StageError: a row's logits are not finite, or no token is left.
    """
    mass_BV = torch.softmax(logits_BV, dim=-1).cumsum(-1, dtype=torch.float64)
    total_B = mass_BV[:, -1]
    if not bool(torch.isfinite(total_B).all()):
        raise StageError(
            "the model's logits are not finite (NaN or infinity), so no token can be drawn: lower the learning rate, "
            "or use model.dtype=float32"
        )
    # Below the total even after rounding: the token found has a probability above 0.
    aim_B = torch.minimum(noise_B * total_B, torch.nextafter(total_B, torch.zeros_like(total_B)))
    return torch.searchsorted(mass_BV, aim_B[:, None], right=True).squeeze(1)
