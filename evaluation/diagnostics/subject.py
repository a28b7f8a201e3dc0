"""A model under diagnosis: prompts as it sees them, its responses cut into phases, and how likely it finds a text.

Shapes: T tokens of a sequence, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adhere.evaluation.backends.transformers import TransformersGenerator
from adhere.evaluation.generation import Generation, Sampling, Start
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.segments import THINK_CLOSE, split_response

Span = tuple[int, int]
"""Half-open range of tokens, or of characters."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A prompt and its response as tokens.

    ``prompt`` tokens come first. ``constraints`` are the places of the constraints' tokens among them; ``phases`` are
    the spans of the response's ``reasoning`` and ``answer``, as far as it has them.
    """

    tokens: list[int]
    prompt: int
    constraints: list[int]
    phases: dict[str, Span]


class Subject:
    """A model behind the transformers back end, greedy, with a length limit for its responses in tokens."""

    def __init__(self, generator: TransformersGenerator, max_new_tokens: int) -> None:
        self.generator = generator
        self.name = generator.name
        self.model: Any = generator.model
        self.tokenizer = generator.tokenizer
        self.sampling = Sampling(0.0, 1.0, max_new_tokens)
        self.model.eval()

    def answer(self, items: Sequence[PromptItem], starts: Sequence[Start] | None = None) -> list[Generation]:
        """Return the greedy response to each item, from its beginning in ``starts``."""
        return [found[0] for found in self.generator.generate(items, self.sampling, starts)]

    def sample(self, items: Sequence[PromptItem], samples: int) -> list[list[Generation]]:
        """Return ``samples`` responses to each item, at temperature 1."""
        return self.generator.generate(items, Sampling(1.0, 1.0, self.sampling.max_new_tokens, samples))

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text of a prompt up to where the model's turn begins."""
        turns = [{"role": message["role"], "content": message["content"]} for message in messages]
        return str(
            self.tokenizer.apply_chat_template(
                turns, chat_template=self.generator.chat_template, add_generation_prompt=True, tokenize=False
            )
        )

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text, without any that the tokenizer would add."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def transcript(self, item: PromptItem, response: str, *, prefilled: bool = False) -> Transcript:
        """Return a prompt and its response as tokens, with the places of constraints and phases."""
        prompt = self.prompt(item.messages)
        encoded = self.tokenizer(prompt + response, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[Span] = encoded["offset_mapping"]

        def inside(start: int, end: int) -> list[int]:
            return [i for i, (low, high) in enumerate(offsets) if low < end and high > start and high > low]

        before = next((i for i, (low, _) in enumerate(offsets) if low >= len(prompt)), len(offsets))
        places: set[int] = set()
        for requirement in item.checklist:
            at = prompt.find(requirement.text) if requirement.text else -1
            while at >= 0:
                places |= set(inside(at, at + len(requirement.text)))
                at = prompt.find(requirement.text, at + len(requirement.text))
        found = split_response(response, prefilled=prefilled)
        head, closed, _ = response.rpartition(THINK_CLOSE)
        cut = len(prompt) + len(head) + len(closed)
        spans = {"reasoning": (len(prompt), cut)} if closed and found.finished_reasoning is not None else {}
        if found.answer is not None:
            spans["answer"] = (cut if spans else len(prompt), len(prompt) + len(response))
        phases = {}
        for phase, (low, high) in spans.items():
            if rows := [i for i in inside(low, high) if i >= before]:
                phases[phase] = (rows[0], rows[-1] + 1)
        return Transcript(list(encoded["input_ids"]), before, sorted(i for i in places if i < before), phases)

    @torch.no_grad()
    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """Return the logits (T, V) behind each token of a sequence, in float32."""
        logits: torch.Tensor = self.model(input_ids=torch.tensor([list(tokens)], device=self.model.device)).logits[0]
        return logits.float()

    def nll(self, before: str, text: str) -> float:
        """Return the mean negative log-likelihood, in nats a token, of ``text`` behind ``before``.

        Both are tokenised together, and what counts are the tokens that hold a character of ``text``.
        """
        encoded = self.tokenizer(before + text, add_special_tokens=False, return_offsets_mapping=True)
        tokens, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
        rows = [i for i, (low, high) in enumerate(offsets) if high > len(before) and high > low and i > 0]
        log_TV = torch.log_softmax(self.logits(tokens), dim=-1)
        return -sum(float(log_TV[i - 1, tokens[i]]) for i in rows) / len(rows)
