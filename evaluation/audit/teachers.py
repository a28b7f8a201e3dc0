"""What a self-teacher is shown, looked at for the gold answer: feedback must not tell it."""

from __future__ import annotations

from collections.abc import Sequence

from adhere.prompts.item import PromptItem
from adhere.prompts.privileged import Sibling, all_wrong, feedback_note, tells_answer


def feedback_leaks(items: Sequence[PromptItem], sibling: Sibling) -> list[tuple[str, str]]:
    """Return the id of each item whose feedback can tell the gold answer, with the line that does.

    The feedback is that of a rollout that got everything wrong, beside a sibling that got everything right.

    Args:
        items: prompts.
        sibling: when a sibling is shown.
    """
    found = []
    for item in items:
        right = {"correct": item.answer is not None or None, "followed": bool(item.checklist) or None}
        other = right | {"response": f"The final answer is \\boxed{{{item.answer}}}.", "requirements": []}
        text = feedback_note(item, all_wrong(item), [other], sibling).text or ""
        lines = [line.removeprefix("- ") for line in text.splitlines()]
        if (line := next((line for line in lines if tells_answer(line, item)), None)) is not None:
            found.append((item.id, line))
    return found
