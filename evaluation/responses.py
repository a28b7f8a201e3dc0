"""Responses on disk: the log that generation resumes from, and the scored table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation, Generator, Sampling
from adhere.evaluation.jsonl import PARTIAL, dump
from adhere.evaluation.scoring import ScoredRow
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.errors import DataError

Progress = Callable[[int, int], None]
"""Called with the number of prompts that have their responses, and the number of all."""


class ResponseLog:
    """``responses.jsonl``: one line a prompt with all its generations, appended while a model generates.

    The first line holds what the responses depend on (model and sampling). A log of another model or sampling
    is refused; a prompt whose generation failed is not counted as done, so that a restart tries it again; and
    a line that a killed process left unfinished is dropped.
    """

    def __init__(self, path: Path, model: str, sampling: Sampling) -> None:
        self.path = path
        self._header = {"model": model, "sampling": sampling.to_dict()}
        self._done: dict[str, list[Generation]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._load()
        else:
            path.write_text(dump(self._header), encoding="utf-8")

    def known(self, item: PromptItem) -> list[Generation] | None:
        """Return the item's generations where the log has them for the same prompt."""
        return self._done.get(_fingerprint(item))

    def append(self, items: Sequence[PromptItem], generations: Sequence[list[Generation]]) -> None:
        """Write the generations of some items and flush them to disk."""
        with self.path.open("a", encoding="utf-8") as out:
            for item, drawn in zip(items, generations, strict=True):
                self._remember(_fingerprint(item), drawn)
                row = {
                    "id": item.id,
                    "prompt": _fingerprint(item),
                    "generations": [g.to_dict() for g in drawn],
                }
                out.write(dump(row))
            out.flush()
            os.fsync(out.fileno())

    def _remember(self, prompt: str, drawn: list[Generation]) -> None:
        if all(generation.error is None for generation in drawn):
            self._done[prompt] = drawn

    def _load(self) -> None:
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        lines = whole.decode("utf-8").split("\n")[:-1]  # a response may hold other characters that end a line
        if not lines:
            self.path.write_text(dump(self._header), encoding="utf-8")
            return
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{self.path}:{number}: damaged ({error.msg}); remove the file to start over"
                ) from error
            if number == 1:
                self._check(row)
            else:
                self._remember(row["prompt"], [Generation(**g) for g in row["generations"]])

    def _check(self, header: dict[str, Any]) -> None:
        for key, value in self._header.items():
            if header.get(key) != value:
                raise DataError(
                    f"{self.path}: holds responses for {key} {header.get(key)}, this run has {value}; "
                    "write to another folder, or remove the file"
                )


def generate_all(
    items: Sequence[PromptItem],
    generator: Generator,
    sampling: Sampling,
    log: ResponseLog | None = None,
    *,
    chunk: int = 256,
    progress: Progress | None = None,
) -> list[tuple[PromptItem, list[Generation]]]:
    """Return every item with its generations, in order; only what ``log`` does not have yet is generated.

    ``chunk`` prompts go to the back end at once and into the log together; ``progress`` is told after each.
    """
    found = {item.id: log.known(item) for item in items} if log else {}
    todo = [item for item in items if found.get(item.id) is None]
    for start in range(0, len(todo), chunk):
        part = todo[start : start + chunk]
        drawn = generator.generate(part, sampling)
        if log:
            log.append(part, drawn)
        found.update({item.id: generations for item, generations in zip(part, drawn, strict=True)})
        if progress:
            progress(len(items) - len(todo) + start + len(part), len(items))
    return [(item, found[item.id] or []) for item in items]


def to_record(row: ScoredRow) -> dict[str, Any]:
    """Return one response as the flat row of ``responses.parquet``; nested free-form values are JSON text."""
    item, generation = row.item, row.generation
    return {
        "id": item.id,
        "sample": row.sample,
        "source": item.source,
        "twin_of": item.meta.get("twin_of"),
        "messages": json.dumps(list(item.messages), ensure_ascii=False),
        "question": item.question,
        "answer": item.answer,
        "constraints": json.dumps(
            [_constraint(requirement) for requirement in item.checklist],
            ensure_ascii=False,
        ),
        "mathif": json.dumps(item.meta["mathif"], ensure_ascii=False) if "mathif" in item.meta else None,
        "response": generation.text,
        "tokens": generation.tokens,
        "finished": generation.finished,
        "prefilled": generation.prefilled,
        "error": generation.error,
        **row.score.to_dict(item.checklist),
    }


def _constraint(requirement: Requirement) -> dict[str, Any]:
    check = requirement.check
    if isinstance(check, RuleCheck):
        return {"id": check.constraint, "kwargs": dict(check.kwargs), "text": requirement.text}
    return {"id": requirement.label, "check": check.to_dict(), "text": requirement.text}


def write_table(path: Path, rows: Sequence[ScoredRow]) -> None:
    """Write scored responses as parquet, one row a response; the name appears when the file is whole."""
    import pyarrow
    import pyarrow.parquet

    text, number, flag = pyarrow.string(), pyarrow.float64(), pyarrow.bool_()
    verdict = [("score", number), ("status", text), ("detail", text)]
    names = (
        "id",
        "source",
        "twin_of",
        "messages",
        "question",
        "answer",
        "constraints",
        "mathif",
        "response",
        "error",
    )
    schema = pyarrow.schema(
        [(name, text) for name in names]
        + [("sample", pyarrow.int32()), ("tokens", pyarrow.int64()), ("finished", flag), ("prefilled", flag)]
        + [("verdicts", pyarrow.list_(pyarrow.struct([("id", text), *verdict])))]
        + [("correct", pyarrow.struct(verdict)), ("hacc", number), ("sacc", number), ("joint", number)]
    )
    partial = path.with_name(path.name + PARTIAL)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([to_record(r) for r in rows], schema=schema), partial)
    partial.replace(path)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``responses.parquet``, with ``messages``, ``constraints`` and ``mathif`` decoded.

    Raises:
        DataError: the file is missing.
    """
    import pyarrow.parquet

    if not path.is_file():
        raise DataError(f"{path}: no such file; an evaluation writes it when it has finished")
    rows = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        for key in ("messages", "constraints", "mathif"):
            row[key] = json.loads(row[key]) if row[key] is not None else None
    return rows


def _fingerprint(item: PromptItem) -> str:
    prompt = json.dumps([item.id, list(item.messages)], ensure_ascii=False)
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
