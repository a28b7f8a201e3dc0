"""The suite ``healthbench``: HealthBench (arXiv 2505.08775), conversations with rubrics that a judge decides.

A response's score is the sum of the points of the criteria that it meets, over the sum of the positive ones; criteria
with negative points say what it should not do. The suite's ``score`` is the mean over conversations, clipped to [0,
1], and so is the score of each axis, over the criteria of that axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites.base import SuiteSource, suite
from adhere.evaluation.suites.following import NO_GOLD
from adhere.evaluation.suites.judged import is_met, judged_verdicts
from adhere.evaluation.suites.rows import FileSuite, file_of
from adhere.prompts.item import Message, PromptItem, Row, read_rows
from adhere.rewards.checklist import Decider, JudgeCheck, Requirement
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError
from adhere.rewards.verdict import Status, unscored

FORM = "a row of HealthBench is {prompt_id, prompt: [{role, content}], rubrics: [{criterion, points, tags}]}"
AXIS = "axis:"


@suite("healthbench")
class HealthBench(FileSuite):
    """One of HealthBench's files: all conversations, its hard ones, or its consensus criteria."""

    twins = False
    modes = ("compat",)
    headline = "score"

    def problems(self, source: SuiteSource) -> list[str]:
        return [] if source.path else ["evaluation.path: name a JSONL file of HealthBench (openai/simple-evals)"]

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        for row in read_rows(file_of(source.path or Path())):
            yield _item(row)

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = []
        for (item, _), verdicts in zip(pairs, judged_verdicts(pairs, mode, engine, judge), strict=True):
            met = [is_met(verdict) for verdict in verdicts]
            points = rubric_score(met, item.meta["points"])
            good = [
                m if p > 0 else None if m is None else 1.0 - m for m, p in zip(met, item.meta["points"], strict=True)
            ]
            whole = None not in good
            scores.append(
                Score(
                    unscored(Status.NOT_APPLICABLE, NO_GOLD),
                    verdicts,
                    float(all(good)) if whole else None,
                    sum(value or 0.0 for value in good) / len(good) if whole else None,
                    None,
                    measures={"score_of_response": (None if points is None else min(1.0, max(0.0, points)),)},
                )
            )
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        values: dict[str, tuple[list[float | None], list[str]]] = {}
        for row in rows:
            met = [is_met(v) for v in row.score.verdicts]
            for axis in ("", *sorted({axis for axis in row.item.meta["axes"] if axis})):
                chosen = [i for i, of in enumerate(row.item.meta["axes"]) if axis in ("", of)]
                points = [row.item.meta["points"][i] for i in chosen]
                if not any(point > 0 for point in points):
                    continue  # such an axis of a conversation has no score
                scores, owners = values.setdefault(f"score_{axis}" if axis else "score", ([], []))
                scores.append(rubric_score([met[i] for i in chosen], points))
                owners.append(row.item.id)
        figures: dict[str, Any] = {}
        for name, (scores, owners) in values.items():
            found = bootstrap.estimate(scores, owners, [score is None for score in scores]).to_dict()
            ends = ("mean", "low", "high", "least", "most")
            figures[name] = {k: min(1.0, max(0.0, v)) if k in ends and v is not None else v for k, v in found.items()}
        return figures


def rubric_score(met: Sequence[float | None], points: Sequence[float]) -> float | None:
    """Return Σ points of what is met / Σ positive points, at most 1; ``None`` where a verdict is missing.

    Args:
        met: (R,) whether each criterion is met, 0 or 1.
        points: (R,) of each criterion; one at least is positive.
    """
    if None in met:
        return None
    return sum(p for m, p in zip(met, points, strict=True) if m == 1.0) / sum(p for p in points if p > 0)


def _item(row: Row) -> PromptItem:
    wanted = ("prompt_id", "prompt", "rubrics")
    if missing := [name for name in wanted if name not in row.values]:
        raise DataError(f"{row.where}: lacks {', '.join(missing)}; {FORM}; is it a file of another benchmark?")
    key, turns, rubrics = (row.values[name] for name in wanted)
    if not isinstance(turns, list) or not turns or not all(_is_turn(turn) for turn in turns):
        raise DataError(f"{row.where}: prompt is not a list of turns with role and content; {FORM}")
    if turns[-1]["role"] != "user":
        raise DataError(f"{row.where}: the last turn of prompt is of '{turns[-1]['role']}', not of the user")
    if not isinstance(rubrics, list) or not rubrics:
        raise DataError(f"{row.where}: rubrics is not a list of one or more criteria; {FORM}")
    points, axes, checklist = [], [], []
    for i, rubric in enumerate(rubrics):
        given = rubric if isinstance(rubric, Mapping) else {}
        text, value = given.get("criterion"), given.get("points")
        worth = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
        if not isinstance(text, str) or not text.strip() or not math.isfinite(worth) or worth == 0.0:
            raise DataError(f"{row.where}: rubrics[{i}] has no criterion, or its points are not a number other than 0")
        points.append(worth)
        tags = given.get("tags") or []
        axes.append(next((str(tag).removeprefix(AXIS) for tag in tags if str(tag).startswith(AXIS)), ""))
        weight = min(100.0, 10.0 * abs(worth))
        checklist.append(Requirement(str(i), text, JudgeCheck(), weight))
    if max(points) < 0:
        raise DataError(f"{row.where}: no criterion has positive points, so no response can score")
    return PromptItem(
        id=f"healthbench/{key}",
        messages=tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns),
        answer=None,
        checklist=tuple(checklist),
        source="healthbench",
        question=str(turns[-1]["content"]),
        meta={"points": points, "axes": axes},
    )


def _is_turn(turn: Any) -> bool:
    return (
        isinstance(turn, Mapping)
        and turn.get("role") in ("system", "user", "assistant")
        and isinstance(turn.get("content"), str)
        and bool(turn["content"].strip())
    )
