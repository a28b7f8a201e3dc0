"""Figures of one generation of rollouts, that show drift. Pure: the same rollouts give the same figures."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from adhere.evaluation.audit.patterns import probe_like
from adhere.rewards.adherence import rate

NGRAM = 4
COMPRESSED_CHARS = 200_000
"""Characters of a generation, from its start, that the compression ratio is measured on."""

FLAT = 1e-8
JUDGED = 0.5
"""Score from which a judge says yes."""


def generation_figures(
    rows: Sequence[Mapping[str, Any]], advantages: Sequence[float], group_size: int, judge: str | None = None
) -> dict[str, float]:
    """Return the figures that the monitors watch; NaN where nothing decides one.

    Args:
        rows: the rollouts of a generation, groups of ``group_size`` in order, each with ``response``, ``tokens``,
            ``finished``, ``correct``, ``followed`` and, where ``judge`` is given, ``verdicts``.
        advantages: one for each row.
        group_size: completions of a prompt.
        judge: name of the component that a judge decides.
    """
    responses = [row["response"] for row in rows]
    grams = [list(_ngrams(response)) for response in responses]
    every = [gram for found in grams for gram in found]
    text = "\n".join(responses)[:COMPRESSED_CHARS].encode()
    groups = [advantages[i : i + group_size] for i in range(0, len(advantages), group_size)]
    flat = [max(group) - min(group) < FLAT for group in groups]
    return {
        "length": fmean(row["tokens"] for row in rows),
        "repetition": fmean(1.0 - len(set(found)) / len(found) if found else 0.0 for found in grams),
        "distinct": len(set(every)) / len(every) if every else math.nan,
        "compression": len(zlib.compress(text, 6)) / len(text) if text else math.nan,
        "accuracy": rate([row["correct"] for row in rows]),
        "hacc": rate([row["followed"] for row in rows]),
        "disagreement": rate([_disagrees(row, judge) for row in rows]) if judge else math.nan,
        "groups": float(len(groups)),
        "live_groups": float(flat.count(False)),
        "zero_spread": rate(flat),
        "clipped": rate([not row["finished"] for row in rows]),
        "probe_like": rate([probe_like(response) for response in responses]),
    }


def masked_shares(tokens: Sequence[int], masked: Sequence[float]) -> dict[str, float]:
    """Return the mean of ``masked`` over the rollouts up to the median length, and over the longer ones.

    NaN stands for a side without rollouts.

    Args:
        tokens: length of each rollout.
        masked: share of each rollout that is left out of the update, from 0 to 1.
    """
    middle = median(tokens)
    short = [share for count, share in zip(tokens, masked, strict=True) if count <= middle]
    long = [share for count, share in zip(tokens, masked, strict=True) if count > middle]
    return {"masked_short": rate(short), "masked_long": rate(long)}


def _ngrams(text: str) -> Iterator[tuple[str, ...]]:
    words = text.split()
    return (tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1))


def _disagrees(row: Mapping[str, Any], judge: str) -> bool | None:
    """Whether judge and rules disagree on a rollout, where both decide it."""
    score = row["verdicts"][judge]["score"]
    ruled = [flag for flag in (row["correct"], row["followed"]) if flag is not None]
    return None if score is None or not ruled else (score >= JUDGED) is not all(ruled)
