"""``bridge``: steps that lead from each constraint to the answer stand in the prompt (after CRGC, arXiv 2606.03624)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adhere.evaluation.generation import Generation
from adhere.evaluation.remedies.base import Asked, Model, Remedy, answer_of, remedy, unchanged
from adhere.prompts.item import Message


@remedy("bridge")
class Bridge(Remedy):
    """The model first turns the constraints into conditions of its own that its text can be checked against.

    They follow the request when it is answered. The paper's wording is not public; this one is ours. A prompt without
    constraints stays as it is.
    """

    text: str = (
        "\n\nDo not answer this request yet. For each of its requirements ({constraints}) write one short condition "
        "that connects it with the rest of the request: what the response has to do, and where, to meet it."
    )
    """What follows the request when the model is asked for conditions; ``{constraints}`` stands for their texts."""

    heading: str = "\n\nConditions that the response has to meet on the way:\n{bridges}"
    """What follows the request when it is answered; ``{bridges}`` stands for the conditions."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        def extended(one: Asked, text: str) -> list[Message]:
            *before, last = one.item.messages
            return [*before, Message(role=last["role"], content=last["content"] + text)]

        found: list[Generation | None] = [None] * len(asked)
        plain = [i for i, one in enumerate(asked) if not one.constraints]
        for i, generation in zip(plain, model.answer([asked[i] for i in plain]), strict=True):
            found[i] = unchanged(generation)
        places = [i for i, one in enumerate(asked) if one.constraints]
        chosen = [asked[i] for i in places]
        questions = [extended(one, self.text.replace("{constraints}", one.constraints)) for one in chosen]
        bridges = model.answer(chosen, messages=questions)
        messages = [
            extended(one, self.heading.replace("{bridges}", answer_of(bridge)))
            for one, bridge in zip(chosen, bridges, strict=True)
        ]
        for i, generation in zip(places, model.answer(chosen, messages=messages), strict=True):
            found[i] = replace(generation, applied=True)
        return [generation for generation in found if generation is not None]
