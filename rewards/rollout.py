"""What a reward sees: one response to one prompt item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from adhere.rewards.checklist.requirement import Requirement, parse_checklist
from adhere.rewards.segments import Segments, split_response


@dataclass(frozen=True, slots=True)
class Rollout:
    """A response and everything needed to judge it.

    Attributes:
        prompt: the question with its instructions: the content of the prompt's last message.
        response: the whole text that the model wrote, its reasoning included.
        answer: the gold answer, ``None`` where there is none.
        checklist: the requirements of the prompt, each with ``id``, ``text``, ``weight`` in [0, 100] and ``check``.
        finished: false where generation was cut at the length limit.
        tokens: length of the completion in tokens.
        prefilled: whether the chat template opened ``<think>`` in the prompt.
        id: the prompt item's id; empty where the data set has no column ``item_id``.
        source: where the prompt item comes from; empty where the data set has no column ``source``.
    """

    prompt: str
    response: str
    answer: str | None
    checklist: tuple[Requirement, ...] = ()
    finished: bool = True
    tokens: int = 0
    prefilled: bool = False
    id: str = ""
    source: str = ""

    @property
    def segments(self) -> Segments:
        """The response cut into ``reasoning`` and ``answer`` (the text after the reasoning); either may be ``None``."""
        return split_response(self.response, prefilled=self.prefilled)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: the attributes, and ``segments``, an object of ``reasoning`` and ``answer``."""
        segments = self.segments
        return {
            "id": self.id,
            "source": self.source,
            "prompt": self.prompt,
            "response": self.response,
            "segments": {"reasoning": segments.reasoning, "answer": segments.answer},
            "answer": self.answer,
            "checklist": [requirement.to_dict() for requirement in self.checklist],
            "finished": self.finished,
            "tokens": self.tokens,
            "prefilled": self.prefilled,
        }


def parse_rollout(row: Mapping[str, Any]) -> Rollout:
    """Return the rollout of which ``row`` is the JSON form.

    Raises:
        DataError: its checklist cannot be used.
    """
    values = {key: value for key, value in row.items() if key not in ("segments", "checklist")}
    return Rollout(**values, checklist=checklist_of(json.dumps(row["checklist"])) if row["checklist"] else ())


@lru_cache(maxsize=4096)
def checklist_of(column: str) -> tuple[Requirement, ...]:
    """Parse a checklist's JSON once for all responses to its prompt, so that its constraints stay prepared."""
    return parse_checklist(json.loads(column), where="column 'checklist'")
