"""Rows of JSONL, JSON and parquet files, each with the place it stands at."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from adhere.rewards.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values, ``key`` (its number, stable when the file moves) and ``where`` for error messages."""

    values: Mapping[str, Any]
    key: str
    where: str


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, the first as number 1 (for JSONL: the line number); blank lines are skipped.

    Raises:
        DataError: the file is missing, of another kind, damaged, or has a row that is not an object.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file, or give the folder as `dataset`")
    if not path.is_file():
        raise DataError(f"{path}: no such file (looked from {Path.cwd()})")
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _jsonl_rows(path)
    if path.suffix == ".json":
        return _json_rows(path)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    raise DataError(f"{path}: not a kind of file that can be read (known: {', '.join(SUFFIXES)})")


def _open(path: Path) -> IO[str]:
    # utf-8-sig also reads files that a Windows program opened with a byte order mark
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _jsonl_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _checked(_decode(line, f"{path}:{number}"), path, number)
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: damaged gzip file after line {number} ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number + 1}: not UTF-8 ({error.reason}); convert the file") from error


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise DataError(f"{where}: nested too deep to be read; flatten or remove the value") from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise DataError(f"{where}: cannot be read ({error}); write the number as text") from error


def _json_rows(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason}); convert the file") from error
    rows = _decode(text, str(path))
    if not isinstance(rows, list):
        raise DataError(f"{path}: holds one {type(rows).__name__}; a .json file of data is a list of objects")
    for number, row in enumerate(rows, start=1):
        yield _checked(row, path, number)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path}: not a parquet file ({error})") from error
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield _checked(row, path, number)


def _checked(row: Any, path: Path, number: int) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: a {type(row).__name__}, not an object with named columns")
    return Row(row, str(number), f"{path}:{number}")
