"""``sft_as_context``: the model that was tuned answers, and its parent rewrites the answer to what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from adhere.evaluation.generation import Generation
from adhere.evaluation.remedies.base import Asked, Model, Remedy, answer_of, remedy
from adhere.prompts.item import Message


@remedy("sft_as_context")
class SftAsContext(Remedy):
    """The parent, which still follows instructions, rewrites the tuned model's answer: what training has to beat."""

    models: ClassVar[Sequence[str]] = ("parent",)

    parent: str = Field(min_length=1)
    """Folder or hub id of the model that the measured one was tuned from; the same back end answers for it."""

    text: str = (
        "Rewrite this draft into your final response. Keep its result, and meet every requirement of my request."
    )
    """What the parent is asked after the request and the draft."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        parent = model.load(self.parent)
        drafts = model.answer(asked)
        places = [i for i, draft in enumerate(drafts) if not draft.error]
        messages = [
            [
                *asked[i].item.messages,
                Message(role="assistant", content=answer_of(drafts[i])),
                Message(role="user", content=self.text),
            ]
            for i in places
        ]
        found = list(drafts)
        rewritten = model.answer([asked[i] for i in places], messages=messages, by=parent)
        for i, final in zip(places, rewritten, strict=True):
            found[i] = final
        return found
