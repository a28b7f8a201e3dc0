"""Suites: the prompt items that models are measured on, and their twins without constraints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adhere.prompts.attach import without_constraints
from adhere.prompts.config import SourceConfig
from adhere.prompts.files import read_rows
from adhere.prompts.item import Message, PromptItem
from adhere.prompts.sources import PromptStyle, load
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.constraints import prepare
from adhere.rewards.errors import DataError, nearest
from adhere.rewards.math.gold import check_gold

BOX_SENTENCE = "Let's think step by step and output the final answer within \\boxed{}."
MATHIF_FIELDS = (
    "source",
    "id",
    "question",
    "answer",
    "constraint_desc",
    "constraint_name",
    "constraint_args",
)
TWIN_SUFFIX = "#without"

UNSATISFIABLE = "the request to repeat has a comma, and commas are forbidden"
COMMA_IN_GOLD = "the gold answer has a comma, and commas are forbidden"
BAD_GOLD = "the gold answer does not verify against itself"


@dataclass(frozen=True, slots=True)
class Suite:
    """A named list of prompt items.

    ``flags`` maps a known fault of the data to the ids of the items that have it: they stay in the suite, so
    that figures compare with published ones, and the results name them.
    """

    name: str
    items: tuple[PromptItem, ...]
    flags: Mapping[str, tuple[str, ...]]

    def fingerprint(self) -> str:
        """Return a hash of all items: results compare only where it is the same."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(json.dumps(item.to_dict(), sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()[:16]

    def twins(self) -> tuple[PromptItem, ...]:
        """Return the constrained items once more, without their constraints; their ids end in ``#without``.

        Raises:
            DataError: a prompt does not end in the texts of its checklist, so they cannot be taken out.
        """
        return tuple(_twin(item) for item in self.items if item.checklist)


def prompt_suite(name: str, items: Iterable[PromptItem], limit: int | None = None) -> Suite:
    """Make a suite of any prompt items, such as a recipe's evaluation data.

    Raises:
        DataError: there is no item, or two items share an id.
    """
    chosen = tuple(items)[:limit]
    if not chosen:
        raise DataError(f"suite '{name}': holds no prompt item")
    seen: set[str] = set()
    for item in chosen:
        if item.id in seen:
            raise DataError(f"suite '{name}': two items have the id '{item.id}'; results are kept by id, so rename one")
        seen.add(item.id)
    return Suite(name, chosen, _flags(chosen))


def prompt_file(path: Path, limit: int | None = None, style: PromptStyle | None = None) -> Suite:
    """Read a file as a suite of its name: prompt items, or raw rows such as GSM8K's and MATH-500's own files.

    ``style`` says how raw questions become messages; rows with ``messages`` are taken as they are.

    Raises:
        DataError: the file is missing, empty or damaged, or a row cannot be used (file and line are named).
    """
    items = load(SourceConfig.model_validate({"path": str(path)}), style or PromptStyle())
    return prompt_suite(path.name.split(".")[0], items, limit)


def mathif(path: Path, subsets: Sequence[str] | None = None, limit: int | None = None) -> Suite:
    """Read MathIF (arXiv 2505.14810) from the folder of its JSONL files, as they are published.

    Prompts are joined as the official runner joins them, which puts no space at the joins. Ids of the data
    are not unique, so an item's id is ``file:row`` (row from 0, blank lines not counted). ``limit`` keeps the
    first rows of every file, since rows follow a fixed order of constraint combinations.

    Raises:
        DataError: the folder or a subset is missing, or a row is not a MathIF row (file and line are named).
        ConstraintError: a row names an unknown constraint, or arguments that it does not take.
    """
    items: list[PromptItem] = []
    for file in _mathif_files(path, subsets):
        rows = list(read_rows(file))[:limit]
        items += [_mathif_item(row.values, f"{file.stem}:{i}", row.where) for i, row in enumerate(rows)]
    return prompt_suite("mathif", items)


def _twin(item: PromptItem) -> PromptItem:
    # MathIF's texts are joined without a space, so its plain prompt is kept beside the item
    plain = item.meta.get("plain_prompt")
    if plain is None:
        bare = without_constraints(item)
    else:
        bare = replace(item, messages=(Message(role="user", content=str(plain)),), checklist=())
    return replace(bare, id=item.id + TWIN_SUFFIX, target=None, meta={**item.meta, "twin_of": item.id})


def _mathif_files(path: Path, subsets: Sequence[str] | None) -> list[Path]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; suite.path names the folder with MathIF's *.jsonl files")
    files = {file.stem: file for file in sorted(path.glob("*.jsonl"))}
    if not files:
        raise DataError(f"{path}: holds no *.jsonl file; suite.path names the folder with MathIF's files")
    for name in subsets or ():
        if name not in files:
            raise DataError(f"suite.subsets: {path} has no '{name}.jsonl'{nearest(name, files)}")
    return [files[name] for name in (subsets if subsets is not None else files)]


def _mathif_item(row: Mapping[str, Any], key: str, where: str) -> PromptItem:
    missing = [field for field in MATHIF_FIELDS if field not in row]
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}; a MathIF row is {{{', '.join(MATHIF_FIELDS)}}}")
    names, descriptions, args = (row[field] for field in ("constraint_name", "constraint_desc", "constraint_args"))
    if not all(isinstance(part, list) for part in (names, descriptions, args)) or not isinstance(row["question"], str):
        raise DataError(
            f"{where}: constraint_name, constraint_desc and constraint_args have to be lists and question a text"
        )
    if not all(isinstance(text, str) for text in descriptions):
        raise DataError(f"{where}: constraint_desc holds something that is no text")
    if not len(names) == len(descriptions) == len(args):
        raise DataError(
            f"{where}: has {len(names)} constraint_name, {len(descriptions)} constraint_desc and "
            f"{len(args)} constraint_args; they belong together one by one"
        )
    plain = row["question"] + BOX_SENTENCE
    checklist = tuple(
        Requirement(
            f"{i}:{name}",
            text,
            RuleCheck.of(prepare(name, kwargs, f"{where}: constraint_args[{i}]")),
        )
        for i, (name, text, kwargs) in enumerate(zip(names, descriptions, args, strict=True))
    )
    return PromptItem(
        id=key,
        messages=(Message(role="user", content=plain + " ".join(descriptions)),),
        answer=str(row["answer"]),
        checklist=checklist,
        source=str(row["source"]),
        question=row["question"],
        meta={"plain_prompt": plain, "mathif": {field: row[field] for field in MATHIF_FIELDS}},
    )


def _flags(items: Sequence[PromptItem]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {UNSATISFIABLE: [], COMMA_IN_GOLD: [], BAD_GOLD: []}
    golds: dict[str, bool] = {}
    for item in items:
        checks = {rule.constraint: rule.kwargs for requirement in item.checklist for rule in requirement.rules}
        no_comma = "punctuation:no_comma" in checks
        if no_comma and "," in str(checks.get("combination:repeat_prompt", {}).get("prompt_to_repeat", "")):
            found[UNSATISFIABLE].append(item.id)
        if item.answer is None:
            continue
        if no_comma and "," in item.answer:
            found[COMMA_IN_GOLD].append(item.id)
        if item.answer not in golds:
            golds[item.answer] = check_gold(item.answer).passed
        if not golds[item.answer]:
            found[BAD_GOLD].append(item.id)
    return {flag: tuple(ids) for flag, ids in found.items() if ids}
