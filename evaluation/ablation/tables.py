"""What the arms of an ablation scored: every arm's responses, lined up by seed and prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adhere.evaluation.metrics import METRICS, Metric
from adhere.rewards.errors import DataError

COLUMNS = (
    "id", "source", "twin_of", "tokens", "correct.score", "hacc", "sacc", "joint",
    "verdicts.list.element.id", "verdicts.list.element.score",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: its name, and for each seed the ``responses.parquet`` of its evaluation.

    The seed ``None`` stands for all of them: a model that was trained once, such as the base model or a shared SFT.
    """

    name: str
    responses: Mapping[int | None, Path]


@dataclass(frozen=True, slots=True)
class Responses:
    """A arms × R seeds × P prompts; what an arm has no response for, or what has no score, is NaN.

    Each entry is the mean over the samples of a prompt. ``values`` are by metric, ``constraints`` by constraint, and
    ``tokens`` are lengths; ``sources`` (P,) is where each prompt comes from. ``runs`` (A, R) numbers the evaluations,
    −1 where an arm has none for a seed; seeds that share one have one number.
    """

    arms: tuple[str, ...]
    seeds: tuple[int | None, ...]
    prompts: tuple[str, ...]
    sources: np.ndarray
    values: Mapping[Metric, np.ndarray]
    constraints: Mapping[str, np.ndarray]
    tokens: np.ndarray
    runs: np.ndarray

    def place(self, arm: str) -> int:
        """Return the index of ``arm``.

        Raises:
            DataError: no arm has this name.
        """
        if arm not in self.arms:
            raise DataError(f"no arm is named '{arm}'; the arms are {', '.join(self.arms)}")
        return self.arms.index(arm)

    def seeds_of(self, place: int) -> int:
        """Return how many runs stand behind an arm: 1 for one that all seeds share."""
        return len({number for number in self.runs[place].tolist() if number >= 0})


def read_scores(arms: Sequence[Arm]) -> Responses:
    """Read the scores of all arms; texts are not read.

    Raises:
        DataError: ``arms`` is empty, an arm has no responses, two have one name, or no prompt is in all of them.
    """
    if not arms:
        raise DataError("ablation: no arm is left to compare")
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise DataError(f"ablation: two arms are named '{max(names, key=names.count)}'")
    if empty := [arm.name for arm in arms if not arm.responses]:
        raise DataError(f"ablation: arm '{empty[0]}' has no evaluation; leave it out, or finish it")
    tables: dict[Path, pa.Table] = {}
    for path in dict.fromkeys(path for arm in arms for path in arm.responses.values()):
        if not path.is_file():
            raise DataError(f"{path}: no such file; an evaluation writes it when it has finished")
        table = pq.ParquetFile(path).read(columns=list(COLUMNS))
        tables[path] = table.filter(table["twin_of"].is_null())

    # The prompts that any arm has, in order; at least one has to be in all of them.
    by_prompt: dict[str, str] = {}
    for table in tables.values():
        by_prompt |= dict(zip(table["id"].to_pylist(), table["source"].to_pylist(), strict=True))
    if not set.intersection(*(set(table["id"].to_pylist()) for table in tables.values())):
        raise DataError("ablation: no prompt is in the evaluations of all arms; compare arms on one suite")
    prompts = list(by_prompt)

    seeds: list[int | None] = [*sorted({s for arm in arms for s in arm.responses if s is not None})] or [None]
    order = {prompt: i for i, prompt in enumerate(prompts)}
    columns = {path: prompt_columns(table, order) for path, table in tables.items()}
    labels = sorted({label for found in columns.values() for label in found if label.startswith(CONSTRAINT)})

    chosen = [[arm.responses.get(seed, arm.responses.get(None)) for seed in seeds] for arm in arms]
    numbers = {path: number for number, path in enumerate(dict.fromkeys(path.resolve() for path in tables))}

    def stacked(name: str) -> np.ndarray:
        missing = np.full(len(prompts), np.nan)
        return np.array([[missing if p is None else columns[p].get(name, missing) for p in row] for row in chosen])

    return Responses(
        arms=tuple(names),
        seeds=tuple(seeds),
        prompts=tuple(prompts),
        sources=np.array(list(by_prompt.values())),
        values={metric: stacked(metric) for metric in METRICS},
        constraints={label.removeprefix(CONSTRAINT): stacked(label) for label in labels},
        tokens=stacked("tokens"),
        runs=np.array([[-1 if path is None else numbers[path.resolve()] for path in row] for row in chosen]),
    )


CONSTRAINT = "constraint "
"""What stands before a constraint's name in the columns of one evaluation, where metrics have names too."""


def prompt_columns(table: pa.Table, order: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the mean of every figure by prompt, (P,), NaN where it has none."""
    rows = np.array([order[prompt] for prompt in table["id"].to_pylist()])
    figures = {
        "accuracy": _floats(table["correct"].combine_chunks().field("score")),
        **{name: _floats(table[name]) for name in ("hacc", "sacc", "joint", "tokens")},
    }
    found = {name: _means(rows, values, len(order)) for name, values in figures.items()}
    verdicts = table["verdicts"].combine_chunks()
    owners = np.repeat(rows, verdicts.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    parts = verdicts.flatten()
    labels, scores = np.array(parts.field("id").to_pylist(), dtype=object), _floats(parts.field("score"))
    for label in dict.fromkeys(labels):
        here = labels == label
        found[CONSTRAINT + label] = _means(owners[here], scores[here], len(order))
    return found


def _floats(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    found: np.ndarray = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _means(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    known = ~np.isnan(values)
    counts = np.bincount(places[known], minlength=size)
    sums = np.bincount(places[known], weights=values[known], minlength=size)
    return np.where(counts > 0, sums / np.maximum(1, counts), np.nan)
