"""``budget_forcing``: reasoning is cut at a limit, or made longer (s1, arXiv 2501.19393; MathIF, arXiv 2505.14810)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from adhere.evaluation.generation import Generation, Start
from adhere.evaluation.remedies.base import Asked, Model, Remedy, reasoning_of, remedy, unchanged
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN


@remedy("budget_forcing")
class BudgetForcing(Remedy):
    """Reasoning has at most ``limit`` tokens, and goes on ``waits`` times where the model would have ended it.

    Without both, it is plain generation. A response that does not reason, because it opens no block, stays as it is.
    """

    continues: ClassVar[bool] = True

    limit: int | None = Field(default=None, ge=1)
    """Most tokens of the response up to the end of its reasoning; ``None`` is the length limit of the response."""

    waits: int = Field(default=0, ge=0)
    """Times that ``wait`` takes the place of the end of reasoning, while the limit leaves room."""

    wait: str = "Wait"
    """What stands in the place of an end of reasoning."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        limit = self.limit if self.limit is not None and self.limit < model.sampling.max_new_tokens else None
        if limit is None and not self.waits:
            return [unchanged(generation) for generation in model.answer(asked)]
        limited = None if limit is None else [Start(within=limit)] * len(asked)
        found = model.answer(asked, starts=limited)
        cut = [limit is not None and not first.finished and not first.error for first in found]
        changed = [False] * len(asked)

        # Longer: the end of reasoning gives way to ``wait``.
        for _ in range(self.waits):
            thoughts = [None if now.error else reasoning_of(now) for now in found]
            places = [i for i, thought in enumerate(thoughts) if thought is not None]
            starts = [Start(f"{(thoughts[i] or '').rstrip()}\n{self.wait}", within=limit) for i in places]
            again = model.answer([asked[i] for i in places], starts=starts)
            for i, longer in zip(places, again, strict=True):
                if longer.spent != 0:  # else the limit has left no room
                    found[i], cut[i], changed[i] = longer, limit is not None and not longer.finished, True

        # Shorter: what was still being thought at the limit ends there; an answer that was cut is completed.
        places, starts = [], []
        for i, now in enumerate(found):
            if not cut[i]:
                continue
            if reasoning_of(now) is None and (now.prefilled or THINK_OPEN in now.text):
                starts.append(Start(f"{now.text.rstrip()}\n{THINK_CLOSE}\n"))
                changed[i] = True
            else:
                starts.append(Start(now.text))
            places.append(i)
        ended = model.answer([asked[i] for i in places], starts=starts)
        for i, whole in zip(places, ended, strict=True):
            found[i] = whole
        return [replace(now, applied=change) for now, change in zip(found, changed, strict=True)]
