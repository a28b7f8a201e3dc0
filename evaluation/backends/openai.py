"""Generation by an OpenAI-compatible endpoint: vLLM's or llama.cpp's server, a hosted model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

from adhere.evaluation.generation import Generation, Sampling, Start, draw_seed
from adhere.prompts.item import PromptItem
from adhere.rewards.chat import Background, ChatClient, Usage, cancel_tasks
from adhere.rewards.errors import ConfigError
from adhere.rewards.posting import CallError
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN

SEED_BITS = 31


class OpenAIGenerator:
    """Chat completions with a bounded number of requests in flight.

    A request is retried with growing pauses; one that still fails becomes a `Generation` with ``error``,
    which is counted and not scored. What no retry can mend (a refused key, an unknown model) stops the run at
    once. Reasoning that the server returns beside the answer is put back into a ``<think>`` block.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str | None = None,
        concurrency: int = 16,
        timeout: float = 600.0,
        retries: int = 4,
        name: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            model: the name that the endpoint knows it by.
            base_url: root of the endpoint, such as ``http://127.0.0.1:8000/v1``.
            api_key: the key; ``None`` takes OPENAI_API_KEY, which may be missing for local servers.
            concurrency: the most requests in flight, at least 1.
            timeout: seconds for one try of one request.
            retries: further tries of a request.
            name: what tables call the model.
            chat_template_kwargs: variables of the server's chat template, which go into every request.

        Raises:
            ConfigError: the address or the key cannot be used.
        """
        self.name = name or model
        self._further = {"chat_template_kwargs": dict(chat_template_kwargs)} if chat_template_kwargs else {}
        self._client = ChatClient(
            "openai back end", base_url, model, api_key or os.environ.get("OPENAI_API_KEY") or None,
            concurrency=concurrency, timeout=timeout, retries=retries,
        )  # fmt: skip
        self._loop = Background("openai")

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in order.

        Raises:
            ConfigError: ``starts`` has a beginning, which an endpoint's chat cannot go on from.
            StageError: the endpoint refuses the key or does not know the model.
        """
        if any(start != Start() for start in starts or ()):
            raise ConfigError(
                "backend: an endpoint cannot go on with a response that is begun, as this remedy asks; use the "
                "transformers or vllm back end, or a remedy that only asks again"
            )
        return self._loop.run(self._generate(items, sampling))

    async def _generate(self, items: Sequence[PromptItem], sampling: Sampling) -> list[list[Generation]]:
        n = sampling.samples
        tasks = [asyncio.create_task(self._draw(item, k, sampling)) for item in items for k in range(n)]
        try:
            drawn = await asyncio.gather(*tasks)
        finally:
            await cancel_tasks(tasks)
        return [drawn[i * n : (i + 1) * n] for i in range(len(items))]

    async def _draw(self, item: PromptItem, sample: int, sampling: Sampling) -> Generation:
        fields: dict[str, Any] = {
            **self._further,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": draw_seed(sampling.seed, item.id, sample) >> (63 - SEED_BITS),
        }
        try:
            reply = await self._client.complete(item.messages, fields, Usage())
        except CallError as error:
            return Generation("", None, False, error=str(error))
        if reply.finish_reason == "content_filter":
            return Generation("", None, False, error="the endpoint filtered the response")
        text = reply.text
        if reply.reasoning:
            text = f"{THINK_OPEN}\n{reply.reasoning}" + ("" if text is None else f"\n{THINK_CLOSE}\n\n{text}")
        if text is None:
            return Generation("", None, False, error="the endpoint's reply has no text")
        return Generation(text, reply.tokens, reply.finish_reason == "stop")
