"""One chat completion from an OpenAI-compatible endpoint, asynchronously, with retries and a deadline."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from adhere.rewards.checklist.generation.config import GenerationConfig
from adhere.rewards.checklist.generation.reply import whole_characters
from adhere.rewards.checklist.generation.usage import Usage
from adhere.rewards.errors import ConfigError, StageError


class CallFailed(Exception):
    """A call without a usable reply; ``unreachable`` says that there was no server to answer it."""

    def __init__(self, reason: str, unreachable: bool = False) -> None:
        """Keep the reason, one line for a human."""
        super().__init__(reason)
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote, and whether it ended by itself."""

    text: str
    finished: bool


class Client:
    """Chat completions for one event loop; use it as ``async with``.

    Raises (on creation):
        ConfigError: the ``openai`` package is not installed.
    """

    def __init__(self, config: GenerationConfig) -> None:
        """Prepare for ``config.base_url``; nothing is sent yet."""
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("checklist generation needs the openai package; run `pip install 'adhere[judge]'`")
        import openai

        self._config = config
        self._openai = openai
        self._client = openai.AsyncOpenAI(
            base_url=config.base_url,
            api_key=os.environ.get(config.api_key_env) or "none",
            timeout=config.timeout,
            max_retries=config.retries,
        )

    async def __aenter__(self) -> Client:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        await self._client.close()

    async def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        usage: Usage,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> Completion:
        """Return one completion and count it in ``usage``; what is not given is the configuration's.

        Raises:
            CallFailed: no reply within the deadline and the retries, or one without text.
            StageError: the endpoint refuses the key or does not know the model or the address: no retry mends that.
        """
        config, openai = self._config, self._openai
        asked: Any = [dict(message) for message in messages]
        name = model or config.model
        try:
            async with asyncio.timeout(config.deadline):
                reply = await self._client.chat.completions.create(
                    model=name,
                    messages=asked,
                    temperature=config.temperature if temperature is None else temperature,
                    max_tokens=max_tokens or config.max_tokens,
                )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise StageError(f"{config.base_url}: refuses model '{name}' ({_one_line(error)})") from error
        except TimeoutError as error:
            raise CallFailed(f"no reply within {config.deadline:g} s", unreachable=True) from error
        except openai.APIConnectionError as error:
            raise CallFailed(f"{config.base_url}: {_one_line(error)}", unreachable=True) from error
        except (openai.OpenAIError, ValueError) as error:
            raise CallFailed(f"{config.base_url}: {_one_line(error)}") from error
        return _read(reply, usage)


def _read(reply: Any, usage: Usage) -> Completion:
    counted = getattr(reply, "usage", None)
    if counted is None:
        usage.add(Usage(calls=1, uncounted=1))
    else:
        usage.add(Usage(1, counted.prompt_tokens or 0, counted.completion_tokens or 0))
    choices = getattr(reply, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise CallFailed("the endpoint's reply has no choice with a message")
    text = choices[0].message.content
    if not isinstance(text, str) or not text.strip():
        raise CallFailed(f"the endpoint's reply has no text (it ended with '{choices[0].finish_reason}')")
    return Completion(whole_characters(text), choices[0].finish_reason != "length")


def _one_line(error: Exception) -> str:
    # openai leaves a body it does not know out of its message: what the server said is in the response.
    response = getattr(error, "response", None)
    said = response.text if response is not None and response.text not in str(error) else ""
    return " ".join(f"{type(error).__name__}: {error} {said}".split())[:300]
