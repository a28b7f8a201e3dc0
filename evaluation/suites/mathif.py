"""The suite ``mathif``: the JSONL files of MathIF (arXiv 2505.14810), as they are published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.suites.base import Suite, SuiteKind, SuiteSource, prompt_suite, suite
from adhere.prompts.item import Message, PromptItem, read_rows
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.constraints import prepare
from adhere.rewards.errors import DataError, nearest

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


@suite("mathif")
class MathIF(SuiteKind):
    """MathIF's files in the folder that ``evaluation.path`` names."""

    def problems(self, source: SuiteSource) -> list[str]:
        return [] if source.path else ["evaluation.path: name the folder that holds MathIF's *.jsonl files"]

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        return mathif(source.path or Path(), source.subsets).items


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
        raise DataError(f"{where}: constraint_desc holds something that is not a text")
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
