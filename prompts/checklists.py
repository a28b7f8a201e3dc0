"""Checklists for a file of prompts: read it, have them written, and keep every row that is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from adhere.prompts.config import SourceConfig
from adhere.prompts.item import Message, PromptItem, read_rows
from adhere.prompts.journal import Journal, report_of
from adhere.prompts.sources import PromptStyle, load
from adhere.rewards.chat import Usage
from adhere.rewards.checklist.generation import GenerationConfig, Writer, WritingTask, connect
from adhere.rewards.checklist.generation.rows import kind
from adhere.rewards.errors import ConfigError, DataError, StageError

PATIENCE = 2
"""Rows for each place of ``concurrency`` that may find no server, one after another, before everything stops."""


@dataclass(frozen=True, slots=True)
class Source:
    """A row of the input: where it stands, the item it becomes, and what is asked for it."""

    where: str
    item: PromptItem
    task: WritingTask


@dataclass(slots=True)
class Summary:
    """What a run did: rows kept from before, written now, failed (place and reason), and what was spent."""

    before: int = 0
    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    flagged: int = 0
    usage: Usage = field(default_factory=Usage)


def check_output(src: Path, out: Path) -> None:
    """Check that neither ``out`` nor the report beside it is the input.

    Raises:
        ConfigError: one of them is.
    """
    for written in (out, report_of(out)):
        if written.resolve() == src.resolve():
            raise ConfigError(f"{written}: is the input itself, and would be written; name another file for the output")


def read_sources(
    path: Path,
    answer_instruction: str | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Source]:
    """Return what a file asks checklists for: prompt items, or raw rows with a question.

    Args:
        path: the file.
        answer_instruction: put after the question of a raw row that has a gold answer; ``None`` puts none.
        limit: first rows that are read, from 1; ``None`` reads all.
        columns: which column holds the question, the answer, the solution, the id or the options, as of a source.

    A raw row becomes its question, followed by ``answer_instruction`` where it has a gold answer. The reference of an
    item is its solution, or else its answer; a column ``candidates`` holds responses of varied quality.

    Raises:
        DataError: see ``prompts.sources.load``; a column ``candidates`` is not a list of texts; or a value could not be
            written again.
    """
    plain = PromptStyle(answer_instruction="")
    asking = plain if answer_instruction is None else PromptStyle(answer_instruction=answer_instruction)
    items = load(SourceConfig(path=str(path), limit=limit, columns=dict(columns or {})), plain)
    sources = []
    for item, row in zip(items, islice(read_rows(path), limit), strict=True):
        raw = "messages" not in row.values or bool(columns)
        if raw and item.answer is not None:
            item = replace(item, messages=asking.messages(item.question))
        candidates = row.values.get("candidates") or ()
        if not isinstance(candidates, list | tuple) or not all(isinstance(text, str) for text in candidates):
            raise DataError(f"{row.where}: candidates is not a list of texts")

        # Refuse what cannot be sent or written as JSON in UTF-8; a value that is made of another one comes last.
        values, last = {**item.to_dict(), "candidates": candidates}, "messages" if raw else "question"
        for key in sorted(values, key=lambda key: key == last):
            try:
                json.dumps(values[key], ensure_ascii=False, allow_nan=False).encode()
            except UnicodeEncodeError as error:
                lone = error.object[error.start]
                raise DataError(f"{row.where}: {key} holds {lone!r}, half of a character; repair the text") from error
            except (TypeError, ValueError, RecursionError) as error:
                raise DataError(
                    f"{row.where}: {key} cannot be written as JSON ({error}); mend or remove the value"
                ) from error

        task = WritingTask(
            id=item.id,
            instruction=conversation(item.messages),
            reference=item.solution or item.answer,
            question=item.question if item.question != item.messages[-1]["content"] else None,
            candidates=candidates,
            existing=[requirement.to_dict() for requirement in item.checklist],
        )
        sources.append(Source(row.where, item, task))
    return sources


def conversation(messages: Sequence[Message]) -> str:
    """Return what a response has to follow: the one user message, or all turns with the name of who speaks."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def generate(
    sources: Sequence[Source], out: Path, config: GenerationConfig, advance: Callable[[int], None] = lambda rows: None
) -> Summary:
    """Write the items of ``sources`` with their checklists to ``out``, and what happened to each beside it.

    Args:
        sources: the rows that want a checklist.
        out: a ``.jsonl`` file. Rows that it holds already are kept; failed ones are tried again.
        config: who writes the checklists, and how.
        advance: gets the number of rows that have just been done.

    Raises:
        DataError: ``out`` holds rows of other prompts or of another configuration.
        StageError: the endpoint refuses or cannot be reached; what is done is kept.
    """
    summary = Summary()
    with Journal(out, config.provenance()) as journal:
        done = journal.resume({source.item.id: list(source.item.messages) for source in sources})
        summary.before = len(done)
        advance(len(done))
        pending = iter([source for source in sources if source.item.id not in done])
        unreachable = 0

        async def work(writer: Writer) -> None:
            nonlocal unreachable
            for source in pending:
                written = await writer.write(source.task)
                summary.usage.add(written.usage)
                summary.dropped += len(written.dropped)
                row = None
                if written.error is not None:
                    summary.failed.append((f"{source.where} ({source.item.id})", written.error))
                else:
                    meta = {**source.item.meta, "checklist": config.provenance()}
                    row = replace(source.item, meta=meta).to_dict()
                    row["checklist"] = [*row["checklist"], *written.rows]
                    summary.written += 1
                    summary.flagged += len(written.flagged)
                    for requirement in written.rows:
                        summary.kinds[kind(requirement)] = summary.kinds.get(kind(requirement), 0) + 1
                journal.keep({"id": source.item.id, "where": source.where, **written.report()}, row)
                advance(1)
                unreachable = unreachable + 1 if written.unreachable else 0
                if unreachable >= PATIENCE * config.concurrency:
                    raise StageError(
                        f"{unreachable} rows in a row got no reply ({written.error}); the rows done are kept, the same "
                        f"command goes on from here"
                    )

        async def run() -> None:
            async with connect(config) as client, asyncio.TaskGroup() as group:
                for _ in range(config.concurrency):
                    group.create_task(work(Writer(client, config)))

        try:
            asyncio.run(run())
        except* StageError as group:
            raise group.exceptions[0] from None
        finally:
            journal.finish([source.item.id for source in sources])
    return summary
