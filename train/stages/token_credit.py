"""Credit by token: a rollout's advantage, divided among its tokens by what the requirements say to each (CoRT).

For a prompt x⁺ and the same prompt x⁻ without its requirements, δ_t = log π(y_t|x⁺, y_<t) − log π(y_t|x⁻, y_<t) says
how much likelier the requirements make a token. Its advantage is multiplied by w_t = w̃_t / mean_t w̃, where
w̃_t = 1 + η·λ·(σ(τ(δ_t − b)) − ½), and λ rises from 0 to 1 along 3u² − 2u³ after a warm-up (arXiv 2607.25659). The mean
over a rollout is 1, so that its advantage as a whole stays. What the paper leaves open is a key: τ, b, η, the warm-up.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from adhere.prompts.attach import without_constraints

if TYPE_CHECKING:
    from adhere.prompts.item import Message, PromptItem
    from adhere.train.config.schema import TokenCreditConfig

FILLER = "The weather was mild on that day, and a few people walked slowly along the river until it became dark."
"""What a placebo says, as often as it takes."""


def contrast_messages(item: PromptItem, against: str) -> list[Message] | None:
    """Return the conversation x⁻ of ``item``; ``None`` where it has no requirements.

    Args:
        item: a prompt.
        against: ``without`` leaves the requirements out; ``placebo`` says something irrelevant in as many words.

    Raises:
        DataError: the requirements cannot be taken out of the prompt.
    """
    if not item.checklist:
        return None
    messages = [*without_constraints(item).messages]
    if against == "placebo":
        words = _words(item.messages) - _words(messages)
        last = messages[-1]
        filler = " ".join(itertools.islice(itertools.cycle(FILLER.split()), max(1, words)))
        messages[-1] = {**last, "content": f"{last['content']} {filler}"}
    return messages


def _words(messages: Sequence[Message]) -> int:
    return sum(len(message["content"].split()) for message in messages)


def ramp(config: TokenCreditConfig, progress: float) -> float:
    """Return λ at ``progress``, the share of training that is done: 0 in the warm-up, then 3u² − 2u³, then 1."""
    past = progress - config.warmup
    u = min(1.0, max(0.0, past / config.ramp)) if config.ramp > 0.0 else float(past >= 0.0)
    return 3.0 * u**2 - 2.0 * u**3


def credit_weights(config: TokenCreditConfig, level: float, delta_N: torch.Tensor, row_N: torch.Tensor) -> torch.Tensor:
    """Return the weight of each token, (N,), positive, with mean 1 over each rollout.

    Args:
        config: η, τ and b.
        level: λ.
        delta_N: δ of each token; NaN where its prompt has no requirements, which leaves the weight of the token at 1.
        row_N: number of the rollout of each token, from 0.
    """
    share_N = (torch.sigmoid(config.temperature * (delta_N - config.offset)) - 0.5).nan_to_num(0.0)
    raw_N = 1.0 + config.strength * level * share_N
    sums = raw_N.new_zeros(2, int(row_N.max()) + 1 if len(row_N) else 0)
    sums = sums.index_add(1, row_N, torch.stack([raw_N, torch.ones_like(raw_N)]))
    return raw_N / (sums[0] / sums[1].clamp(min=1.0))[row_N]
