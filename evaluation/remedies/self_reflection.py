"""``self_reflection``: the model reviews its own reasoning and answer, and answers again (arXiv 2505.11423)."""

from __future__ import annotations

from collections.abc import Sequence

from adhere.evaluation.generation import Generation
from adhere.evaluation.remedies.base import Asked, Model, Remedy, answer_of, remedy
from adhere.prompts.item import Message
from adhere.rewards.segments import split_response


@remedy("self_reflection")
class SelfReflection(Remedy):
    """A second turn shows the model its reasoning and asks whether its answer meets every requirement."""

    text: str = (
        "Check your answer against my request. Is the result right, and does the answer meet every requirement? "
        "Correct what is wrong, and write the whole final response again."
    )
    """What the model is asked after its first response."""

    reasoning: str = "Your reasoning was: {reasoning}\n\n"
    """What stands before ``text`` where the response has reasoning: chat templates drop it from earlier turns."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        drawn = model.answer(asked)
        places = [i for i, first in enumerate(drawn) if not first.error]
        messages = []
        for i in places:
            first = drawn[i]
            thought = split_response(first.text, prefilled=first.prefilled).finished_reasoning
            shown = "" if thought is None else self.reasoning.replace("{reasoning}", thought)
            messages.append(
                [
                    *asked[i].item.messages,
                    Message(role="assistant", content=answer_of(first)),
                    Message(role="user", content=shown + self.text),
                ]
            )
        found = list(drawn)
        for i, second in zip(places, model.answer([asked[i] for i in places], messages=messages), strict=True):
            found[i] = second
        return found
