"""Responses on disk: the log that generation resumes from, and the rows of the scored table."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation, Generator, Sampling
from adhere.evaluation.scoring import ScoredRow
from adhere.prompts.item import PromptItem
from adhere.records.jsonl import dump, read_jsonl
from adhere.records.tables import LOG_COLUMNS, LOG_HEADER
from adhere.rewards.checklist import RuleCheck
from adhere.rewards.errors import DataError


class ResponseLog:
    """``responses.jsonl``: one line a prompt with all its generations, appended while a model generates.

    The first line holds what the responses depend on (model and sampling). A log of another model or sampling
    is refused; a prompt whose generation failed is not counted as done, so that a restart tries it again; and
    a line that a killed process left unfinished is dropped.
    """

    def __init__(self, path: Path, model: str, sampling: Sampling) -> None:
        """Read what the log has, or start it.

        Raises:
            DataError: it is damaged, or belongs to another model or sampling.
        """
        self.path = path
        self._header = dict(zip(LOG_HEADER, (model, sampling.to_dict()), strict=True))
        self._done: dict[str, list[Generation]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        found = read_jsonl(path)
        if found.unreadable:
            raise DataError(f"{path}:{found.unreadable[0]}: is damaged; remove the file to start over")
        if not found.rows:
            path.write_text(dump(self._header), encoding="utf-8")
            return
        with path.open("r+b") as file:
            file.truncate(found.whole)  # what is appended next must not follow half a line
        header, *rows = found.rows
        for key, value in self._header.items():
            if header.get(key) != value:
                raise DataError(
                    f"{path}: holds responses for {key} {header.get(key)}, this run has {value}; "
                    "write to another folder, or remove the file"
                )
        for number, row in enumerate(rows, start=2):
            try:
                self._remember(row["prompt"], [Generation(**g) for g in row["generations"]])
            except (KeyError, TypeError) as error:
                raise DataError(
                    f"{path}:{number}: is not a row of {', '.join(LOG_COLUMNS)}; remove the file to start over"
                ) from error

    def known(self, item: PromptItem) -> list[Generation] | None:
        """Return the item's generations where the log has them for the same prompt."""
        return self._done.get(_fingerprint(item))

    def append(self, items: Sequence[PromptItem], generations: Sequence[list[Generation]]) -> None:
        """Write the generations of some items and flush them to disk."""
        with self.path.open("a", encoding="utf-8") as out:
            for item, drawn in zip(items, generations, strict=True):
                self._remember(_fingerprint(item), drawn)
                values = (item.id, _fingerprint(item), [g.to_dict() for g in drawn])
                out.write(dump(dict(zip(LOG_COLUMNS, values, strict=True))))
            out.flush()
            os.fsync(out.fileno())

    def _remember(self, prompt: str, drawn: list[Generation]) -> None:
        if all(generation.error is None for generation in drawn):
            self._done[prompt] = drawn


def generate_all(
    items: Sequence[PromptItem],
    generator: Generator,
    sampling: Sampling,
    log: ResponseLog | None = None,
    *,
    chunk: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[PromptItem, list[Generation]]]:
    """Return every item with its generations, in order; only what ``log`` does not have yet is generated.

    Args:
        items: the prompt items.
        generator: the model behind a back end.
        sampling: how responses are drawn.
        log: what has been generated before; it gets what is generated now.
        chunk: prompts that go to the back end at once, and into the log together.
        progress: gets, after each chunk, the number of prompts that have their responses and the number of all.
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
    """Return one response as a row of ``responses.parquet``; its columns are those of ``records.tables``."""
    item, generation = row.item, row.generation
    constraints: list[dict[str, Any]] = []
    for requirement in item.checklist:
        check = requirement.check
        if isinstance(check, RuleCheck):
            constraints.append({"id": check.constraint, "kwargs": dict(check.kwargs), "text": requirement.text})
        else:
            constraints.append({"id": requirement.label, "check": check.to_dict(), "text": requirement.text})
    return {
        "id": item.id,
        "sample": row.sample,
        "source": item.source,
        "twin_of": item.meta.get("twin_of"),
        "messages": list(item.messages),
        "question": item.question,
        "answer": item.answer,
        "constraints": constraints,
        "mathif": item.meta.get("mathif"),
        "response": generation.text,
        "tokens": generation.tokens,
        "finished": generation.finished,
        "prefilled": generation.prefilled,
        "error": generation.error,
        **row.score.to_dict(item.checklist),
        "measures": {name: list(values) for name, values in row.score.measures.items()} or None,
    }


def _fingerprint(item: PromptItem) -> str:
    prompt = json.dumps([item.id, list(item.messages)], ensure_ascii=False)
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
