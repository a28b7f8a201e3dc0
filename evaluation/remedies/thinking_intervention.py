"""``thinking_intervention``: the reasoning begins with a sentence about the constraints (arXiv 2503.24370)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from adhere.evaluation.generation import Generation, Start
from adhere.evaluation.remedies.base import Asked, Model, Remedy, remedy, unchanged


@remedy("thinking_intervention")
class ThinkingIntervention(Remedy):
    """The model's reasoning is begun for it, with what it must follow. A prompt without constraints stays as it is."""

    continues: ClassVar[bool] = True

    text: str = "I must follow every requirement of the request: {constraints}\n"
    """How the reasoning begins; ``{constraints}`` stands for their texts."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        found: list[Generation | None] = [None] * len(asked)
        plain = [i for i, one in enumerate(asked) if not one.constraints]
        for i, generation in zip(plain, model.answer([asked[i] for i in plain]), strict=True):
            found[i] = unchanged(generation)
        places = [i for i, one in enumerate(asked) if one.constraints]
        starts = [Start(self.text.replace("{constraints}", asked[i].constraints), reasons=True) for i in places]
        for i, generation in zip(places, model.answer([asked[i] for i in places], starts=starts), strict=True):
            found[i] = replace(generation, applied=True)
        return [generation for generation in found if generation is not None]
