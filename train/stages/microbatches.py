"""Micro-batches of an update: rows of an accumulation window, sorted by length and packed by a budget of tokens.

TRL pads every micro-batch of GRPO to the longest prompt and the longest completion of its generation batch, and of SFT
to the longest row of the batch. Here a row is its prompt and its completion without padding between them. Rows of like
length share a micro-batch, padded at the right, so that a causal model needs no attention mask. Every row keeps the
weight that it has in TRL's own loss, whatever micro-batch it comes into, so that the gradients are those of the padded
form.

Shapes: R rows of a window, B rows of a micro-batch, L its longest row, N its completion tokens, C the longest
completion of a generation batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

Slot = dict[str, Any]
"""What TRL's trainer holds for one of its own micro-batches: padded ids and masks, advantages, log-probs."""

LOSSES = ("grpo", "dr_grpo", "bnpo", "dapo", "cispo", "sapo", "luspo")
"""TRL's losses that are a weighted sum over tokens, each with a weight that its row's slot decides."""


@dataclass(frozen=True)
class Packing:
    """How the rows of an update are packed.

    Args:
        tokens: padded tokens of a micro-batch at most; a longer row is one by itself.
        skip_zero_advantage: leave out rows whose gradient is exactly zero.
        overhead: padded tokens that cost as much as one more micro-batch.
    """

    tokens: int
    skip_zero_advantage: bool = True
    overhead: int = 64


