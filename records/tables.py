"""The tables of a run: columns and types of rollouts (parquet), of scored responses (parquet) and of their log (JSONL).

pyarrow is imported where a table is read or written, and not before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adhere.rewards.errors import DataError
from adhere.rewards.files import atomic_file, whole_characters

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
"""A row of a table: plain values by column."""

ROLLOUT_FILES = "step_*.parquet"
ROLLOUT_COLUMNS = {
    "step": "int", "batch": "int", "group": "int", "item_id": "text", "source": "text", "prompt": "text",
    "response": "text", "answer": "text", "tokens": "int", "finished": "flag", "correct": "flag", "followed": "flag",
    "requirements": "requirements", "advantage": "number",
}  # fmt: skip
"""Columns of every rollout file: N rows in the order of their groups, ``step`` the optimizer step that they feed first,
``batch`` the id of their generation batch over all ranks: one a file, another in each file of a stage.

Beside them stand, for each component, ``NAME_score``, ``NAME_status`` and ``NAME_detail``, and ``NAME_value`` for what
it added to the reward."""

COMPONENT_COLUMNS = {"score": "number", "status": "text", "detail": "text"}
VALUE = "value"
REQUIREMENT_COLUMNS = {"id": "text", "text": "text", "score": "number", "status": "text", "detail": "text"}
REQUIREMENT_SCORES = "requirements.list.element.score"
"""Parquet's path of only the scores of a checklist: the texts beside them are most of a file."""

RESPONSE_COLUMNS = {
    "id": "text", "source": "text", "twin_of": "text", "messages": "json", "question": "text", "answer": "text",
    "constraints": "json", "mathif": "json", "response": "text", "error": "text", "sample": "short", "tokens": "int",
    "finished": "flag", "prefilled": "flag", "verdicts": "verdicts", "correct": "verdict", "hacc": "number",
    "sacc": "number", "joint": "number", "measures": "json",
}  # fmt: skip
"""Columns of ``responses.parquet``, one row a response; ``json`` columns hold JSON text, decoded when they are read."""

LATER_COLUMNS = ("measures",)
"""Columns that came later: a table without them is read as if they were empty."""

LOG_HEADER, LOG_COLUMNS = ("model", "sampling"), ("id", "prompt", "generations")
"""Keys of the first line of ``responses.jsonl``, and of the others: one a prompt, with all its generations."""


def component_column(name: str, part: str) -> str:
    """Return the column of a component's ``part``: ``score``, ``status``, ``detail`` or ``value``."""
    return f"{name}_{part}"


def components_of(columns: Sequence[str]) -> list[str]:
    """Return the components whose columns a rollout table has, in order."""
    return [name.removesuffix("_status") for name in columns if name.endswith("_status")]


def rollout_files(folder: Path) -> list[Path]:
    """Return the rollout files of ``folder``, a stage's ``rollouts/``, in the order of their generations."""
    return sorted(folder.glob(ROLLOUT_FILES))


def rollout_step(path: Path) -> int:
    """Return the optimizer step that the rollouts of a file feed first, which its name says."""
    return int(path.stem.split("_")[1])


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


def write_rollouts(folder: Path, step: int, rows: Sequence[Mapping[str, Any]], *, nth: int = 0) -> Path:
    """Write the rollouts of one generation, and return their file.

    Args:
        folder: the stage's ``rollouts/``.
        step: optimizer step that they feed first; it names the file.
        rows: the columns of each rollout, in the order of their groups; all rows have the same.
        nth: generations before this one that feed the same step first.
    """
    types = {component_column("", part): kind for part, kind in (COMPONENT_COLUMNS | {VALUE: "number"}).items()}
    kinds = {name: ROLLOUT_COLUMNS.get(name) or types["_" + name.rpartition("_")[2]] for name in rows[0]}
    path = folder / (f"step_{step:06d}_{nth:04d}.parquet" if nth else f"step_{step:06d}.parquet")
    _write(path, rows, kinds)
    return path


def read_rollout_files(files: Sequence[Path]) -> pa.Table:
    """Read whole rollout files as one table.

    Raises:
        DataError: a file is cut off or cannot be read.
    """
    import pyarrow
    import pyarrow.dataset

    try:
        return pyarrow.dataset.dataset([str(file) for file in files]).to_table()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"{files[0].parent}: a rollout file cannot be read ({error})") from error


def write_responses(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write scored responses as parquet, one row a response; ``json`` columns are encoded.

    Half of a surrogate pair, which parquet cannot hold, is written as U+FFFD; rollouts likewise.
    """
    encoded = [
        {
            name: json.dumps(value, ensure_ascii=False)
            if RESPONSE_COLUMNS.get(name) == "json" and value is not None
            else value
            for name, value in row.items()
        }
        for row in rows
    ]
    _write(path, encoded, RESPONSE_COLUMNS)


def read_responses(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``responses.parquet``, with its ``json`` columns decoded.

    Raises:
        DataError: the file is missing, cut off, or has another version's columns.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise DataError(f"{path}: no such file; an evaluation writes it when it has finished")
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({error}); run the evaluation again") from error
    there = {*table.column_names, *LATER_COLUMNS}
    if missing := [name for name in RESPONSE_COLUMNS if name not in there]:
        raise DataError(f"{path}: has no column '{missing[0]}': another version wrote it; run the evaluation again")
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        for name, kind in RESPONSE_COLUMNS.items():
            if kind == "json" and row.setdefault(name, None) is not None:
                row[name] = json.loads(row[name])
    return rows


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as parquet, atomically."""
    import pyarrow.parquet

    with atomic_file(path, "wb") as out:
        pyarrow.parquet.write_table(table, out)


def _write(path: Path, rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> None:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    requirement = [(name, number if kind == "number" else text) for name, kind in REQUIREMENT_COLUMNS.items()]
    verdict = [("score", number), ("status", text), ("detail", text)]
    types: dict[str, pa.DataType] = {
        "text": text, "json": text, "number": number, "flag": pa.bool_(), "int": pa.int64(), "short": pa.int32(),
        "verdict": pa.struct(verdict),
        "verdicts": pa.list_(pa.struct([("id", text), *verdict])),
        "requirements": pa.list_(pa.struct(requirement)),
    }  # fmt: skip
    schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
    values: list[Any] = [dict(row) for row in rows]
    try:
        table = pa.Table.from_pylist(values, schema=schema)
    except UnicodeEncodeError:  # an endpoint's reply may hold half of a surrogate pair, which parquet cannot
        table = pa.Table.from_pylist(_whole(values), schema=schema)
    write_table(path, table)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, Mapping):
        return {key: _whole(part) for key, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list | tuple) else value
