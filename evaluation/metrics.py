"""Metrics of an evaluation: accuracy, HAcc, SAcc and joint, overall and by constraint, source and length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap, mean_of_scored, pass_at_k, prompt_means
from adhere.rewards.math.canonical import canonical
from adhere.rewards.math.extract import extract_answer
from adhere.rewards.verdict import Status

Metric = Literal["accuracy", "hacc", "sacc", "joint"]
Official = Literal["accuracy_official", "joint_official"]
METRICS: tuple[Metric, ...] = ("accuracy", "hacc", "sacc", "joint")
OFFICIAL: tuple[Official, ...] = ("accuracy_official", "joint_official")
"""What MathIF's runner says of the answers, in ``compat`` and where there are gold answers."""

LENGTH_BINS = 6


def metric_value(row: ScoredRow, metric: str) -> float | None:
    """Return one row's value of a metric, ``None`` where it was not scored or does not apply.

    ``metric`` is one of ``METRICS`` and ``OFFICIAL``, or a figure of the row's suite, whose values are averaged.
    """
    if metric in row.score.measures:
        values = [value for value in row.score.measures[metric] if value is not None]
        return sum(values) / len(values) if values and len(values) == len(row.score.measures[metric]) else None
    if metric == "accuracy":
        return row.score.correct.score
    if metric == "accuracy_official":
        return None if row.score.official is None else float(row.score.official)
    if metric == "joint_official":
        return row.score.joint_official
    return {"hacc": row.score.hacc, "sacc": row.score.sacc, "joint": row.score.joint}.get(metric)


def evaluator_failed(row: ScoredRow, metric: str) -> bool:
    """Return whether a row has no value of a metric because the evaluator could not decide it."""
    constraints = any(verdict.undecided for verdict in row.score.verdicts)
    failed = {"accuracy": row.score.correct.undecided, "joint": row.score.correct.undecided or constraints}
    failed |= {"accuracy_official": False}  # MathIF's own grader decides every response
    return metric_value(row, metric) is None and failed.get(metric, constraints)


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
        origin = [str(twin.item.meta["twin_of"]) for twin in twins]
        plain = [metric_value(twin, "accuracy") for twin in twins]
        constrained = prompt_means([metric_value(row, "accuracy") for row in rows], [row.item.id for row in rows])
        failed = [evaluator_failed(twin, "accuracy") for twin in twins]
        metrics["accuracy_without"] = bootstrap.estimate(plain, origin, failed).to_dict()
        metrics["accuracy_drop"] = bootstrap.paired_difference(constrained, prompt_means(plain, origin)).to_dict()

    # Each constraint's share of requirements that are met.
    met: dict[str, list[tuple[float | None, str, bool]]] = {}
    for row in rows:
        for requirement, verdict in zip(row.item.checklist, row.score.verdicts, strict=True):
            met.setdefault(requirement.label, []).append((verdict.score, row.item.id, verdict.undecided))
    by_constraint = {
        label: bootstrap.estimate(*(list(column) for column in zip(*found, strict=True))).to_dict()
        for label, found in sorted(met.items())
    }

    # Groups of prompts: by the number of their constraints, and by where they come from.
    by_count: dict[int, list[ScoredRow]] = {}
    by_source: dict[str, list[ScoredRow]] = {}
    for row in rows:
        by_count.setdefault(len(row.item.checklist), []).append(row)
        by_source.setdefault(row.item.source, []).append(row)

    # Lengths, where the back end counts tokens.
    counted = [(row.generation.tokens, row) for row in rows if row.generation.tokens is not None]
    lengths = np.array([tokens for tokens, _ in counted])
    tokens: dict[str, float | int | None] = {"mean": None, "median": None, "p95": None, "max": None}
    if counted:
        middle, most = np.quantile(lengths, [0.5, 0.95])
        tokens = {"mean": float(lengths.mean()), "median": float(middle), "p95": float(most), "max": int(lengths.max())}

    metrics |= {
        "table": cross_table(rows),
        "by_constraint": by_constraint,
        "by_count": {str(count): summarise(found, bootstrap) for count, found in sorted(by_count.items())},
        "by_source": {source: summarise(found, bootstrap) for source, found in sorted(by_source.items())},
        "by_length": measure_by_length(lengths, [row for _, row in counted], bootstrap),
        "tokens": tokens,
        "unfinished": mean_of_scored(float(not row.generation.finished) for row in rows if not row.generation.error),
        "unscored": unscored_counts(rows),
        "responses": len(rows),
        "prompts": len({row.item.id for row in rows}),
    }
    samples = Counter(row.item.id for row in rows)
    if samples and min(samples.values()) > 1:
        metrics["pass_at"] = {metric: measure_pass_at(rows, metric) for metric in ("accuracy", "hacc", "joint")}
        own = dict.fromkeys(name for row in rows for name in row.score.measures)
        metrics["at_k"] = {
            metric: found for metric in (*METRICS, *own) if (found := measure_at_k(rows, metric, bootstrap))
        }
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
    answers = Counter(row.score.correct.status for row in rows)
    constraints = Counter(verdict.status for row in rows for verdict in row.score.verdicts)
    return {
        "answers": {status.value: count for status, count in answers.items() if status is not Status.OK},
        "constraints": {status.value: count for status, count in constraints.items() if status is not Status.OK},
        "generation_errors": {"error": sum(row.generation.error is not None for row in rows)},
    }


