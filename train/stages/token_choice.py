"""Which tokens of a target SFT trains on, so that the model's entropy stays: those it does not know yet.

A token's score is CE − c·H, its loss less a share of the entropy that the model has there; the highest ones are trained
on (entropy-preserving SFT, Light-IF, arXiv 2508.03178). What the model already says with certainty is left alone.
"""

from __future__ import annotations

import math

import torch


@torch.no_grad()
def chosen_tokens(
    loss_B_T: torch.Tensor, entropy_B_T: torch.Tensor, mask_B_T: torch.Tensor, share: float, weight: float
) -> torch.Tensor:
    """Return which tokens are trained on, (B, T): the highest ⌈share·n⌉ of the n that the mask has, in the whole batch.

    Args:
        loss_B_T: cross-entropy of each token, in nats.
        entropy_B_T: entropy of the model's distribution there, in nats.
        mask_B_T: whether a token belongs to a target.
        share: of the tokens that is kept, in (0, 1].
        weight: c.
    """
    scores = (loss_B_T - weight * entropy_B_T).masked_fill(~mask_B_T, -math.inf).flatten()
    kept = torch.zeros_like(scores, dtype=torch.bool)
    kept[scores.topk(math.ceil(share * int(mask_B_T.sum()))).indices] = True
    return kept.view_as(mask_B_T)
