"""Metrics of an evaluation: accuracy, HAcc, SAcc, joint, and what lies behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap, pass_at_k, prompt_means
from adhere.rewards.verdict import Status

Metric = Literal["accuracy", "hacc", "sacc", "joint"]
METRICS: tuple[Metric, ...] = ("accuracy", "hacc", "sacc", "joint")
LENGTH_BINS = 6


def metric_value(row: ScoredRow, metric: Metric) -> float | None:
    """Return one row's value of a metric, ``None`` where it was not scored or does not apply."""
    if metric == "accuracy":
        return row.score.correct.score
    return {"hacc": row.score.hacc, "sacc": row.score.sacc, "joint": row.score.joint}[metric]


def measure(
    rows: Sequence[ScoredRow], twins: Sequence[ScoredRow] = (), bootstrap: Bootstrap | None = None
) -> dict[str, Any]:
    """Return all metrics of one model on one suite, as a JSON-able dict.

    Args:
        rows: responses to the prompts with their constraints.
        twins: responses to the same prompts without the constraint text, where they were generated; they give
            ``accuracy_without`` and the paired ``accuracy_drop`` (with − without).
        bootstrap: options of the intervals.
    """
    bootstrap = bootstrap or Bootstrap()
    metrics: dict[str, Any] = summarise(rows, bootstrap)
    if twins:
        metrics |= _without(rows, twins, bootstrap)
    metrics |= {
        "table": cross_table(rows),
        "by_constraint": _by_constraint(rows, bootstrap),
        "by_count": _grouped(rows, lambda row: len(row.item.checklist), bootstrap),
        "by_source": _grouped(rows, lambda row: row.item.source, bootstrap),
        "by_length": _by_length(rows, bootstrap),
        "tokens": _tokens(rows),
        "unfinished": _mean([float(not row.generation.finished) for row in rows if not row.generation.error]),
        "unscored": unscored_counts(rows),
        "responses": len(rows),
        "prompts": len({row.item.id for row in rows}),
    }
    samples = Counter(row.item.id for row in rows)
    if samples and min(samples.values()) > 1:
        metrics["pass_at"] = {metric: _pass_at(rows, metric) for metric in ("accuracy", "hacc", "joint")}
    return metrics


def cross_table(rows: Iterable[ScoredRow]) -> dict[str, int]:
    """Count correct × followed; ``left_out`` are rows in which either side has no score."""
    cells = {
        (1.0, 1.0): "correct_followed",
        (1.0, 0.0): "correct_unfollowed",
        (0.0, 1.0): "incorrect_followed",
        (0.0, 0.0): "incorrect_unfollowed",
    }
    counts = dict.fromkeys([*cells.values(), "left_out"], 0)
    for row in rows:
        correct, followed = row.score.correct.score, row.score.hacc
        decided = correct is not None and followed is not None
        counts[cells[float(correct == 1.0), float(followed == 1.0)] if decided else "left_out"] += 1
    return counts


def unscored_counts(rows: Iterable[ScoredRow]) -> dict[str, dict[str, int]]:
    """Count verdicts without a score by status, for the answers and for the constraints."""
    rows = list(rows)
    return {
        "answers": _statuses(row.score.correct.status for row in rows),
        "constraints": _statuses(verdict.status for row in rows for verdict in row.score.verdicts),
        "generation_errors": {"error": sum(row.generation.error is not None for row in rows)},
    }


def _statuses(statuses: Iterable[Status]) -> dict[str, int]:
    return dict(Counter(status.value for status in statuses if status is not Status.OK))


def summarise(rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return accuracy, HAcc, SAcc and joint with their intervals."""
    prompts = [row.item.id for row in rows]
    return {
        metric: bootstrap.estimate([metric_value(row, metric) for row in rows], prompts).to_dict() for metric in METRICS
    }


def _without(rows: Sequence[ScoredRow], twins: Sequence[ScoredRow], bootstrap: Bootstrap) -> dict[str, Any]:
    origin = [str(twin.item.meta["twin_of"]) for twin in twins]
    plain = [metric_value(twin, "accuracy") for twin in twins]
    with_constraints = prompt_means([metric_value(row, "accuracy") for row in rows], [row.item.id for row in rows])
    drop = bootstrap.paired_difference(with_constraints, prompt_means(plain, origin))
    return {"accuracy_without": bootstrap.estimate(plain, origin).to_dict(), "accuracy_drop": drop.to_dict()}


def _grouped(
    rows: Sequence[ScoredRow], key: Callable[[ScoredRow], Hashable], bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    groups: dict[Hashable, list[ScoredRow]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    ordered = sorted(groups, key=lambda group: (isinstance(group, str), group))
    return {str(group): summarise(groups[group], bootstrap) for group in ordered}


def _by_constraint(rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    values: dict[str, list[tuple[float | None, str]]] = {}
    for row in rows:
        for requirement, verdict in zip(row.item.checklist, row.score.verdicts, strict=True):
            values.setdefault(requirement.label, []).append((verdict.score, row.item.id))
    return {
        name: bootstrap.estimate([score for score, _ in found], [prompt for _, prompt in found]).to_dict()
        for name, found in sorted(values.items())
    }


def _by_length(rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Metrics over token-length bins of equal counts; ``low`` is exclusive in all bins but the first."""
    counted = [(row.generation.tokens, row) for row in rows if row.generation.tokens is not None]
    if not counted:
        return []
    lengths = np.array([tokens for tokens, _ in counted])
    edges = np.unique(np.quantile(lengths, np.linspace(0.0, 1.0, LENGTH_BINS + 1), method="inverted_cdf"))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    bins = np.clip(np.searchsorted(edges, lengths, side="left") - 1, 0, len(edges) - 2)
    found = []
    for number in np.unique(bins):
        inside = [row for (_, row), place in zip(counted, bins, strict=True) if place == number]
        span = {"low": int(edges[number]), "high": int(edges[number + 1]), "responses": len(inside)}
        found.append(span | summarise(inside, bootstrap))
    return found


def _tokens(rows: Sequence[ScoredRow]) -> dict[str, float | int | None]:
    lengths = [row.generation.tokens for row in rows if row.generation.tokens is not None]
    if not lengths:
        return {"mean": None, "median": None, "p95": None, "max": None}
    return {
        "mean": float(np.mean(lengths)),
        "median": float(np.median(lengths)),
        "p95": float(np.quantile(lengths, 0.95)),
        "max": int(max(lengths)),
    }


def _pass_at(rows: Sequence[ScoredRow], metric: Metric) -> dict[str, float | None]:
    """Mean pass@k over prompts, for k = 1, 2, 4, … up to the fewest scored samples of a prompt."""
    by_prompt: dict[str, list[float]] = {}
    for row in rows:
        value = metric_value(row, metric)
        if value is not None:
            by_prompt.setdefault(row.item.id, []).append(value)
    if not by_prompt:
        return {}
    most = min(len(values) for values in by_prompt.values())
    powers = [2**exponent for exponent in range(most.bit_length()) if 2**exponent <= most]
    return {
        str(k): _mean([pass_at_k(sum(v == 1.0 for v in values), len(values), k) for values in by_prompt.values()])
        for k in powers
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
