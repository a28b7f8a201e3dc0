"""Rows of the open sets of long reasoning traces and of RL maths problems, each in the form that its page describes.

Traces: OpenR1-Math-220k, s1K-1.1 (arXiv 2501.19393), OpenThoughts3-1.2M (arXiv 2506.04178). Problems: DAPO-Math-17k
(arXiv 2503.14476). A trace is the item's ``solution``, with its reasoning block, which SFT targets keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from adhere.prompts.item import Message, PromptItem, Row
from adhere.rewards.errors import DataError
from adhere.rewards.math import extract_answer
from adhere.rewards.math.gold import normalise_gold
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN, split_response

TraceForm = Literal["openr1", "s1k", "openthoughts", "dapo"]
TRACE_COLUMNS: dict[TraceForm, tuple[str, ...]] = {
    "openr1": ("problem", "answer", "generations"),
    "s1k": ("question", "deepseek_thinking_trajectory", "deepseek_attempt"),
    "openthoughts": ("conversations",),
    "dapo": ("prompt", "reward_model"),
}
"""The columns that tell a form, and that it needs."""

# How DAPO and OpenThoughts ask for the form of an answer; ours stands in place of it.
_BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.",
    "Return your final response within \\boxed{}.",
)
_AFTER = ('Remember to put your answer on its own line after "Answer:".',)


def read_trace(
    row: Row, form: TraceForm, source: str, ask: Callable[[str], tuple[Message, ...]], skipped: Counter[str]
) -> PromptItem | None:
    """Return the prompt item of a row, or ``None`` where the row is left out.

    ``openr1``: the first generation that is complete and was found correct, by math-verify or else by a model.
    ``s1k``: DeepSeek-R1's trace where its grade is not "No"; its answer is the gold one. ``openthoughts``: rows of the
    domain maths; the trace's own answer is the gold one, which nobody has checked. ``dapo``: a problem without a trace.

    Args:
        row: the row.
        form: which form it has.
        source: the name of the source, with which ids begin.
        ask: makes the conversation that asks a question.
        skipped: is raised by the reason for which a row was left out.

    Raises:
        DataError: the row does not have its form.
    """
    values, where = row.values, row.where
    missing = [name for name in TRACE_COLUMNS[form] if name not in values]
    if missing:
        raise DataError(f"{where}: no column '{missing[0]}'; format {form} needs {', '.join(TRACE_COLUMNS[form])}")
    trace: str | None = None
    key: Any = None
    if form == "openr1":
        question, gold, key = values["problem"], values["answer"], values.get("uuid")
        generations = _list(values, "generations", where)
        flags = [
            [bool(flag) for flag in _list(values, name, where)]
            for name in ("correctness_math_verify", "correctness_llama", "is_reasoning_complete")
        ]
        correct, judged, complete = (found + [False] * (len(generations) - len(found)) for found in flags)
        whole = complete if values.get("is_reasoning_complete") is not None else [True] * len(generations)
        good = [i for i in range(len(generations)) if correct[i] and whole[i]]
        good = good or [i for i in range(len(generations)) if judged[i] and whole[i]]
        if not good:
            skipped["no generation that is complete and correct"] += 1
            return None
        trace = generations[good[0]]
    elif form == "s1k":
        thought, attempt = values["deepseek_thinking_trajectory"], values["deepseek_attempt"]
        question, gold = values["question"], None
        if str(values.get("deepseek_grade") or "").strip().casefold() == "no":
            skipped["a trace that was graded as wrong"] += 1
            return None
        if isinstance(thought, str) and isinstance(attempt, str):
            trace = f"{THINK_OPEN}\n{thought.strip()}\n{THINK_CLOSE}\n\n{attempt.strip()}"
    elif form == "openthoughts":
        turns = {str(turn.get("from")): turn.get("value") for turn in _turns(values["conversations"], where)}
        question, gold = turns.get("human", turns.get("user")), None
        trace = turns.get("gpt", turns.get("assistant"))
        domain = values.get("domain")
        if domain not in (None, "math"):
            skipped[f"domain {domain}"] += 1
            return None
    else:
        turns = {str(turn.get("role")): turn.get("content") for turn in _turns(values["prompt"], where)}
        model, about = values["reward_model"], values.get("extra_info")
        if not isinstance(model, Mapping) or model.get("ground_truth") is None:
            raise DataError(f"{where}: column 'reward_model' has no ground_truth")
        question, gold = turns.get("user"), model["ground_truth"]
        key = about.get("index") if isinstance(about, Mapping) else None

    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: holds no question")
    question = question.strip()
    for start in _BEFORE:
        question = question.removeprefix(start).strip()
    for end in _AFTER:
        question = question.removesuffix(end).strip()
    if form != "dapo":
        parts = split_response(trace) if isinstance(trace, str) else None
        if parts is None or parts.reasoning is None or not parts.answer:
            skipped["a trace without reasoning or without an end"] += 1
            return None
        gold = extract_answer(parts.answer) if gold is None else gold
    if gold is None or str(gold).strip().casefold() in ("", "proof", "notfound"):
        skipped["no final answer to verify"] += 1
        return None
    return PromptItem(
        id=f"{source}/{key if key is not None else row.key}",
        messages=ask(question),
        answer=normalise_gold(str(gold)),
        source=source,
        question=question,
        solution=trace,
        meta={"mix": form},
    )


def _list(values: Mapping[str, Any], name: str, where: str) -> list[Any]:
    found = values.get(name)
    if found is not None and (isinstance(found, str) or not isinstance(found, Sequence)):
        raise DataError(f"{where}: column '{name}' is not a list")
    return list(found or ())


def _turns(found: Any, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(found, Sequence) or isinstance(found, str) or not all(isinstance(t, Mapping) for t in found):
        raise DataError(f"{where}: holds no conversation, which is a list of turns")
    return list(found)
