"""The prompt item: one training or evaluation prompt, its file form, and the rows that data files are read as."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from adhere.rewards.checklist import Requirement, parse_checklist
from adhere.rewards.errors import DataError
from adhere.rewards.files import LONE_SURROGATE, atomic_file

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


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class PromptItem:
    """What the model is asked, what the right answer is, and what the response has to look like.

    ``answer`` is the gold answer, or ``None`` where there is none to verify. ``question`` is the problem
    without its constraints. ``solution`` is a worked solution where the source has one (SFT targets are made
    from it). ``target`` is the response that SFT learns, where one was built. ``bare`` is the conversation without
    its constraints, where they do not simply stand at its end. ``meta`` is carried along.
    """

    id: str
    messages: tuple[Message, ...]
    answer: str | None
    checklist: tuple[Requirement, ...] = ()
    source: str = "unknown"
    question: str = ""
    solution: str | None = None
    target: str | None = None
    bare: tuple[Message, ...] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def asking(
        cls, question: str, *, item_id: str, source: str, checklist: Iterable[Requirement], meta: Mapping[str, Any]
    ) -> PromptItem:
        """Return an item that asks ``question`` in one turn of the user, as it is, and has no gold answer.

        Args:
            question: with its instructions.
            item_id: id of the item.
            source: where it comes from.
            checklist: what its instructions demand.
            meta: is carried along.
        """
        messages = (Message(role="user", content=question),)
        return cls(item_id, messages, None, tuple(checklist), source, question, meta=meta)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; absent optional parts are left out."""
        row: dict[str, Any] = {
            "id": self.id,
            "messages": list(self.messages),
            "answer": self.answer,
            "checklist": [requirement.to_dict() for requirement in self.checklist],
            "source": self.source,
            "question": self.question,
        }
        bare = None if self.bare is None else list(self.bare)
        optional = {
            "solution": self.solution,
            "target": self.target,
            "bare": bare,
            "meta": dict(self.meta) or None,
        }
        return row | {key: value for key, value in optional.items() if value is not None}


def parse_item(row: Mapping[str, Any], where: str) -> PromptItem:
    """Build an item from its JSON form; ``where`` (file and line) opens the message of every error.

    Raises:
        DataError: the row lacks ``messages``, or one of them has no role and content, or a field holds another type.
        ConstraintError: its checklist names an unknown constraint, or arguments that it does not take.
    """
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: lacks messages; a prompt item is {{id, messages, answer, checklist, source}}")
    bare = row.get("bare")
    if bare is not None and (not isinstance(bare, list) or not bare):
        raise DataError(f"{where}: bare is not a list of messages; it is the conversation without its constraints")
    for key, turns in (("messages", messages), ("bare", bare or ())):
        for i, message in enumerate(turns):
            texts = isinstance(message, Mapping) and all(isinstance(message.get(k), str) for k in ("role", "content"))
            if not texts:
                raise DataError(f"{where}: {key}[{i}] needs role and content, both text")
    for key in ("question", "solution", "target"):
        if not isinstance(row.get(key), str | None):
            raise DataError(f"{where}: {key} is {type(row[key]).__name__}, not text")
    if not isinstance(row.get("meta"), Mapping | None):
        raise DataError(f"{where}: meta is {type(row['meta']).__name__}, not an object; write {{key: value}}")
    answer = row.get("answer")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise DataError(f"{where}: answer is {type(answer).__name__}; write the gold answer as text, or leave it out")
    return PromptItem(
        id=str(row.get("id", where)),
        messages=_turns(messages),
        answer=None if answer is None else str(answer),
        checklist=parse_checklist(row.get("checklist") or (), where),
        source=str(row.get("source", "unknown")),
        question=str(row.get("question") or messages[-1]["content"]),
        solution=row.get("solution"),
        target=row.get("target"),
        bare=None if bare is None else _turns(bare),
        meta=row.get("meta") or {},
    )


def check_characters(item: PromptItem, where: str, first: str = "messages") -> None:
    """Check that no text of ``item`` holds half of a character, which no tokenizer reads; ``where`` opens the message.

    ``first`` is the field that the others may be made from: it is named before them.

    Raises:
        DataError: a text holds a lone surrogate, such as JSON's ``\\ud83d`` by itself.
    """
    turns = (("messages", item.messages), ("bare", item.bare or ()))
    texts = [(name, text) for name, found in turns for turn in found for text in (turn["role"], turn["content"])]
    texts += [(name, getattr(item, name)) for name in ("id", "question", "answer", "solution", "target")]
    texts += [("checklist", requirement.text) for requirement in item.checklist]
    for name, text in sorted(texts, key=lambda named: named[0] != first):
        if text and not text.isascii() and (found := LONE_SURROGATE.search(text)):
            raise DataError(f"{where}: {name} holds {found[0]!r}, half of a character; repair the text")


def _turns(messages: Iterable[Mapping[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(role=message["role"], content=message["content"]) for message in messages)


def read_items(path: Path) -> list[PromptItem]:
    """Read a file of prompt items (``.jsonl``, ``.jsonl.gz``, ``.json`` or ``.parquet``).

    Raises:
        DataError: a row is not an item (the message names file and line), or the file has none.
    """
    rows = read_rows(path)
    stem = path.name.split(".")[0]
    items = [parse_item({"id": f"{stem}/{row.key}"} | dict(row.values), row.where) for row in rows]
    if not items:
        raise DataError(f"{path}: holds no prompt item")
    return items


def write_items(path: Path, items: Iterable[PromptItem]) -> None:
    """Write items as JSONL, one a line, atomically; a name that ends in ``.gz`` is compressed."""
    with atomic_file(path) as out:
        for item in items:
            out.write(json.dumps(item.to_dict(), ensure_ascii=False) + "\n")
