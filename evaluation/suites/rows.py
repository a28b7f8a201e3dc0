"""Rows of a benchmark: from the file that ``evaluation.path`` names, or from its data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.suites.base import SuiteKind, SuiteSource
from adhere.prompts.config import SourceConfig
from adhere.prompts.hub import read_dataset
from adhere.prompts.item import Row, read_rows
from adhere.rewards.errors import DataError


def source_rows(source: SuiteSource, hub: str, *, split: str = "test", name: str | None = None) -> Iterator[Row]:
    """Yield the rows of the file ``source.path``, or of the data set ``hub`` where no path is given.

    Args:
        source: what the recipe says.
        hub: id of the data set, ``owner/name``, with ``@REVISION`` where one is pinned.
        split: of the data set.
        name: of its configuration.

    Raises:
        DataError: the file or the data set cannot be read.
    """
    if source.path is not None:
        yield from read_rows(file_of(source.path))
        return
    dataset, _, revision = hub.partition("@")
    revision = source.revision or revision
    given = {"dataset": dataset, "split": split, "name": name, "revision": revision or None}
    yield from read_dataset(SourceConfig.model_validate({k: v for k, v in given.items() if v is not None}))


def file_of(path: Path) -> Path:
    """Return the only data file of a folder, or the file itself.

    Raises:
        DataError: the folder holds none, or several.
    """
    if not path.is_dir():
        return path
    files = sorted(file for file in path.iterdir() if file.name.endswith((".jsonl", ".jsonl.gz", ".json", ".parquet")))
    if len(files) != 1:
        raise DataError(f"{path}: holds {len(files)} data files; suite.path names one of them")
    return files[0]


class FileSuite(SuiteKind):
    """A suite of one data file, which ``path`` names, or a folder that holds it alone."""

    def files(self, source: SuiteSource) -> list[Path]:
        return [] if source.path is None else [file_of(source.path)]


def instructions_of(row: Row, benchmark: str) -> tuple[list[str], list[Mapping[str, Any] | None]]:
    """Return the ids and the arguments of a row in the form of IFEval.

    Raises:
        DataError: a column is missing or of another type, or the two lists differ in length.
    """
    form = f"a row of {benchmark} is {{key, prompt, instruction_id_list, kwargs}}"
    if missing := [name for name in ("key", "prompt", "instruction_id_list", "kwargs") if name not in row.values]:
        raise DataError(f"{row.where}: lacks {', '.join(missing)}; {form}; is it a file of another benchmark?")
    names, kwargs, prompt = (row.values[name] for name in ("instruction_id_list", "kwargs", "prompt"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"{row.where}: prompt is not a text; {form}")
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{row.where}: instruction_id_list is not a list of one or more ids; {form}")
    if not isinstance(kwargs, Sequence) or len(kwargs) != len(names):
        count = len(kwargs) if isinstance(kwargs, Sequence) else type(kwargs).__name__
        raise DataError(f"{row.where}: has {len(names)} instruction ids and {count} kwargs; they belong one to one")
    if wrong := [entry for entry in kwargs if not isinstance(entry, Mapping | None)]:
        raise DataError(f"{row.where}: kwargs holds {wrong[0]!r}; write an object for each instruction")
    return list(names), list(kwargs)
