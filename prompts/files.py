"""Rows of JSONL, JSON and parquet files, each with the place it stands at."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    if not path.name.endswith(SUFFIXES):
        raise DataError(f"{path}: not a kind of file that can be read (known: {', '.join(SUFFIXES)})")
    return _rows(path)


def _rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            try:
                file = pyarrow.parquet.ParquetFile(path)
            except pyarrow.ArrowInvalid as error:
                raise DataError(f"{path}: not a parquet file ({error})") from error
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield _row(row, path, number)
        elif path.suffix == ".json":
            # utf-8-sig also reads a file that begins with a byte order mark, as programs on Windows write it
            rows = _decode(path.read_text(encoding="utf-8-sig"), str(path))
            if not isinstance(rows, list):
                raise DataError(f"{path}: holds one {type(rows).__name__}; a .json file of data is a list of objects")
            for number, row in enumerate(rows, start=1):
                yield _row(row, path, number)
        else:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt", encoding="utf-8-sig") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _row(_decode(line, f"{path}:{number}"), path, number)
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: damaged gzip file after line {number} ({error})") from error
    except UnicodeDecodeError as error:
        where = str(path) if path.suffix == ".json" else f"{path}:{number + 1}"
        raise DataError(f"{where}: not UTF-8 ({error.reason}); convert the file") from error


def _decode(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg} at line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise DataError(f"{where}: nested too deep to be read; flatten or remove the value") from error
    except ValueError as error:  # a whole number of more digits than Python converts
        raise DataError(f"{where}: cannot be read ({error}); write the number as text") from error


def _row(row: Any, path: Path, number: int) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: a {type(row).__name__}, not an object with named columns")
    return Row(row, str(number), f"{path}:{number}")
