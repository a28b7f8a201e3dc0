"""The figures of a GRPO stage's rollouts, read from its parquet files as arrays of groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adhere.records.tables import REQUIREMENT_SCORES, ROLLOUT_FILES, component_column, rollout_files
from adhere.rewards.errors import DataError
from adhere.rewards.verdict import Status

STATUSES = tuple(status.value for status in Status)
UNDECIDED = tuple(STATUSES.index(status) for status in (Status.TIMEOUT, Status.ERROR, Status.UNPARSED))
NOT_APPLICABLE = STATUSES.index(Status.NOT_APPLICABLE)

FIXED = ("step", "group", "item_id", "source", "tokens", "correct", "followed", "advantage")
"""The columns of every rollout file that are read; texts are not."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Rollouts of one stage, G groups of S: an array has shape (G, S), and (G,) where a group has one value.

    ``scores`` and ``statuses`` are by component; a score is NaN where it is missing, a status an index of `STATUSES`.
    ``unasked``, by component, is true where its judge was not asked, because the gate was shut: the value was 0 then.
    ``correct`` and ``followed`` are 1.0, 0.0 or NaN where that does not apply. ``recorded`` are the advantages that
    training used. ``batches`` numbers the generation that a group belongs to, from 0. ``requirements``, where they were
    read, holds one list of ``{score}`` a rollout, in order.
    """

    scores: dict[str, np.ndarray]
    statuses: dict[str, np.ndarray]
    unasked: dict[str, np.ndarray]
    recorded: np.ndarray
    tokens: np.ndarray
    correct: np.ndarray
    followed: np.ndarray
    steps: np.ndarray
    batches: np.ndarray
    numbers: np.ndarray
    items: np.ndarray
    sources: np.ndarray
    files: tuple[Path, ...]
    requirements: pa.ChunkedArray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of groups, and rollouts in each."""
        groups, size = self.recorded.shape
        return groups, size

    def place(self, group: int, member: int) -> str:
        """Return where a rollout stands, for a message: the file and its row."""
        first = int(np.argmax(self.batches == self.batches[group]))
        return f"{self.files[self.batches[group]]}: row {(group - first) * self.shape[1] + member}"


def read_rollouts(folder: Path, components: Sequence[str], group_size: int, *, requirements: bool = False) -> Rollouts:
    """Read every rollout file of ``folder``; texts are not read.

    Args:
        folder: the stage's ``rollouts/``.
        components: names of the stage's components, each with its ``_score``, ``_status`` and ``_value`` column.
        group_size: rollouts of a prompt in one generation.
        requirements: also read the verdicts of each checklist, which take longer than all else.

    Raises:
        DataError: the folder has no rollouts, a file is cut off or lacks a column, or its groups are not whole.
    """
    files = tuple(rollout_files(folder))
    if not files:
        raise DataError(f"{folder}: holds no {ROLLOUT_FILES}; a GRPO stage writes one for every generation")
    wanted = [*FIXED, *(component_column(n, part) for n in components for part in ("score", "status", "value"))]
    leaves = [REQUIREMENT_SCORES] if requirements else []
    size, tables, generations = group_size, [], set[int]()
    for file in files:
        try:
            known = pq.read_schema(file).names
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{file}: is cut off or not a parquet file; move it away, and its step is left out"
            ) from error
        if missing := [name for name in wanted if name not in known]:
            raise DataError(f"{file}: has no column '{missing[0]}'; was it written with another recipe?")
        tables.append(pq.ParquetFile(file).read(columns=[*wanted, *leaves]))
        group: np.ndarray = tables[-1]["group"].to_numpy()
        if len(group) == 0 or len(group) % size or not np.array_equal(group, np.arange(len(group)) // size):
            raise DataError(f"{file}: its rows are not whole groups of {size} (grpo.group_size) in order")
        if "batch" in known:  # stages of earlier versions have one generation a file as well, without its id
            ids = pq.ParquetFile(file).read(columns=["batch"])["batch"].unique().to_pylist()
            if len(ids) != 1 or ids[0] is None or ids[0] in generations:
                raise DataError(
                    f"{file}: its column 'batch' is not one id of its own ({ids[:3]}); a file holds one generation"
                )
            generations.add(ids[0])
    table = pa.concat_tables(tables)
    groups = table.num_rows // size

    def numbers(name: str) -> np.ndarray:
        found: np.ndarray = table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return found.reshape(groups, size)

    def codes(name: str) -> np.ndarray:
        encoded: Any = table[name].combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        places = np.array([STATUSES.index(word) for word in encoded.dictionary.to_pylist()])
        return places[encoded.indices.to_numpy()].reshape(groups, size)

    def firsts(name: str) -> np.ndarray:
        return table[name].take(pa.array(np.arange(0, table.num_rows, size))).to_numpy(zero_copy_only=False)

    counts = [part.num_rows // size for part in tables]
    return Rollouts(
        scores={name: numbers(component_column(name, "score")) for name in components},
        statuses={name: codes(component_column(name, "status")) for name in components},
        unasked={
            name: np.isnan(numbers(component_column(name, "score"))) & (numbers(component_column(name, "value")) == 0.0)
            for name in components
        },
        recorded=numbers("advantage"),
        tokens=numbers("tokens"),
        correct=numbers("correct"),
        followed=numbers("followed"),
        steps=firsts("step"),
        batches=np.repeat(np.arange(len(files)), counts),
        numbers=firsts("group"),
        items=firsts("item_id"),
        sources=firsts("source"),
        files=files,
        requirements=table["requirements"] if requirements else None,
    )
