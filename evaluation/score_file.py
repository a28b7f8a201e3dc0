"""Score a file of responses: the command ``adhere score IN.jsonl OUT.jsonl [mode=MODE] [prefilled=true]``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.metrics import METRICS, OFFICIAL, Metric, Official, evaluator_failed, metric_value
from adhere.evaluation.scoring import MODES, ScoredRow, score_responses
from adhere.evaluation.statistics import mean_of_scored
from adhere.prompts.item import PromptItem, Row, read_rows
from adhere.records.jsonl import dump
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.constraints import Mode, prepare
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.files import atomic_file

ROWS_AT_ONCE = 256
FORM = "a row is {question?, answer?, response, constraints?: [{id, kwargs}], prefilled?, source?}"


def score_file(
    src: Path, dst: Path, mode: Mode = "hardened", engine: Engine | None = None, *, prefilled: bool = False
) -> dict[str, Any]:
    """Score every row of ``src`` and write it to ``dst`` with its verdicts; either may end in ``.gz``.

    Each row keeps its fields and gains ``verdicts`` (one a constraint, in order), ``correct``, ``hacc``,
    ``sacc`` and ``joint``; a value is null where nothing is to be scored or no verdict could be reached.
    ``compat`` cuts the response as MathIF's driver does, and leaves IFEval's rows whole (see `scored_text`); it adds
    ``correct_official`` and ``joint_official``, by MathIF's own judgement of the answer. ``hardened`` scores what
    follows the reasoning block. Of a row without ``constraints`` only the answer is scored.

    The whole input is checked before the first row is scored, so a malformed row costs no work; output goes
    to a temporary name and takes its final one when it is complete.

    Args:
        src: JSONL file with the responses.
        dst: where to write, another file.
        mode: the constraint checkers that decide.
        engine: worker pool of the maths verifier; default: the shared one.
        prefilled: the prompt had opened ``<think>`` already, for rows that do not say so themselves in ``prefilled``.

    Returns:
        ``{rows, mode, accuracy, hacc, sacc, joint, unscored, ranges}``: means over the scored rows (``None`` without
        any), in ``compat`` also ``accuracy_official`` and ``joint_official``; for each metric the number of rows left
        out of its mean; and, where the evaluator failed on some of them, what the mean would be if all of these scored
        0, and 1.

    Raises:
        DataError: ``src`` is missing or empty, or has a malformed row (file and line are named).
        ConstraintError: a row names an unknown constraint, or arguments that it does not take.
        ConfigError: the mode is unknown, or ``src`` and ``dst`` are the same file.
    """
    if mode not in MODES:
        raise ConfigError(f"mode: '{mode}' is not known; use {' or '.join(MODES)}")
    if src.resolve() == dst.resolve():
        raise ConfigError(f"{dst}: is the input itself; name another file for the output")
    if sum(_item(row) is not None for row in read_rows(src)) == 0:
        raise DataError(f"{src}: holds no rows; {FORM}")
    official = OFFICIAL if mode == "compat" else ()
    values: dict[Metric | Official, list[float | None]] = {name: [] for name in (*METRICS, *official)}
    failures: Counter[Metric] = Counter()
    with atomic_file(dst) as out:
        source = read_rows(src)
        while rows := list(islice(source, ROWS_AT_ONCE)):
            pairs = []
            for row in rows:
                opened = row.values.get("prefilled")
                generation = Generation(row.values["response"], None, True, prefilled if opened is None else opened)
                pairs.append((_item(row), generation))
            for row, (item, _), score in zip(rows, pairs, score_responses(pairs, mode, engine), strict=True):
                scored_row = ScoredRow(item, 0, Generation("", None, True), score)
                found = {name: metric_value(scored_row, name) for name in values}
                beside: dict[str, float | None] = {
                    name.replace("accuracy", "correct"): found[name] for name in official
                }
                out.write(dump({**row.values, **score.to_dict(item.checklist), **beside}))
                for name, scored in values.items():
                    scored.append(found[name])
                for metric in METRICS:
                    failures[metric] += evaluator_failed(scored_row, metric)
    means: dict[str, float | None] = {name: mean_of_scored(scored) for name, scored in values.items()}
    lost = {name: scored.count(None) for name, scored in values.items()}
    ranges = {}
    for name, failed in failures.items():
        known = [value for value in values[name] if value is not None]
        if failed:
            ranges[name] = [(sum(known) + more) / (len(known) + failed) for more in (0, failed)]
    return {"rows": len(values["joint"]), "mode": mode, **means, "unscored": lost, "ranges": ranges}


def _item(given: Row) -> PromptItem:
    """Return a row as a prompt item whose id says where the row stands."""
    row, where = given.values, given.where
    given_constraints = row.get("constraints")
    for key, kind in (("response", str), ("constraints", list), ("prefilled", bool), ("source", str)):
        wanted = key == "response" or row.get(key) is not None
        if wanted and not isinstance(row.get(key), kind):
            found = f"is {type(row[key]).__name__}, not {kind.__name__}" if key in row else "is missing"
            raise DataError(f"{where}: {key} {found}; {FORM}")
    answer = row.get("answer")
    if given_constraints is None and answer is None:
        raise DataError(f"{where}: has neither an answer nor constraints, so there is nothing to score; {FORM}")
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        raise DataError(f"{where}: answer is {type(answer).__name__}; write the gold answer as text, or leave it out")
    for key, value in row.items():
        try:
            dump(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{where}: {key} cannot be written as JSON ({error}); mend or remove the value") from error
    checklist = []
    for i, constraint in enumerate(given_constraints or []):
        place = f"{where}: constraints[{i}]"
        if not isinstance(constraint, Mapping) or not isinstance(constraint.get("id"), str):
            raise DataError(f"{place}: a constraint is {{id, kwargs}}, with the id as text")
        kwargs = constraint.get("kwargs")
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise DataError(f"{place}.kwargs: is {type(kwargs).__name__}; write an object, or null for none")
        checklist.append(Requirement(constraint["id"], "", RuleCheck.of(prepare(constraint["id"], kwargs, place))))
    question = str(row.get("question") or "")
    return PromptItem(
        id=where,
        messages=({"role": "user", "content": question},),
        answer=None if answer is None else str(answer),
        checklist=tuple(checklist),
        source=row.get("source") or "unknown",
        question=question,
    )
