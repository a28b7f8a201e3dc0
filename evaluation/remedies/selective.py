"""``self_selective``: the model says first whether a prompt needs reasoning (arXiv 2505.11423)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from adhere.evaluation.generation import Generation, Start
from adhere.evaluation.remedies.base import Asked, Model, Remedy, remedy
from adhere.prompts.item import Message
from adhere.rewards.segments import THINK_CLOSE, split_response

DIRECT = Start(f"\n{THINK_CLOSE}\n", reasons=True)
"""The beginning of a response that does not reason: an empty block."""


def respond_selected(model: Model, asked: Sequence[Asked], thinks: Sequence[bool]) -> list[Generation]:
    """Return responses with reasoning where ``thinks`` says so, and with an empty block elsewhere.

    Args:
        model: answers.
        asked: the responses to draw.
        thinks: for each, whether the model is to reason.
    """
    found: list[Generation | None] = [None] * len(asked)
    for wanted in (True, False):
        places = [i for i, think in enumerate(thinks) if think is wanted]
        chosen = [asked[i] for i in places]
        drawn = model.answer(chosen) if wanted else model.answer(chosen, starts=[DIRECT] * len(places))
        for i, generation in zip(places, drawn, strict=True):
            found[i] = replace(generation, applied=not wanted)
    return [generation for generation in found if generation is not None]


@remedy("direct")
class Direct(Remedy):
    """The model answers behind an empty reasoning block: what it can do without reasoning."""

    continues: ClassVar[bool] = True

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        return respond_selected(model, asked, [False] * len(asked))


@remedy("self_selective")
class SelfSelective(Remedy):
    """The model is asked YES or NO: does this prompt need reasoning? At NO it answers behind an empty reasoning block.

    What is neither, or both, counts as YES.
    """

    continues: ClassVar[bool] = True

    text: str = (
        "\n\nDo not answer this request yet. Does it need step-by-step reasoning to be answered well and to meet every "
        "requirement? Reply with one word, YES or NO."
    )
    """What follows the request when the model is asked."""

    tokens: int = Field(default=64, ge=1)
    """Length limit of that reply, its reasoning included."""

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        messages = []
        for one in asked:
            *before, last = one.item.messages
            messages.append([*before, Message(role=last["role"], content=last["content"] + self.text)])
        replies = model.answer(asked, messages=messages, max_new_tokens=min(self.tokens, model.sampling.max_new_tokens))
        thinks = []
        for reply in replies:
            words = split_response(reply.text, prefilled=reply.prefilled).answer or ""
            said = {word.upper() for word in re.findall(r"\b(?:yes|no)\b", words, re.IGNORECASE)}
            thinks.append(said != {"NO"})
        return respond_selected(model, asked, thinks)
