"""``few_shot``: worked examples that meet their constraints come before the request (arXiv 2505.11423)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from adhere.evaluation.generation import Generation
from adhere.evaluation.remedies.base import Asked, Model, Remedy, remedy
from adhere.prompts.item import Message, read_items
from adhere.rewards.errors import ConfigError

EXAMPLES = (
    (
        "A box holds 6 pens and there are 7 boxes. How many pens are there? Put the result within \\boxed{}. "
        "Use lower case letters only. Do not use any commas.",
        "seven boxes with six pens each hold 6 * 7 = 42 pens. the result is \\boxed{42}",
    ),
    (
        "Tom had 15 marbles and gave 4 away. How many are left? Put the result within \\boxed{}. "
        "Finish your response with the sentence: That is all.",
        "Tom gave 4 of 15 marbles away, so 15 - 4 = 11 are left: \\boxed{11}. That is all.",
    ),
)
"""Requests and responses that meet them."""


@remedy("few_shot")
class FewShot(Remedy):
    """The first ``shots`` examples stand before the request as earlier turns, behind a system turn."""

    files: ClassVar[Sequence[str]] = ("path",)

    path: str | None = None
    """File of prompt items whose ``target`` is an exemplary response; ``None`` takes two examples of ours."""

    shots: int = Field(default=2, ge=1)
    """Examples that are shown."""

    @cached_property
    def _examples(self) -> list[tuple[Message, ...]]:
        pairs: list[tuple[tuple[Message, ...], str]]
        if self.path is None:
            pairs = [((Message(role="user", content=request),), response) for request, response in EXAMPLES]
        else:
            pairs = [(item.messages, item.target) for item in read_items(Path(self.path)) if item.target is not None]
        if len(pairs) < self.shots:
            raise ConfigError(
                f"remedy.shots: {self.shots}, but {self.path or 'the built-in list'} has {len(pairs)} with a target; "
                f"lower it, or name a file of prompt items with targets in remedy.path"
            )
        return [(*messages, Message(role="assistant", content=text)) for messages, text in pairs[: self.shots]]

    def respond(self, model: Model, asked: Sequence[Asked]) -> list[Generation]:
        shown = [message for example in self._examples for message in example if message["role"] != "system"]
        messages = []
        for one in asked:
            own = one.item.messages
            system = 1 if own[0]["role"] == "system" else 0
            messages.append([*own[:system], *shown, *own[system:]])
        return model.answer(asked, messages=messages)
