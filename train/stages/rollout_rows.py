"""Scored rollouts as rows: what training gathers from its ranks, and what it writes to parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adhere.records.tables import COMPONENT_COLUMNS, component_column
from adhere.rewards.adherence import adherence
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.rollout import Rollout

Row = dict[str, Any]


def rollout_rows(composite: Composite, rollouts: Sequence[Rollout], scores: BatchScores) -> list[Row]:
    """Return one row per rollout, of plain values that can be gathered."""
    components = composite.config.components
    answers, requirements = (
        next((name for name, component in components.items() if component.decides == what), None)
        for what in ("correctness", "requirements")
    )
    rows = []
    for i, rollout in enumerate(rollouts):
        verdicts = {name: column[i] for name, column in scores.verdicts.items()}
        figures = adherence(verdicts.get(answers or ""), verdicts.get(requirements or ""))
        parts = verdicts[requirements].parts if requirements else ()
        rows.append(
            {
                "item_id": rollout.id,
                "source": rollout.source,
                "prompt": rollout.prompt,
                "response": rollout.response,
                "answer": rollout.answer,
                "tokens": rollout.tokens,
                "finished": rollout.finished,
                "values": {name: column[i] for name, column in scores.values.items()},
                "verdicts": {name: verdict.to_dict() for name, verdict in verdicts.items()},
                "requirements": [
                    {"id": requirement.id, "text": requirement.text, **part.to_dict()}
                    for requirement, part in zip(rollout.checklist, parts, strict=False)
                ],
                "correct": figures.correct,
                "followed": figures.followed,
                "joint": figures.joint,
                "decided": scores.decided[i],
                "seconds": {name: s / len(rollouts) for name, s in scores.seconds.items()},
            }
        )
    return rows


def rollout_columns(
    rows: Sequence[Row], advantages: Sequence[float], *, step: int, generation: int, group_size: int
) -> list[Row]:
    """Return the rows of one generation as a rollout file has them.

    Args:
        rows: in the order of their groups, over all ranks.
        advantages: one for each row.
        step: the optimizer step that they feed first.
        generation: number of their generation within the stage, also after a resumption.
        group_size: rollouts of a prompt.
    """
    return [
        {
            "step": step,
            "batch": generation,
            "group": i // group_size,
            **{k: row[k] for k in ("item_id", "source", "prompt", "response", "answer", "tokens", "finished")},
            **{k: row[k] for k in ("correct", "followed", "requirements")},
            **{component_column(n, k): v[k] for n, v in row["verdicts"].items() for k in COMPONENT_COLUMNS},
            **{component_column(name, "value"): value for name, value in row["values"].items()},
            "advantage": advantage,
        }
        for i, (row, advantage) in enumerate(zip(rows, advantages, strict=True))
    ]
