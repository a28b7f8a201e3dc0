"""Generation by an OpenAI-compatible endpoint: vLLM's or llama.cpp's server, a hosted model."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adhere.evaluation.generation import Generation, Sampling, draw_seed
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError, StageError
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
    ) -> None:
        """Connect to ``base_url``; the key is ``api_key`` or OPENAI_API_KEY, and may be missing for local servers.

        ``timeout`` is in seconds, for one try of one request.

        Raises:
            ConfigError: the ``openai`` package is not installed.
        """
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("backend: openai is not installed; run `pip install 'adhere[judge]'`")
        import openai

        self.name = name or model
        self._model = model
        self._base_url = base_url
        self._concurrency = concurrency
        self._openai = openai
        key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=retries)

    def generate(self, items: Sequence[PromptItem], sampling: Sampling) -> list[list[Generation]]:
        """Return ``sampling.samples`` generations for each item, in order.

        Raises:
            StageError: the endpoint refuses the key or does not know the model.
        """
        n = sampling.samples
        asked = [(item, sample) for item in items for sample in range(n)]
        pool = ThreadPoolExecutor(max_workers=self._concurrency)
        try:
            drawn = list(pool.map(lambda one: self._ask(one[0], one[1], sampling), asked))
        finally:
            pool.shutdown(cancel_futures=True)
        return [drawn[i * n : (i + 1) * n] for i in range(len(items))]

    def _ask(self, item: PromptItem, sample: int, sampling: Sampling) -> Generation:
        messages: Any = [dict(message) for message in item.messages]
        try:
            reply = self._client.chat.completions.create(
                model=self._model,
                messages=messages,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                seed=draw_seed(sampling.seed, item.id, sample) >> (63 - SEED_BITS),
            )
        except (
            self._openai.AuthenticationError,
            self._openai.PermissionDeniedError,
            self._openai.NotFoundError,
        ) as error:
            raise StageError(f"{self._base_url}: refuses model '{self._model}' ({_one_line(error)})") from error
        except (self._openai.OpenAIError, ValueError) as error:
            return Generation("", None, False, error=_one_line(error))
        return _read(reply)


def _read(reply: Any) -> Generation:
    choices = getattr(reply, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        return Generation("", None, False, error="the endpoint's reply has no choice with a message")
    choice = choices[0]
    if choice.finish_reason == "content_filter":
        return Generation("", None, False, error="the endpoint filtered the response")
    text = choice.message.content
    reasoning = getattr(choice.message, "reasoning_content", None) or getattr(choice.message, "reasoning", None)
    if reasoning:
        text = f"{THINK_OPEN}\n{reasoning}" + ("" if text is None else f"\n{THINK_CLOSE}\n\n{text}")
    if text is None:
        return Generation("", None, False, error="the endpoint's reply has no text")
    tokens = reply.usage.completion_tokens if reply.usage is not None else None
    return Generation(text, tokens, choice.finish_reason == "stop")


def _one_line(error: Exception) -> str:
    # openai leaves a body it does not know out of its message: what the server said is in the response.
    response = getattr(error, "response", None)
    said = response.text if response is not None and response.text not in str(error) else ""
    return " ".join(f"{type(error).__name__}: {error} {said}".split())[:300]
