"""What a teacher is shown besides the prompt: a solution, the requirements, or what was wrong with a response.

A self-teacher is the policy that knows more: the solution (OPSD, arXiv 2601.18734), the requirements, or the verdicts
on a rollout and a sibling that succeeded (SDPO, arXiv 2601.20802). Verdicts say which requirements were not met in the
words of the prompt; they never say the gold answer, and a sibling's right answer is shown only to a rollout that has it
too, unless that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from adhere.prompts.attach import with_constraints, without_constraints
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.math import verify_answer

Sibling = Literal["safe", "always", "never"]
"""When a sibling that succeeded is shown: ``safe`` where it cannot tell the answer, always, or never."""

SOLUTION = "A correct solution, for reference:"
REQUIREMENTS = "Meet each of these:"
MISSED = "An earlier response did not meet these:"
WRONG = "The answer of an earlier response was wrong."
SIBLING = "A response that succeeded:"
CLOSING = "Respond to the request."


@dataclass(frozen=True, slots=True)
class Note:
    """What a teacher is shown of one rollout; ``text`` is ``None`` where there is nothing to say.

    ``withheld`` counts the requirements that were left out because they would tell the gold answer.
    """

    text: str | None
    withheld: int = 0


def with_note(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the conversation with ``text`` at its end."""
    *earlier, last = messages
    return [*earlier, Message(role=last["role"], content=f"{last['content']}\n\n{text}\n\n{CLOSING}")]


def solution_note(item: PromptItem) -> Note:
    """Return the worked solution with the gold answer, or that answer alone."""
    parts = [item.solution or "", "" if item.answer is None else f"The final answer is \\boxed{{{item.answer}}}."]
    shown = "\n".join(part for part in parts if part)
    return Note(f"{SOLUTION}\n{shown}" if shown else None)


def requirements_note(item: PromptItem) -> Note:
    """Return the requirements of ``item``, one a line."""
    lines = [f"- {requirement.text}" for requirement in item.checklist]
    return Note("\n".join([REQUIREMENTS, *lines]) if lines else None)


def succeeded(row: Mapping[str, Any]) -> bool:
    """Whether all that was decided of a rollout is good, its answer and its requirements, and something was."""
    flags = [row["correct"], row["followed"]]
    return any(flag is not None for flag in flags) and all(flag is not False for flag in flags)


def feedback_note(
    item: PromptItem, row: Mapping[str, Any], group: Sequence[Mapping[str, Any]], sibling: Sibling
) -> Note:
    """Return what a teacher is shown of a rollout that failed; nothing of one that succeeded.

    Args:
        item: its prompt.
        row: the rollout, as training keeps it: ``correct``, ``followed``, ``requirements``, ``response``.
        group: all rollouts of the prompt.
        sibling: when the first of them that succeeded is shown.
    """
    if succeeded(row) or (row["correct"] is None and row["followed"] is None):
        return Note(None)
    missed = [part["text"] for part in row["requirements"] if part["score"] is not None and part["score"] < 1.0]
    told = [text for text in missed if not tells_answer(text, item)]
    parts = [WRONG] if row["correct"] is False else []
    if told:
        parts.append("\n".join([MISSED, *(f"- {text}" for text in told)]))
    # A sibling's answer is right: to a rollout whose own is wrong it would tell the gold answer.
    fitting = sibling == "always" or (sibling == "safe" and (item.answer is None or row["correct"] is True))
    other = next((one for one in group if succeeded(one)), None) if fitting else None
    if other is not None:
        parts.append(f"{SIBLING}\n{other['response']}")
    return Note("\n\n".join(parts) or None, len(missed) - len(told))


def all_wrong(item: PromptItem) -> dict[str, Any]:
    """Return the row of a rollout that met nothing that was asked: what feedback can at most be about."""
    missed = [{"text": requirement.text, "score": 0.0} for requirement in item.checklist]
    wrong, broken = (False if item.answer is not None else None), (False if missed else None)
    return {"correct": wrong, "followed": broken, "requirements": missed, "response": "", "finished": True}


def tells_answer(text: str, item: PromptItem) -> bool:
    """Whether ``text`` tells the gold answer of ``item``, and its prompt does not have the same words already."""
    if item.answer is None or any(text in message["content"] for message in item.messages):
        return False
    gold = re.escape(item.answer.strip())
    alone = re.search(rf"(?<![\w.]){gold}(?!\w|[.,]\d)", text, re.IGNORECASE) is not None
    return bool(gold) and (alone or verify_answer(item.answer, text).passed)


def left_out(item: PromptItem) -> tuple[PromptItem, list[PromptItem]]:
    """Return the item as its requirements are asked at its end, and one item for each requirement that is left out.

    Raises:
        DataError: the requirements cannot be taken out of the prompt.
    """
    bare, asked = without_constraints(item), item.checklist
    whole = item if item.bare is None else with_constraints(bare, asked)
    rests = [[*asked[:i], *asked[i + 1 :]] for i in range(len(asked))]
    return whole, [with_constraints(bare, rest) if rest else bare for rest in rests]


def relabelled(item: PromptItem, row: Mapping[str, Any], least: float) -> PromptItem | None:
    """Return the prompt that asks only for what a failed rollout met, so that it succeeds there (HiR, 2512.23457).

    ``None`` where there is none: it met all, or fewer than the share ``least``, or nothing; something about it was not
    decided; its answer is wrong, which no choice of requirements makes right; it was cut.

    Args:
        item: the rollout's prompt.
        row: the rollout, as training keeps it.
        least: share of the requirements that it met, at least.

    Raises:
        DataError: the requirements cannot be taken out of the prompt.
    """
    if row["correct"] is False or row["followed"] is not False or not row["finished"]:
        return None
    scores = [part["score"] for part in row["requirements"]]
    met = [requirement for requirement, score in zip(item.checklist, scores, strict=True) if score == 1.0]
    if not met or len(met) == len(scores) or len(met) < least * len(scores):
        return None
    return with_constraints(without_constraints(item), met)
