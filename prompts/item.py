"""The prompt item: one training or evaluation prompt, and its file form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from adhere.prompts.files import read_rows
from adhere.rewards.checklist import Requirement, parse_checklist
from adhere.rewards.errors import DataError
from adhere.rewards.files import atomic_file


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
