"""Load prompt items from a source: a file, a Hugging Face data set, or a generator of problems."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from adhere.prompts.config import COLUMN_ROLES, SourceConfig
from adhere.prompts.generators import GENERATORS, read_registered
from adhere.prompts.hub import KNOWN, read_dataset
from adhere.prompts.item import Message, PromptItem, Row, check_characters, parse_item, read_rows
from adhere.prompts.mixes import FORM_COLUMNS, read_mix
from adhere.prompts.procedural import read_generator
from adhere.prompts.traces import TRACE_COLUMNS, read_trace
from adhere.rewards.errors import DataError, nearest
from adhere.rewards.math.gold import normalise_gold

USUAL_COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "unique_id"),
    "question": ("question", "problem"),
    "answer": ("answer",),
    "solution": ("solution",),
    "options": ("options", "choices"),
}

_CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """How a question becomes messages: the system message, and the sentence that asks for the answer's form."""

    system_prompt: str | None = None
    answer_instruction: str = "Put the final answer in \\boxed{}."

    def messages(self, question: str) -> tuple[Message, ...]:
        """Return the conversation that asks ``question`` without any constraint."""
        system = (Message(role="system", content=self.system_prompt),) if self.system_prompt is not None else ()
        content = f"{question}\n{self.answer_instruction}" if self.answer_instruction else question
        return (*system, Message(role="user", content=content))


def load(config: SourceConfig, style: PromptStyle, skipped: Counter[str] | None = None) -> list[PromptItem]:
    """Return the items of one source, in its order.

    Rows of an open mix (``mixes``) bring their requirements, and rows of an open set of traces or problems
    (``traces``) a trace or an answer. Other rows with ``messages`` are taken as they are; raw
    rows become a user turn of question and answer instruction. A gold answer of the form ``... #### 72`` becomes
    ``72``, and what stands before it the solution.

    Args:
        config: the source.
        style: how a question becomes messages.
        skipped: is raised by every reason for which a requirement or a row was left out; a warning names them too.

    Raises:
        DataError: the source is missing, empty or damaged, lacks a column, or has two items of one id.
    """
    if config.path is not None:
        stop = None if config.limit is None else config.skip + config.limit
        rows: Iterator[Row] = islice(read_rows(Path(config.path)), config.skip, stop)
    elif config.dataset is not None:
        rows = read_dataset(config)
    else:
        rows = read_registered(config) if config.generator in GENERATORS else read_generator(config)
    if config.answer_instruction is not None:
        style = replace(style, answer_instruction=config.answer_instruction)
    left_out: Counter[str] = Counter()
    read, items = _items(rows, config, style, left_out)
    if skipped is not None:
        skipped.update(left_out)
    reasons = ", ".join(f"{reason} ({count}x)" for reason, count in left_out.most_common(8))
    place = config.path or config.dataset or config.generator
    if read and not items:
        raise DataError(f"{place}: each of its {read} rows was left out: {reasons}")
    if left_out:
        kept = f"{len(items)} of {read} rows stay"
        warnings.warn(f"source '{config.source}': left out {reasons}; {kept}", stacklevel=2)
    if not items:
        raise DataError(f"{place}: holds no rows (skip {config.skip}, limit {config.limit})")
    unique_ids(items)
    return items


def check_rows(config: SourceConfig, style: PromptStyle, most: int | None = None) -> int | None:
    """Check the first rows of a file, and return how many items the file has; ``None`` where it has more rows.

    Args:
        config: a source with ``path``.
        style: how a question becomes messages.
        most: rows that are read; ``None`` reads all.

    Raises:
        DataError: a row cannot be used, or there is none.
        ConstraintError: a row names an unknown constraint, or arguments that it does not take.
    """
    assert config.path is not None
    stop = None if config.limit is None else config.skip + config.limit
    rows = islice(read_rows(Path(config.path)), config.skip, stop)
    left_out: Counter[str] = Counter()
    read, items = _items(islice(rows, most), config, style, left_out)
    if not read:
        raise DataError(f"{config.path}: holds no rows (skip {config.skip}, limit {config.limit})")
    unique_ids(items)
    return len(items) if next(rows, None) is None else None


def _items(
    rows: Iterable[Row], config: SourceConfig, style: PromptStyle, skipped: Counter[str]
) -> tuple[int, list[PromptItem]]:
    """Return how many rows there are, and the items of those that stay.

    DAPO-Math-17k holds each of its 17,000 problems a hundred times: repeated ones are dropped while it is read.
    """
    read, items, seen = 0, list[PromptItem](), set[tuple[str, str]]()
    for row in rows:
        read += 1
        item = _item(row, config, style, skipped)
        if item is None:
            continue
        if item.meta.get("mix") == "dapo":
            if (item.id, item.question) in seen:
                skipped["a row that repeats another"] += 1
                continue
            seen.add((item.id, item.question))
        items.append(item)
    return read, items


def unique_ids(items: Iterable[PromptItem]) -> None:
    """Check that no two items share an id, which seeds their constraints.

    Raises:
        DataError: naming the id and its sources.
    """
    seen: dict[str, str] = {}
    for item in items:
        if item.id in seen:
            raise DataError(
                f"id '{item.id}' occurs twice (sources '{seen[item.id]}' and '{item.source}'); "
                f"give the rows unique ids, or leave the id column out"
            )
        seen[item.id] = item.source