def summarise(rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> dict[str, Any]:
    """Return the metrics with their intervals, the share left out and the range it leaves open.

    They are accuracy, HAcc, SAcc and joint, the official ones where they are known, and the suite's own.
    """
    prompts = [row.item.id for row in rows]
    official = OFFICIAL if any(row.score.official is not None for row in rows) else ()
    found: dict[str, Any] = {
        metric: bootstrap.estimate(
            [metric_value(row, metric) for row in rows], prompts, [evaluator_failed(row, metric) for row in rows]
        ).to_dict()
        for metric in (*METRICS, *official)
    }
    # The suite's own figures: means over all values of all responses, whole prompts resampled.
    for name in dict.fromkeys(name for row in rows for name in row.score.measures):
        pooled = [(value, row.item.id) for row in rows for value in row.score.measures.get(name, ())]
        values, owners = [list(column) for column in zip(*pooled, strict=True)] if pooled else ([], [])
        found[name] = bootstrap.estimate(values, owners, [value is None for value in values]).to_dict()
    return found


def measure_by_length(lengths: np.ndarray, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Return the metrics of ``rows`` in bins of their ``lengths`` (tokens) that hold equally many of them.

    ``low`` is exclusive in all bins but the first.
    """
    if not rows:
        return []
    edges = np.unique(np.quantile(lengths, np.linspace(0.0, 1.0, LENGTH_BINS + 1), method="inverted_cdf"))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    bins = np.clip(np.searchsorted(edges, lengths, side="left") - 1, 0, len(edges) - 2)
    found = []
    for number in np.unique(bins):
        inside = [row for row, place in zip(rows, bins, strict=True) if place == number]
        span = {"low": int(edges[number]), "high": int(edges[number + 1]), "responses": len(inside)}
        found.append(span | summarise(inside, bootstrap))
    return found


def measure_at_k(rows: Sequence[ScoredRow], metric: str, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Return avg@k, pass@k, best@k and maj@k of a metric with intervals, for k = 1, 2, 4, … ; nothing without a value.

    Over the n scored samples of a prompt, avg@k is their mean; pass@k the unbiased chance that one of k samples has 1.0
    (arXiv 2107.03374); best@k the expected best of k samples, which is pass@k where values are 0 or 1; maj@k, over the
    first k samples, the value of the answer that most of them give, or for adherence whether more than half comply. A
    tie goes to the answer that came first, and of flags to failure.

    Args:
        rows: several responses to each prompt.
        metric: one of ``METRICS``, or a figure of the suite.
        bootstrap: options of the intervals.
    """
    by_prompt: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        value = metric_value(row, metric)
        if value is not None:
            answer = ""
            if metric in ("accuracy", "joint"):
                answer = canonical(extract_answer(row.generation.text) or "")
            by_prompt.setdefault(row.item.id, []).append((value, answer))
    if not by_prompt:
        return {}
    most = min(len(found) for found in by_prompt.values())
    prompts = list(by_prompt)
    figures: dict[str, dict[str, Any]] = {"avg": {}, "pass": {}, "best": {}, "maj": {}}
    for k in [2**exponent for exponent in range(most.bit_length())]:
        values: dict[str, list[float | None]] = {name: [] for name in figures}
        for found in by_prompt.values():
            scores = sorted(value for value, _ in found)
            n = len(scores)
            values["avg"].append(sum(scores) / n)
            values["pass"].append(pass_at_k(sum(score == 1.0 for score in scores), n, k))
            chances = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]  # of being the best of k, by rank
            values["best"].append(sum(score * chance for score, chance in zip(scores, chances, strict=True)))
            first = found[:k]
            if metric in ("accuracy", "joint"):
                counts = Counter(answer for _, answer in first)
                winner = max(counts, key=lambda answer: counts[answer])  # the first of those that are as frequent
                values["maj"].append(next(value for value, answer in first if answer == winner))
            else:
                values["maj"].append(float(sum(value == 1.0 for value, _ in first) * 2 > k))
        for name, column in values.items():
            figures[name][str(k)] = bootstrap.estimate(column, prompts).to_dict()
    return figures


def measure_pass_at(rows: Sequence[ScoredRow], metric: Metric) -> dict[str, float | None]:
    """Return the mean pass@k over prompts, for k = 1, 2, 4, … up to the fewest scored samples of a prompt."""
    by_prompt: dict[str, list[float]] = {}
    for row in rows:
        value = metric_value(row, metric)
        if value is not None:
            by_prompt.setdefault(row.item.id, []).append(value)
    if not by_prompt:
        return {}
    most = min(len(values) for values in by_prompt.values())
    return {
        str(k): mean_of_scored(
            pass_at_k(sum(value == 1.0 for value in values), len(values), k) for values in by_prompt.values()
        )
        for k in [2**exponent for exponent in range(most.bit_length())]
    }
