"""Rows of the open mixes for instruction following: prompts that bring their requirements in a form of their own.

Three forms: IFEval's rows, open-instruct's rows (``allenai/IF_multi_constraints_upto5`` and the RLVR mixes), and
those of WildChecklists (arXiv 2507.18624).
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from adhere.prompts.config import SourceConfig
from adhere.prompts.item import Message, PromptItem, Row
from adhere.rewards.checklist.mapping import map_requirement
from adhere.rewards.checklist.requirement import JudgeCheck, Requirement, RuleCheck
from adhere.rewards.constraints import prepare
from adhere.rewards.errors import ConstraintError, DataError
from adhere.rewards.math.gold import normalise_gold

Form = Literal["ifeval", "open_instruct", "wildchecklists"]
FORM_COLUMNS: Mapping[Form, tuple[str, ...]] = {
    "ifeval": ("prompt", "instruction_id_list", "kwargs"),
    "open_instruct": ("messages", "ground_truth", "dataset"),
    "wildchecklists": ("prompt", "requirements"),
}
"""The columns that tell a form, and that it needs, the first form first."""

RULES = ("ifeval",)
ANSWERS = ("gsm8k", "math")
"""Values of open-instruct's ``dataset``: where ``ground_truth`` holds constraints, and where it is a gold answer."""

_ITEM = re.compile(r"(?:\d+\s*[.)]|[-*•])\s*(?P<text>.+?)\s*(?:\(importance:\s*(?P<weight>[\d.]+)\s*/\s*100\)\s*)?")


def read_mix(row: Row, form: Form, config: SourceConfig, skipped: Counter[str]) -> PromptItem | None:
    """Return the prompt item of a row of an open mix, or ``None`` where the row is left out.

    The prompt stays as it is. Constraints become rules, gold answers the answer, other requirements the judge's.

    Args:
        row: the row.
        form: which form it has.
        config: ``unknown_constraints`` says what becomes of what nothing here decides.
        skipped: is raised by every reason for which something was left out.

    Raises:
        DataError: the row does not have its form, or has an unknown constraint that is to be an error.
    """
    values, where = row.values, row.where
    missing = [name for name in FORM_COLUMNS[form] if name not in values]
    if missing:
        raise DataError(f"{where}: no column '{missing[0]}'; format {form} needs {', '.join(FORM_COLUMNS[form])}")
    messages = _messages(values["messages" if form == "open_instruct" else "prompt"], where)
    answer: str | None = None
    solution: str | None = None
    checklist: list[Requirement] = []
    left_out = False

    def leave_out(reason: str, message: str) -> None:
        nonlocal left_out
        if config.unknown_constraints == "error":
            raise DataError(f"{where}: {message}; unknown_constraints: skip or skip_row leaves it out")
        skipped[reason] += 1
        left_out = True

    def add_rules(ids: Any, kwargs: Any) -> None:
        if isinstance(kwargs, str):
            kwargs = _literal(kwargs, "kwargs", where)
        if not isinstance(ids, Sequence) or isinstance(ids, str) or not isinstance(kwargs, Sequence):
            raise DataError(f"{where}: constraints are a list of ids and a list of arguments, got {ids!r:.80}")
        if len(ids) != len(kwargs):
            raise DataError(
                f"{where}: {len(ids)} constraint ids and {len(kwargs)} arguments; give one mapping for each id"
            )
        for name, given in zip(ids, kwargs, strict=True):
            try:
                checker = prepare(name, given)
            except ConstraintError as error:
                leave_out(f"constraint '{name}'", str(error))
            else:
                checklist.append(Requirement(checker.id, checker.describe(), RuleCheck.of(checker)))

    if form == "ifeval":
        add_rules(values["instruction_id_list"], values["kwargs"])
    elif form == "open_instruct":
        truths, kinds = _list(values["ground_truth"]), _list(values["dataset"])
        if len(truths) == 1 and len(kinds) > 1:
            truths *= len(kinds)
        if len(truths) != len(kinds):
            raise DataError(f"{where}: {len(truths)} values of ground_truth and {len(kinds)} of dataset; give as many")
        for truth, kind in zip(truths, kinds, strict=True):
            name = str(kind).lower()
            if name in RULES:
                label = _literal(truth, "ground_truth", where) if isinstance(truth, str) else truth
                for one in label if isinstance(label, list) else [label]:
                    one = _literal(one, "ground_truth", where) if isinstance(one, str) else one
                    if isinstance(one, Mapping) and "instruction_id" in one:
                        ids = one["instruction_id"]
                        add_rules(ids, one.get("kwargs") or [None] * len(ids))
                    else:
                        leave_out("ground_truth of another form", f"ground_truth {one!r:.80} has no instruction_id")
            elif name in ANSWERS:
                if answer is not None and answer != normalise_gold(str(truth)):
                    raise DataError(f"{where}: two gold answers, '{answer}' and {truth!r}")
                answer = normalise_gold(str(truth).rpartition("####")[2].strip())
            else:
                leave_out(f"verifier '{kind}'", f"dataset '{kind}' names a verifier that is not known here")
    else:
        if not isinstance(values["requirements"], str):
            raise DataError(f"{where}: requirements is {type(values['requirements']).__name__}, not text")
        for line in filter(None, map(str.strip, values["requirements"].splitlines())):
            match = _ITEM.fullmatch(line)
            weight = float(match["weight"]) if match and match["weight"] else 100.0
            if match is None or weight > 100.0:
                leave_out(
                    "line that is not `1) … (importance: 80/100)`", f"requirements: cannot read the line {line!r:.80}"
                )
            elif match["text"].endswith(":"):
                skipped["line that only opens a list"] += 1
            else:
                text = match["text"]
                checklist.append(
                    Requirement(f"r{len(checklist) + 1}", text, map_requirement(text) or JudgeCheck(), weight)
                )
        chosen = values.get("chosen")
        if isinstance(chosen, list) and chosen and isinstance(chosen[-1], Mapping):
            solution = str(chosen[-1].get("content") or "") or None

    if left_out and (config.unknown_constraints == "skip_row" or not (checklist or answer)):
        skipped["row"] += 1
        return None
    if not checklist and answer is None:
        raise DataError(f"{where}: has neither a requirement nor a gold answer")
    counts: Counter[str] = Counter()
    numbered = []
    for requirement in checklist:
        counts[requirement.id] += 1
        again = f"{requirement.id}#{counts[requirement.id]}" if counts[requirement.id] > 1 else requirement.id
        numbered.append(Requirement(again, requirement.text, requirement.check, requirement.weight))
    meta = {"mix": form} | ({"key": values["key"]} if values.get("key") is not None else {})
    return PromptItem(
        id=f"{config.source}/{row.key}",
        messages=messages,
        answer=answer,
        checklist=tuple(numbered),
        source=config.source,
        question=messages[-1]["content"],
        solution=solution,
        meta=meta,
    )


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    """Return a prompt as messages, without the response that a row may end in."""
    turns = [{"role": "user", "content": value}] if isinstance(value, str) else value
    if not isinstance(turns, list) or not all(
        isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in turns
    ):
        raise DataError(f"{where}: the prompt is neither text nor a list of messages with role and content")
    while turns and turns[-1]["role"] == "assistant":
        turns = turns[:-1]
    if not turns or not turns[-1]["content"].strip():
        raise DataError(f"{where}: the prompt is empty")
    return tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _literal(text: str, column: str, where: str) -> Any:
    """Read a value that is written as JSON or, as in open-instruct's rows, as a literal of Python's."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(
            f"{where}: {column} is neither JSON nor a literal of Python's ({error}): {text!r:.80}"
        ) from error