def _item(row: Row, config: SourceConfig, style: PromptStyle, skipped: Counter[str]) -> PromptItem | None:
    item = _item_of_form(row, config, style, skipped)
    if item is not None:
        check_characters(item, row.where, "messages" if "messages" in row.values else "question")
    return item


def _item_of_form(row: Row, config: SourceConfig, style: PromptStyle, skipped: Counter[str]) -> PromptItem | None:
    untold = not (config.format or config.columns or config.generator or row.values.get("checklist"))
    for mix, names in FORM_COLUMNS.items():
        if config.format == mix or (untold and all(name in row.values for name in names)):
            return read_mix(row, mix, config, skipped)
    for trace, names in TRACE_COLUMNS.items():
        if config.format == trace or (untold and all(name in row.values for name in names)):
            return read_trace(row, trace, config.source, style.messages, skipped)
    item_id = f"{config.source}/{row.key}"
    if "messages" in row.values and not config.columns:
        item = parse_item({"id": item_id, "source": config.source} | dict(row.values), row.where)
        return item if config.label is None else replace(item, source=config.label)
    if not config.columns and (unread := [key for key in ("checklist", "constraints") if row.values.get(key)]):
        raise DataError(
            f"{row.where}: has {unread[0]} but no messages, so its prompt would not ask for them; write a prompt item "
            f"{{messages, answer, checklist}}, or name the columns to read under columns"
        )
    columns = columns_of(row, config)
    question = _text(row, columns["question"])
    if not question:
        raise DataError(f"{row.where}: column '{columns['question']}' is empty")
    answer = _text(row, columns.get("answer"))
    letter = "" if answer is None else answer.strip("()").upper()
    if re.fullmatch("[A-J]", letter) and (options := options_of(row, columns.get("options"))):
        # The question shows the options, and the gold answer carries its text: letter, text or both are then right.
        if letter not in options:
            raise DataError(f"{row.where}: the answer '{answer}' is none of the options {', '.join(options)}")
        answer = f"({letter}) {options[letter]}"
        if not all(text in question for text in options.values()):
            question += "".join(f"\n({name}) {text}" for name, text in options.items())
    solution = _text(row, columns.get("solution"))
    if answer is not None and "####" in answer:
        worked, _, _ = answer.rpartition("####")
        solution = solution if solution is not None else worked.strip() or None
    return PromptItem(
        id=f"{config.source}/{_text(row, columns.get('id')) or row.key}",
        messages=style.messages(question),
        answer=None if answer is None else normalise_gold(answer),
        source=config.source,
        question=question,
        solution=None if solution is None else clean_solution(solution),
    )


def options_of(row: Row, column: str | None) -> dict[str, str]:
    """Return the options of a multiple-choice row by their letters; none where it has no such column.

    Raises:
        DataError: the column holds neither a list of texts or numbers nor a map from single letters to them.
    """
    given = None if column is None else row.values[column]
    if not given:
        return {}
    named = given if isinstance(given, Mapping) else dict(zip("ABCDEFGHIJ", given, strict=False))
    fits = isinstance(given, Mapping | list | tuple) and len(named) == len(given)
    if not fits or not all(
        len(str(name)) == 1 and isinstance(text, str | int | float) and str(text).strip()
        for name, text in named.items()
    ):
        raise DataError(
            f"{row.where}: column '{column}' is neither a list of up to 10 options nor a map from a letter to each"
        )
    return {str(name).upper(): str(text).strip() for name, text in named.items()}


def clean_solution(solution: str) -> str:
    """Return a worked solution without calculator marks (``<<48/2=24>>``) and without a closing ``#### gold``."""
    return _CALCULATOR_MARK.sub("", solution.rpartition("\n####")[0] or solution).strip()


def columns_of(row: Row, config: SourceConfig) -> dict[str, str]:
    """Return which column of ``row`` plays which role: as configured, as the data set is known, or as usually named.

    Raises:
        DataError: a configured column does not exist, or there is no column for the question.
    """
    known = KNOWN[config.dataset].columns if config.dataset in KNOWN else {}
    there = ", ".join(f"'{name}'" for name in row.values) or "no column"
    chosen: dict[str, str] = {}
    for role in COLUMN_ROLES:
        named = config.columns.get(role, known.get(role))
        if named is None and not known:
            named = next((name for name in USUAL_COLUMNS[role] if name in row.values), None)
        if named is not None:
            if named not in row.values:
                hint = nearest(named, row.values)
                raise DataError(f"{row.where}: no column '{named}' for the {role}; it has {there}{hint}")
            chosen[role] = named
    if "question" not in chosen:
        raise DataError(f"{row.where}: no column for the question; it has {there}. Set columns: {{question: NAME}}")
    return chosen


def _text(row: Row, column: str | None) -> str | None:
    if column is None or row.values[column] is None:
        return None
    value = row.values[column]
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{row.where}: column '{column}' holds a {type(value).__name__}, not text or a number")
