"""Rollout files as a GRPO stage writes them, from verdicts alone: the advantages are those of `rewards.arithmetic`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from reward_rows import advantages

from adhere.rewards.config import RewardConfig
from adhere.rewards.verdict import Status

Scored = tuple[float | None, str]
"""A score, and the status that goes with it; ``UNASKED`` stands for a judge that a shut gate left unasked."""

UNASKED: Scored = (None, "unasked")

UNDECIDED = (Status.TIMEOUT, Status.ERROR, Status.UNPARSED)


def random_verdicts(rng: random.Random, broken: float = 0.0) -> Scored:
    if rng.random() < broken:
        return None, rng.choice(["timeout", "error", "unparsed", "not_applicable"])
    return rng.choice([0.0, 0.5, 1.0, 1.0]), "ok"


def values_of(config: RewardConfig, row: Mapping[str, Scored], weights: Mapping[str, float]) -> dict[str, float | None]:
    """Gate one rollout's scores by the rules of `rewards.composite`, written down once more."""
    needed = {n for name, w in weights.items() if w > 0.0 for n in (name, config.gate_of(name)) if n is not None}
    if any(row[name][1] in UNDECIDED for name in needed):
        return dict.fromkeys(config.components)
    found: dict[str, float | None] = {}
    for name in config.components:
        score, gate = row[name][0], config.gate_of(name)
        if (
            (score is not None or row[name] == UNASKED)
            and gate is not None
            and row[gate][1] != "not_applicable"
            and row[gate][0] != 1.0
        ):
            score = None if row[gate][0] is None else 0.0
        found[name] = score
    return found


def write_stage(
    folder: Path, config: RewardConfig, steps: Sequence[Sequence[Mapping[str, Scored]]], size: int, **columns: Any
) -> list[float]:
    """Write one file a step, its rollouts in groups of ``size``; return all advantages in order."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = []
    for step, rows in enumerate(steps):
        weights = config.weights(step, len(steps))
        values = [values_of(config, row, weights) for row in rows]
        groups = [values[i : i + size] for i in range(0, len(values), size)]
        found = advantages(config, groups, weights)
        everything += found
        table = {
            "step": [step] * len(rows),
            "batch": [step] * len(rows),
            "group": [i // size for i in range(len(rows))],
            "item_id": [f"item{i // size}" for i in range(len(rows))],
            "source": ["sums" if i // size % 2 else "words" for i in range(len(rows))],
            "tokens": [10 * (i % size) for i in range(len(rows))],
            "correct": [None if row["math"][0] is None else row["math"][0] == 1.0 for row in rows],
            "followed": [None if row["rules"][0] is None else row["rules"][0] == 1.0 for row in rows],
            "requirements": [[{"score": row["rules"][0]}, {"score": 1.0}] for row in rows],
            **{f"{n}_score": [row[n][0] for row in rows] for n in config.components},
            **{f"{n}_status": ["not_applicable" if row[n] == UNASKED else row[n][1] for row in rows]
               for n in config.components},
            **{f"{n}_value": [row[n] for row in values] for n in config.components},
            "advantage": found,
            **columns,
        }  # fmt: skip
        fields = {n: pa.float64() for n in table if n.endswith(("_score", "_value")) or n == "advantage"}
        fields |= {"correct": pa.bool_(), "followed": pa.bool_()}
        arrays = {n: pa.array(column, type=fields.get(n)) for n, column in table.items()}
        pq.write_table(pa.table(arrays), folder / f"step_{step:06d}.parquet")
    return everything


def write_spec(folder: Path, recipe: Mapping[str, Any], label: str = "grpo") -> None:
    """Write the ``stage.yaml`` that stands beside ``rollouts/``."""
    spec = {"kind": "grpo", "label": label, "key": "0", "artifact": str(folder), "inputs": {}, "recipe": dict(recipe)}
    (folder / "stage.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
