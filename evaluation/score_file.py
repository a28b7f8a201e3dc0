"""Score a file of responses: the command ``adhere score IN.jsonl OUT.jsonl [mode=compat|hardened]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import MODES, Score, score_batch
from adhere.prompts.files import read_rows
from adhere.prompts.item import PromptItem
from adhere.records.jsonl import dump
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.constraints import Mode, prepare
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.files import atomic_file

ROWS_AT_ONCE = 256
FORM = "a row is {question, answer?, response, constraints: [{id, kwargs}]}"


def score_file(src: Path, dst: Path, mode: Mode = "hardened", engine: Engine | None = None) -> dict[str, Any]:
    """Score every row of ``src`` and write it to ``dst`` with its verdicts; either may end in ``.gz``.

    Each row keeps its fields and gains ``verdicts`` (one a constraint, in order), ``correct``, ``hacc``,
    ``sacc`` and ``joint``; a value is null where there is nothing to score or no verdict could be reached.
    ``compat`` cuts the response as MathIF's driver does, ``hardened`` scores what follows the reasoning
    block.

    The whole input is checked before the first row is scored, so a malformed row costs no work; output goes
    to a temporary name and takes its final one when it is complete.

    Returns:
        ``{rows, mode, accuracy, hacc, sacc, joint, unscored}``: means over the scored rows (``None`` without
        any), and for each metric the number of rows left out of its mean.

    Raises:
        DataError: ``src`` is missing or empty, or has a malformed row (file and line are named).
        ConstraintError: a row names an unknown constraint, or arguments that it does not take.
        ConfigError: the mode is unknown, or ``src`` and ``dst`` are the same file.
    """
    if mode not in MODES:
        raise ConfigError(f"mode: '{mode}' is not known; use {' or '.join(MODES)}")
    if src.resolve() == dst.resolve():
        raise ConfigError(f"{dst}: is the input itself; name another file for the output")
    if sum(1 for _ in _items(src)) == 0:
        raise DataError(f"{src}: holds no row; {FORM}")
    tally = _Tally()
    with atomic_file(dst) as out:
        source = _items(src)
        while rows := list(islice(source, ROWS_AT_ONCE)):
            pairs = [(item, Generation(row["response"], None, True)) for row, item in rows]
            for (row, item), score in zip(rows, score_batch(pairs, mode, engine), strict=True):
                out.write(dump({**row, **score.to_dict(item.checklist)}))
                tally.add(score)
    return {"rows": tally.rows, "mode": mode, **tally.means()}


class _Tally:
    """Running means of the four metrics over the rows that have them."""

    def __init__(self) -> None:
        self.rows = 0
        self._values: dict[str, list[float]] = {"accuracy": [], "hacc": [], "sacc": [], "joint": []}

    def add(self, score: Score) -> None:
        self.rows += 1
        found = {
            "accuracy": score.correct.score,
            "hacc": score.hacc,
            "sacc": score.sacc,
            "joint": score.joint,
        }
        for name, value in found.items():
            if value is not None:
                self._values[name].append(value)

    def means(self) -> dict[str, Any]:
        means: dict[str, Any] = {n: sum(v) / len(v) if v else None for n, v in self._values.items()}
        return means | {"unscored": {name: self.rows - len(values) for name, values in self._values.items()}}


def _items(src: Path) -> Iterator[tuple[Mapping[str, Any], PromptItem]]:
    for row in read_rows(src):
        yield row.values, _item(row.values, row.where)


def _item(row: Mapping[str, Any], where: str) -> PromptItem:
    for key, kind in (("response", str), ("constraints", list)):
        if not isinstance(row.get(key), kind):
            found = f"is {type(row[key]).__name__}, not {kind.__name__}" if key in row else "is missing"
            raise DataError(f"{where}: {key} {found}; {FORM}")
    answer = row.get("answer")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise DataError(f"{where}: answer is {type(answer).__name__}; write the gold answer as text, or leave it out")
    for key, value in row.items():
        try:
            dump(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{where}: {key} cannot be written as JSON ({error}); mend or remove the value") from error
    question = str(row.get("question") or "")
    return PromptItem(
        id=where,
        messages=({"role": "user", "content": question},),
        answer=None if answer is None else str(answer),
        checklist=tuple(_requirement(c, f"{where}: constraints[{i}]") for i, c in enumerate(row["constraints"])),
        question=question,
    )


def _requirement(constraint: Any, where: str) -> Requirement:
    if not isinstance(constraint, Mapping) or not isinstance(constraint.get("id"), str):
        raise DataError(f"{where}: a constraint is {{id, kwargs}}, with the id as text")
    kwargs = constraint.get("kwargs")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise DataError(f"{where}.kwargs: is {type(kwargs).__name__}; write an object, or null for none")
    return Requirement(constraint["id"], "", RuleCheck.of(prepare(constraint["id"], kwargs, where)))