def pack_rows(lengths: Sequence[int], tokens: int, overhead: int) -> list[list[int]]:
    """Return the positions of ``lengths`` in micro-batches, longest first, that together cost the least.

    A micro-batch costs its rows times its longest row, plus ``overhead``. Among rows sorted by length the best
    micro-batches are runs, so that the best of all is found exactly, run by run.

    Args:
        lengths: tokens of each row.
        tokens: padded tokens of a micro-batch at most; a row that is longer is one by itself.
        overhead: padded tokens that cost as much as one more micro-batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    best = np.zeros(len(order) + 1)  # of the rows from i on
    ends = np.zeros(len(order), dtype=int)
    for i in range(len(order) - 1, -1, -1):
        longest = lengths[order[i]]
        rows = np.arange(1, min(len(order) - i, max(1, tokens // longest)) + 1)
        costs = rows * longest + overhead + best[i + rows]
        taken = int(costs.argmin())
        best[i], ends[i] = costs[taken], i + rows[taken]
    found, start = [], 0
    while start < len(order):
        found.append(order[start : ends[start]])
        start = int(ends[start])
    return found


@dataclass
class Rows:
    """The rows of some slots, each without its padding; tensors are on the device of the slots."""

    ids: list[torch.Tensor]
    """Prompt and completion of each row, (P + C,)."""

    prompts: list[int]
    """Tokens of each prompt."""

    completions: list[int]
    """Tokens of each completion that the loss counts."""

    places: list[tuple[int, int]]
    """Slot and row within it."""

    advantages: torch.Tensor
    """(R,)"""

    guided: torch.Tensor
    """Whether a teacher says something to a row, (R,)."""

    @classmethod
    def labelled(cls, slots: Sequence[Slot]) -> Rows:
        """Return the rows of SFT's ``slots``, padded at the right: what has a label is the completion, to a row's end.

        Raises:
            ValueError: a row has labels before its completion, or no prompt.
        """
        none = torch.zeros(sum(len(slot["labels"]) for slot in slots), device=slots[0]["labels"].device)
        found = cls([], [], [], [], none, none.bool())
        for s, slot in enumerate(slots):
            scored = slot["labels"] != -100
            counts = torch.stack([slot["attention_mask"].sum(1), scored.sum(1), scored.int().argmax(1)]).tolist()
            for i, (length, completion, first) in enumerate(zip(*counts, strict=True)):
                if completion and not (0 < first == length - completion):
                    raise ValueError("the labels of a row are not one completion behind a prompt")
                found.ids.append(slot["input_ids"][i, :length])
                found.prompts.append(length - completion)
                found.completions.append(completion)
                found.places.append((s, i))
        return found

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> Rows:
        """Return the rows of ``slots``, in their order; one without advantages has zeros."""
        none = [slot["prompt_mask"].new_zeros(len(slot["prompt_mask"]), dtype=torch.float32) for slot in slots]
        advantages = [slot.get("advantages", zeros) for slot, zeros in zip(slots, none, strict=True)]
        guided = [slot.get("guided", zeros != 0.0) for slot, zeros in zip(slots, none, strict=True)]
        found = cls([], [], [], [], torch.cat(advantages), torch.cat(guided))
        for s, slot in enumerate(slots):
            counts = torch.stack([slot["prompt_mask"].sum(1), slot["completion_mask"].sum(1)]).tolist()
            width = slot["prompt_ids"].size(1)
            for i, (prompt, completion) in enumerate(zip(*counts, strict=True)):
                before, after = slot["prompt_ids"][i, width - prompt :], slot["completion_ids"][i, :completion]
                found.ids.append(torch.cat([before, after]))
                found.prompts.append(prompt)
                found.completions.append(completion)
                found.places.append((s, i))
        return found

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.ids]


@dataclass
class Microbatch:
    """Some rows, padded at the right to the longest; of their tokens only those of completions are scored."""

    rows: list[int]
    """Positions of its rows in the window, (B,)."""

    ids: torch.Tensor
    """(B, L)"""

    row: torch.Tensor
    """Row within the micro-batch of each completion token, (N,)."""

    column: torch.Tensor
    """Position in its row of the token before each completion token, (N,): what it is predicted from."""

    advantages: torch.Tensor
    """(B,)"""

    weights: torch.Tensor
    """Weight of each token of a row in the loss, (B,)."""

    old: torch.Tensor | None = None
    """Log-probs under the weights that generated, (N,); NaN where they are those of this very pass."""

    reference: torch.Tensor | None = None
    """Log-probs under the reference model, (N,)."""

    ratio: torch.Tensor | None = None
    """Correction of the sampling engine's probabilities, (N,)."""

    contrast: torch.Tensor | None = None
    """Log-probs behind the prompt without its requirements, (N,); NaN where it has none."""

    teacher: torch.Tensor | None = None
    """What a teacher gives as the log-probs of the tokens, (N,); NaN where there is none."""

    twins: Rows | None = None
    """The window's rows behind the prompts that their teachers see, where the whole distribution is wanted."""

    hidden: torch.Tensor | None = None
    """Set by the scoring: hidden states that the completion tokens are predicted from, (N, H)."""

    log_probs: torch.Tensor | None = None
    """Set by the loss: log-probs of the completion tokens, (N,), detached."""

    figures: torch.Tensor | None = None
    """Set by the loss: sums over each row's tokens: entropy, KL, and whether clipped below and above, (B, 4); of SFT
    entropy, and whether the likeliest token is the right one, (B, 2)."""

    @classmethod
    def of(cls, rows: Rows, chosen: list[int], weights: torch.Tensor, multiple: int | None = None) -> Microbatch:
        """Return the rows ``chosen`` of ``rows``.

        Args:
            rows: of the window.
            chosen: positions in the window, (B,).
            weights: of all rows of the window, (R,).
            multiple: what the length has to be a multiple of, where it has to.
        """
        ids = pad_sequence([rows.ids[i] for i in chosen], batch_first=True)
        if multiple and (over := ids.size(1) % multiple):
            ids = torch.nn.functional.pad(ids, (0, multiple - over))
        completions = [rows.completions[i] for i in chosen]
        row = np.repeat(np.arange(len(chosen)), completions)
        column = [np.arange(c) + rows.prompts[i] - 1 for i, c in zip(chosen, completions, strict=True)]
        places = torch.from_numpy(np.stack([row, np.concatenate(column)])).to(ids.device)
        return cls(chosen, ids, places[0], places[1], rows.advantages[chosen], weights[chosen])

    @property
    def targets(self) -> torch.Tensor:
        """The completion tokens, row by row, (N,)."""
        return self.ids[self.row, self.column + 1]

    def flat(self, rows: Rows, tensors: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Return what ``tensors``, one (B, C) or (B, 1) for each slot, hold for the completion tokens, (N,).

        NaN stands for the tokens of a slot that has none.
        """
        none = torch.full((1,), math.nan, device=self.ids.device)
        parts = []
        for i in self.rows:
            (slot, place), completion = rows.places[i], rows.completions[i]
            tensor = tensors[slot]
            parts.append((none if tensor is None else tensor[place, :completion]).expand(completion))
        return torch.cat(parts)

    def put(self, rows: Rows, values: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
        """Write ``values``, one for each completion token, (N,), to where ``flat`` would read them."""
        parts = values.split([rows.completions[i] for i in self.rows])
        for i, part in zip(self.rows, parts, strict=True):
            slot, place = rows.places[i]
            tensors[slot][place, : len(part)] = part

    def by_row(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sums over the tokens of each row, (B,), of one value for each completion token, (N,)."""
        return values.new_zeros(len(self.rows)).index_add(0, self.row, values)


def left_padded(prompts: Sequence[Sequence[int] | None], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, (B, P) each, of ``prompts``, padded at the left; ``None`` is a prompt of nothing."""
    width = max([1, *(len(prompt) for prompt in prompts if prompt)])
    ids, mask = (torch.zeros((len(prompts), width), dtype=torch.long) for _ in range(2))
    for row, prompt in enumerate(prompts):
        if prompt:
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def row_weights(
    slot: Slot, loss: str, *, accumulation: int, max_completion_length: int, slots: int, ranks: int
) -> torch.Tensor:
    """Return the weight of each token of a slot's rows in TRL's loss, (B,): its denominators, as one factor.

    Args:
        slot: one of TRL's own micro-batches.
        loss: TRL's ``loss_type``, one of ``LOSSES``.
        accumulation: slots of this optimizer step.
        max_completion_length: limit of a completion in tokens.
        slots: slots of a generation batch (``steps_per_generation``).
        ranks: processes that train together; what is summed over all is divided by their number.
    """
    lengths = slot["completion_mask"].sum(1).clamp(min=1.0)
    rows = len(lengths)
    match loss:
        case "grpo" | "sapo":
            return 1.0 / (lengths * (rows * accumulation))
        case "dr_grpo":
            return torch.ones_like(lengths, dtype=torch.float32) / (rows * max_completion_length * accumulation)
        case "luspo":
            return torch.ones_like(lengths, dtype=torch.float32) / (rows * accumulation)
        case "bnpo":
            total = slot["completion_mask"].sum().clamp(min=1.0)
            return torch.ones_like(lengths, dtype=torch.float32) / (total * accumulation)
        case "dapo" | "cispo":
            total = slot["num_items_in_batch"].clamp(min=1.0) / ranks * accumulation / slots
            return torch.ones_like(lengths, dtype=torch.float32) / total
    raise ValueError(f"no weights are known for the loss '{loss}'")


def score_completions(model: Any, backbone: torch.nn.Module, batch: Microbatch) -> Any:
    """Return what TRL's fused head says of the completion tokens of ``batch``: ``log_probs`` and more, each (1, N).

    The head sees these tokens alone; TRL's, where there is no Triton, scores prompts and padding as well.

    Args:
        model: with the fused head, as the trainer has wrapped it.
        backbone: the part of it that makes the hidden states.
        batch: what is scored.
    """

    def narrow(_: Any, __: Any, output: Any) -> Any:
        batch.hidden = output.last_hidden_state[batch.row, batch.column]
        output.last_hidden_state = batch.hidden.unsqueeze(0)
        return output

    hook = backbone.register_forward_hook(narrow)
    try:
        return model(input_ids=batch.ids, shift_labels=batch.targets.unsqueeze(0), fused_lm_head=True)
    finally:
        hook.remove()


def trim_slot(slot: Slot) -> Slot:
    """Return ``slot`` without the columns that are padding in all of its rows."""
    prompt, completion = (max(1, int(slot[f"{part}_mask"].sum(1).max())) for part in ("prompt", "completion"))
    cut = dict(slot)
    for name, value in slot.items():
        if name in ("prompt_ids", "prompt_mask"):
            cut[name] = value[:, -prompt:]
        elif isinstance(value, torch.Tensor) and value.ndim == 2 and value.size(1) == slot["completion_ids"].size(1):
            cut[name] = value[:, :completion]
    return cut
