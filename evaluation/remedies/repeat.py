"""``repeat``: the constraints stand once more at the end of the reasoning (MathIF, arXiv 2505.14810)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from adhere.evaluation.generation import Generation, Start
from adhere.evaluation.remedies.base import Asked, Model, Remedy, reasoning_of, remedy, unchanged
from adhere.rewards.segments import THINK_CLOSE


@remedy("repeat")
class Repeat(Remedy):
    """Before the reasoning ends, the constraints are repeated in it; then the model writes its answer anew.

    A response without constraints, without a reasoning block or with one that never ended stays as it is.
    """

    continues: ClassVar[bool] = True

    text: str = "Wait, the answer has to meet these requirements: {constraints}"
    """What is added; ``{constraints}`` stands for their texts."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        drawn = model.answer(asked)
        places, starts = [], []
        for i, (one, first) in enumerate(zip(asked, drawn, strict=True)):
            thought = reasoning_of(first)
            if first.error or thought is None or not one.constraints:
                continue
            said = self.text.replace("{constraints}", one.constraints)
            places.append(i)
            starts.append(Start(f"{thought.rstrip()}\n{said}\n{THINK_CLOSE}\n"))
        again = model.answer([asked[i] for i in places], starts=starts)
        found = [unchanged(first) for first in drawn]
        for i, second in zip(places, again, strict=True):
            found[i] = replace(second, applied=True)
        return found
