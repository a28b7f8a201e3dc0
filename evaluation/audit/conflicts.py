"""Which components pull against each other, over the honest answers and the probes of an audit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from adhere.evaluation.audit.scoring import HONEST, Entry, Scored

NEGATIVE = -0.3
"""Correlation below which two components are called conflicting."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two components over all responses that both of them scored.

    ``correlation`` is Pearson's (``None`` where one of them never varies). ``discordant`` is the share of pairs of
    responses to one prompt that the two order differently, among those that both tell apart. ``honest_split`` counts
    prompts whose honest answer, right and obeying, one passes in full and the other does not; ``blamed`` are the
    constraints of those prompts, most frequent first.
    """

    first: str
    second: str
    responses: int
    correlation: float | None
    discordant: float | None
    honest_split: int
    blamed: tuple[str, ...]

    @property
    def conflict(self) -> bool:
        """Whether the pair is worth a word."""
        return self.honest_split > 0 or (self.correlation is not None and self.correlation < NEGATIVE)


def component_pairs(scored: Scored) -> list[Pair]:
    """Compare the raw scores (before gates) of every two components."""
    return [_pair(scored, a, b) for a, b in combinations(scored.config.components, 2)]


def _pair(scored: Scored, first: str, second: str) -> Pair:
    both = [
        [(a, b) for e in group for a, b in [_scores(e, first, second)] if a is not None and b is not None]
        for group in scored.groups
    ]
    flat = [pair for group in both for pair in group]
    signs = [(a - c) * (b - d) for group in both for (a, b), (c, d) in combinations(group, 2)]
    told_apart = [sign for sign in signs if sign != 0.0]
    split = [e for group in scored.groups for e in group if e.name == HONEST and _splits(e, first, second)]
    blamed = Counter(r.label for e in split for r in e.case.item.checklist)
    return Pair(
        first,
        second,
        len(flat),
        _correlation(flat),
        sum(sign < 0.0 for sign in told_apart) / len(told_apart) if told_apart else None,
        len(split),
        tuple(name for name, _ in blamed.most_common(3)),
    )


def _scores(entry: Entry, first: str, second: str) -> tuple[float | None, float | None]:
    return entry.verdicts[first].score, entry.verdicts[second].score


def _splits(entry: Entry, first: str, second: str) -> bool:
    one, two = _scores(entry, first, second)
    return one is not None and two is not None and (one == 1.0) is not (two == 1.0)


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    if not pairs:
        return None
    mean_a, mean_b = (math.fsum(column) / len(pairs) for column in zip(*pairs, strict=True))
    covariance = math.fsum((a - mean_a) * (b - mean_b) for a, b in pairs)
    spread = math.sqrt(math.fsum((a - mean_a) ** 2 for a, _ in pairs) * math.fsum((b - mean_b) ** 2 for _, b in pairs))
    return covariance / spread if spread > 0.0 else None
