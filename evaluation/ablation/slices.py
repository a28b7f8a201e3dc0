"""Parts of an ablation's prompts, on which arms are compared again: sources, constraints, length bins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adhere.evaluation.ablation.tables import Responses
from adhere.evaluation.metrics import Metric

SliceKind = Literal["source", "constraint", "length"]
LENGTH_PARTS = 4
FEWEST = 5
"""Prompts below which a part has no interval worth printing; it is left out, and counted."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The prompts at ``places`` of the table with one figure on them, ``values`` (A, R, P'); NaN is a missing score."""

    kind: SliceKind
    name: str
    values: np.ndarray
    places: np.ndarray


def slices(responses: Responses, metric: Metric) -> Iterator[Slice]:
    """Yield the prompts of every source, those with every constraint, and those of every length bin.

    A constraint's figure is the share of its requirements that were met; the others have ``metric``. A prompt's length
    is the mean number of tokens over all arms and seeds, so that all arms are compared on the same prompts: by the
    lengths of its own responses, each arm would have bins of other prompts.
    """
    values = responses.values[metric]

    def part(kind: SliceKind, name: str, values: np.ndarray, chosen: np.ndarray) -> Slice:
        places = np.flatnonzero(chosen)
        return Slice(kind, name, values[:, :, places], places)

    for source in dict.fromkeys(responses.sources):
        yield part("source", str(source), values, responses.sources == source)
    for label, met in responses.constraints.items():
        yield part("constraint", label, met, ~np.isnan(met).all(axis=(0, 1)))

    known = ~np.isnan(responses.tokens)
    counts = known.sum(axis=(0, 1))
    lengths = np.where(known, responses.tokens, 0.0).sum(axis=(0, 1)) / np.maximum(1, counts)
    there = counts > 0
    edges = (
        np.unique(np.quantile(lengths[there], np.linspace(0.0, 1.0, LENGTH_PARTS + 1))) if there.any() else np.zeros(0)
    )
    bins = np.clip(np.searchsorted(edges, lengths, side="left") - 1, 0, max(0, len(edges) - 2))
    for i in range(len(edges) - 1):
        if (chosen := there & (bins == i)).any():
            yield part("length", f"{edges[i]:.0f}–{edges[i + 1]:.0f} tokens", values, chosen)
