"""The decoding loop that rollouts and evaluations share: over a model's own forward pass, with its key-value cache.

Every distinct prompt is prefilled once and its cache repeated for the rows that continue it; rows that ended leave the
batch. A row draws from a stream of its own, so that its tokens depend on its seed, its prompt and the weights, not on
what shares the batch, up to rounding inside the model.

Shapes: U distinct prompts, B rows in the batch, P prompt tokens (left padded), T tokens drawn, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence, Set
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


ROOM = 64
"""Tokens that a layer of the cache makes room for at a time."""


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


class RoomyLayer(DynamicLayer):
    """A layer of the cache with room behind its tokens, so that most steps write one token and copy none."""

    def __init__(self) -> None:
        super().__init__()
        self._room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new tokens' keys and values (B, heads, tokens, size); return those of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        # Under autocast rotary embeddings leave keys in float32; attention would cast all of them at every step.
        key_states, used = key_states.to(value_states.dtype), self.get_seq_length()
        total = used + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < total:
            new_keys, new_values = (
                state.new_empty((*state.shape[:2], total + ROOM, state.shape[3]))
                for state in (key_states, value_states)
            )
            if used:
                assert self.keys is not None and self.values is not None
                new_keys[:, :, :used], new_values[:, :, :used] = self.keys, self.values
            self._room = new_keys, new_values
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, used:total] = states
        self.keys, self.values = (room[:, :, :total] for room in self._room)
        return self.keys, self.values

    def keep(self, rows_B: torch.Tensor, skip: int = 0) -> None:
        """Let the layer consist of ``rows_B`` (repeated ones are copied), without its first ``skip`` tokens."""
        if self.keys is not None and self.values is not None:  # a layer that shares another's holds none
            self.keys = self.keys[:, :, skip:].index_select(0, rows_B)
            self.values = self.values[:, :, skip:].index_select(0, rows_B)
            self._room = None


def can_decode(model: Any) -> bool:
    """Whether the loop can drive ``model``: a decoder whose whole state is the cache that its forward pass takes."""
    recurrent = model.config.is_encoder_decoder or model._is_stateful
    return not recurrent and "past_key_values" in forward_parameters(model)


def forward_parameters(model: Any) -> Set[str]:
    """Return the names that the model's own forward pass takes, below adapters."""
    own = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inspect.signature(type(own).forward).parameters.keys()


@torch.no_grad()
def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    how: Decoding,
    *,
    drawing: Callable[[bool], bool] = bool,
) -> list[list[int]]:
    """Return one completion for each prompt, its end token included.

    Args:
        model: a causal model of transformers on its device, in evaluation mode, or such a one under adapters.
        prompts: token ids, one list a row; rows with equal prompts share their prefill.
        seeds: one seed a row, of a stream of its own; not used at temperature 0.
        how: limit, end tokens and filters.
        drawing: given whether a row here is still being drawn, says whether one is anywhere. A forward pass of weights
            that are sharded needs all ranks, so that all have to take as many steps.

    Raises:
        StageError: the model's logits are not finite.
    """
    if not prompts:
        return []
    distinct: dict[tuple[int, ...], int] = {}
    of_row = [distinct.setdefault(tuple(prompt), len(distinct)) for prompt in prompts]
    device, takes = model.device, forward_parameters(model)
    length_B = torch.tensor([len(prompt) for prompt in distinct], device=device)
    width = int(length_B.max())
    ids_UP = torch.zeros((len(distinct), width), dtype=torch.long)
    for row, prompt in enumerate(distinct):
        ids_UP[row, width - len(prompt) :] = torch.tensor(prompt)
    cache: Any = DynamicCache(config=model.config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    roomy = all(isinstance(layer, RoomyLayer) for layer in cache.layers)
    given: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    if "logits_to_keep" in takes:
        given["logits_to_keep"] = 1

    def logits(ids_BT: torch.Tensor, length_B: torch.Tensor, width: int, step: int, padded: bool) -> torch.Tensor:
        """Return the logits behind the last of ``ids_BT``: prompts, or the tokens drawn as number ``step``."""
        first_B1, places_T = (width - length_B)[:, None], torch.arange(width + step, device=device)
        # Without padding no mask is needed, and attention is faster.
        mask_BT = (places_T >= first_B1).long() if padded else None
        if "position_ids" in takes:
            given["position_ids"] = (places_T[-ids_BT.shape[1] :] - first_B1).clamp(min=0)
        return model(input_ids=ids_BT, attention_mask=mask_BT, **given).logits[:, -1].float()

    def keep(rows_B: torch.Tensor, skip: int) -> None:
        """Let the cache consist of ``rows_B``, without its first ``skip`` places."""
        for layer in cache.layers:
            layer.keep(rows_B, skip) if isinstance(layer, RoomyLayer) else layer.reorder_cache(rows_B)

    padded = int(length_B.min()) < width
    logits_UV = logits(ids_UP.to(device), length_B, width, 0, padded)
    row_B = torch.tensor(of_row, device=device)
    keep(row_B, 0)
    logits_BV, length_B = logits_UV[row_B], length_B[row_B]

    filters: Any = how.filters()  # they look at no earlier token
    ends = torch.tensor(how.end_ids, device=device)
    noise_BT = None if how.temperature == 0.0 else noise(seeds, how.limit).to(device)
    drawn_BT = torch.zeros((len(prompts), how.limit), dtype=torch.long, device=device)
    place_B = torch.arange(len(prompts), device=device)  # of the batch's rows in the output
    alive_B = torch.ones_like(place_B, dtype=torch.bool)
    for step in range(how.limit):
        token_B = (
            logits_BV.argmax(-1) if noise_BT is None else draw_tokens(filters(None, logits_BV), noise_BT[place_B, step])
        )
        drawn_BT[place_B, step] = token_B
        alive_B &= ~torch.isin(token_B, ends)
        alive = int(alive_B.sum())
        if not drawing(alive > 0) or step + 1 == how.limit:
            break
        if 0 < alive <= FEWER * len(place_B):
            row_B = alive_B.nonzero().squeeze(1)
            place_B, alive_B, token_B, length_B = place_B[row_B], alive_B[row_B], token_B[row_B], length_B[row_B]
            spare = width - int(length_B.max()) if roomy else 0
            keep(row_B, spare)
            width -= spare
            padded = int(length_B.min()) < width
        logits_BV = logits(token_B[:, None], length_B, width, step + 1, padded)
    completions = []
    for row in drawn_BT.tolist():
        end = next((place for place, token in enumerate(row) if token in how.end_ids), how.limit - 1)
        completions.append(row[: end + 1])
    return completions


def noise(seeds: Sequence[int], limit: int) -> torch.Tensor:
    """Return uniform numbers in [0, 1), (B, limit): one stream a row, one number a token."""
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(limit) for seed in seeds]))


def draw_tokens(logits_BV: torch.Tensor, noise_B: torch.Tensor) -> torch.Tensor:
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
