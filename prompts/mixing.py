"""Mixing sources by proportions, without replacement."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from adhere.prompts.item import PromptItem
from adhere.rewards.errors import DataError


def counts(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Divide ``total`` items by ``weights`` (positive, any scale): largest remainders, ties to the first named.

    The counts sum to ``total``, and each lies within 1 of its exact share.
    """
    scale = sum(weights.values())
    exact = {name: total * weight / scale for name, weight in weights.items()}
    shares = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(weights, key=lambda name: shares[name] - exact[name])
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def shuffled(items: Sequence[PromptItem], seed: int) -> list[PromptItem]:
    """Return the items in a seeded order that each item keeps relative to the others when some are left out."""
    return sorted(items, key=lambda item: random.Random(f"order:{seed}:{item.id}").random())


def check_supply(wanted: Mapping[str, int], available: Mapping[str, int], total: int, key: str, why: str) -> None:
    """Check that every source can fill its count.

    Args:
        wanted: items of each source that the mixture takes.
        available: items of each source that are ready.
        total: items of the whole mixture.
        key: the configuration key of ``total``.
        why: what took the items that are missing.

    Raises:
        DataError: naming each source that is too small, and the largest total that this mixture allows.
    """
    short = [f"'{name}' has {available[name]} of {wanted[name]}" for name in wanted if available[name] < wanted[name]]
    if short:
        reach = min(int(available[name] * total / wanted[name]) for name in wanted if wanted[name])
        raise DataError(
            f"{key}: {total} items cannot be mixed, {' and '.join(short)} wanted; "
            f"{f'set {key} to {reach} or less, or ' if reach else ''}give the source more rows or less weight ({why})"
        )
