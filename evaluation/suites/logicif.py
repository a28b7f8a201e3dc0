"""The suite ``logicif``: functions in words, whose result and whose counters the model works out by hand.

With a path it is LogicIFEval's file (arXiv 2508.09125); without one the functions are made here, with golds from
running them (``logic_functions``). ``output`` is the share of right results, ``stats`` of responses whose counters
are all right, and ``both``; ``question_both`` is the share of functions that are right on all of their inputs.
``unreadable`` is the share of responses without a JSON object that has an ``output``: they are wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import UNFINISHED, Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites.base import SuiteSource, suite
from adhere.evaluation.suites.following import judged_text
from adhere.evaluation.suites.logic_functions import functions
from adhere.evaluation.suites.rows import FileSuite, file_of
from adhere.prompts.item import Message, PromptItem, Row, read_rows
from adhere.rewards.checklist import Decider
from adhere.rewards.constraints import Mode, decided
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError
from adhere.rewards.verdict import Status, failed, unscored

FORM = "a row of LogicIFEval is {task_id, test_case_id, instruction, code_output: {output, stats}}"
OLD = re.compile(r"\*\*Output:?\*\*:?\s*(?P<output>[^\n]+).*?\*\*Statistics:?\*\*:?\s*(?P<stats>\{[^{}]*\})", re.DOTALL)
"""The form that the benchmark's first responses have."""

TOLERANCE = 1e-6


@suite("logicif")
class LogicIF(FileSuite):
    """LogicIFEval's file, or functions of our own."""

    twins = False
    modes = ("hardened",)
    headline = "both"

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        if source.path is not None:
            for row in read_rows(file_of(source.path)):
                yield _item(row)
            return
        for made in functions():
            yield PromptItem(
                id=f"logicif/{made.name}/{made.case}",
                messages=(Message(role="user", content=made.text),),
                answer=None,
                source=f"logicif/{made.level}",
                question=made.text,
                meta={"output": made.output, "stats": made.stats, "group": made.name},
            )

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = []
        for item, generation in pairs:
            if generation.error:
                lost = {name: (None,) for name in ("output", "stats", "both", "unreadable")}
                scores.append(Score(unscored(Status.ERROR, generation.error), (), None, None, None, measures=lost))
                continue
            text = judged_text(generation, mode)
            found = None if text is None else last_result(text)
            output = found is not None and same_value(found["output"], item.meta["output"])
            stats = found is not None and same_value(found.get("stats"), item.meta["stats"])
            figures = {"output": output, "stats": stats, "both": output and stats, "unreadable": found is None}
            why = UNFINISHED if text is None else "no JSON object with an output" if found is None else ""
            verdict = failed(why) if why else decided(output and stats, f"output {output}, stats {stats}")
            measures = {name: (float(value),) for name, value in figures.items()}
            scores.append(Score(verdict, (), None, None, None, measures=measures))
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        groups: dict[tuple[str, int], list[float | None]] = {}
        for row in rows:
            groups.setdefault((row.item.meta["group"], row.sample), []).append(row.score.correct.score)
        whole = [0.0 if 0.0 in found else None if None in found else 1.0 for found in groups.values()]
        return {"question_both": bootstrap.estimate(whole, [group for group, _ in groups]).to_dict()}


def last_result(text: str) -> dict[str, Any] | None:
    """Return the last JSON object of a text that has the key ``output``, or what the older form says; else ``None``."""
    decoder, found, place = json.JSONDecoder(), None, text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):  # not JSON, too deep, or a number of thousands of digits
            place = text.find("{", place + 1)
            continue
        if isinstance(value, dict) and "output" in value:
            found = value
        place = text.find("{", end)
    if found is not None or (old := OLD.search(text)) is None:
        return found
    try:
        return {name: json.loads(old[name]) for name in ("output", "stats")}
    except (ValueError, RecursionError):
        return None


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: numbers within 1e-6, true as 1, lists and objects part by part."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        return abs(one) <= 1e300 and math.isclose(one, other, rel_tol=0.0, abs_tol=TOLERANCE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def _item(row: Row) -> PromptItem:
    wanted = ("task_id", "test_case_id", "instruction", "code_output")
    if missing := [name for name in wanted if name not in row.values]:
        raise DataError(f"{row.where}: lacks {', '.join(missing)}; {FORM}; is it a file of another benchmark?")
    task, case, instruction, gold = (row.values[name] for name in wanted)
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except ValueError as error:
            raise DataError(f"{row.where}: code_output is a text that is not valid JSON; {FORM}") from error
    if not isinstance(gold, Mapping) or "output" not in gold or not isinstance(gold.get("stats"), Mapping):
        raise DataError(f"{row.where}: code_output has no output, or no object stats; {FORM}")
    if not isinstance(instruction, str) or not instruction.strip():
        raise DataError(f"{row.where}: instruction is not a text; {FORM}")
    return PromptItem(
        id=f"{task}/{case}",
        messages=(Message(role="user", content=instruction),),
        answer=None,
        source=f"logicif/{row.values.get('difficulty') or 'all'}",
        question=instruction,
        meta={"output": gold["output"], "stats": dict(gold["stats"]), "group": str(task)},
    )
