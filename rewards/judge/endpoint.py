"""One call of an OpenAI-compatible chat endpoint: bounded in time and size, tried again where that can help."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from adhere.rewards.errors import StageError
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.judge.usage import JudgeUsage
from adhere.rewards.segments import THINK_CLOSE
from adhere.rewards.verdict import Status

AGAIN = frozenset({408, 409, 425, 429})
REFUSED = {401: "the key", 403: "the key", 404: "the model or the path"}
MAX_BYTES = 4 * 1024 * 1024
MAX_PAUSE = 60.0
PROBE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said; ``first`` has the log-probabilities by token of the first word after its reasoning.

    ``cut`` says that the token limit ended it.
    """

    text: str
    first: Mapping[str, float] | None
    cut: bool
    prompt_tokens: int
    completion_tokens: int


class CallError(Exception):
    """A call without a usable reply. ``unavailable`` says that the endpoint did not answer, whatever was asked."""

    def __init__(
        self, status: Status, detail: str, *, again: bool, unavailable: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.again, self.unavailable, self.wait = again, unavailable, wait


class Endpoint:
    """The client of one judge; made and used on one event loop.

    ``concurrency`` clients of one connection each: the pool of httpx looks at all of its connections on every request,
    which at 64 of them costs more than the request.
    """

    def __init__(self, config: JudgeConfig, key: str | None, usage: JudgeUsage) -> None:
        self.config, self.usage = config, usage
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._tls = httpx.create_ssl_context()
        self._probing = self._client()
        self._all = [self._probing]
        self._idle: asyncio.LifoQueue[httpx.AsyncClient | None] = asyncio.LifoQueue()
        for _ in range(config.concurrency):
            self._idle.put_nowait(None)

    def _client(self) -> httpx.AsyncClient:
        # No timeout of its own: a server that sends a byte now and then would never meet it.
        limits = httpx.Limits(max_connections=1)
        return httpx.AsyncClient(headers=self._headers, limits=limits, timeout=None, verify=self._tls)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[httpx.AsyncClient]:
        """Wait for one of the clients that may be busy at once; a client is made when it is first needed."""
        client = await self._idle.get()
        if client is None:
            client = self._client()
            self._all.append(client)
        try:
            yield client
        finally:
            self._idle.put_nowait(client)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._all:
            await client.aclose()

    async def ask(self, message: str, *, max_tokens: int, seed: int, logprobs: bool = False) -> Reply:
        """Return the reply to ``message``, after as many tries as are configured.

        Raises:
            CallError: no try gave a reply that can be read.
            StageError: the endpoint refuses the key or does not know the model: no further call can do better.
        """
        body: dict[str, Any] = {"max_tokens": max_tokens, "temperature": self.config.temperature, "seed": seed}
        body |= {"logprobs": True, "top_logprobs": 20} if logprobs else {}
        content = self._content(message, body)
        for attempt in range(self.config.retries + 1):
            try:
                async with self._slot() as client:
                    return await self._try(client, content, self.config.timeout)
            except CallError as error:
                if not error.again or attempt == self.config.retries:
                    raise
                pause = self.config.backoff * 2**attempt * random.uniform(0.5, 1.5)
                pause = min(MAX_PAUSE, max(pause, error.wait))
            self.usage.retries += 1
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def probe(self) -> str | None:
        """Ask for one token, once; return why that failed, or ``None``."""
        try:
            content = self._content("Reply with OK.", {"max_tokens": 1})
            await self._try(self._probing, content, min(self.config.timeout, PROBE_SECONDS))
        except CallError as error:
            return error.detail if error.unavailable else None
        return None

    def _content(self, message: str, body: Mapping[str, Any]) -> bytes:
        whole = {"model": self.config.model, "messages": [{"role": "user", "content": message}], **body}
        whole |= self.config.extra
        return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()

    async def _try(self, client: httpx.AsyncClient, content: bytes, seconds: float) -> Reply:
        url = self.config.address + "/chat/completions"
        try:
            async with asyncio.timeout(seconds), client.stream("POST", url, content=content) as response:
                raw = await _read(response)
        except TimeoutError:
            detail = f"{url}: no complete reply within {seconds:g} s"
            raise CallError(Status.TIMEOUT, detail, again=True, unavailable=True) from None
        except httpx.RequestError as error:
            detail = f"{url}: {type(error).__name__} {error}".rstrip()
            raise CallError(Status.ERROR, detail, again=True, unavailable=True) from error
        if response.status_code != 200:
            raise self._refusal(response, raw, url)
        return _reply(raw, url)

    def _refusal(self, response: httpx.Response, raw: bytes, url: str) -> CallError | StageError:
        code, said = response.status_code, " ".join(raw.decode("utf-8", "replace").split())[:200]
        model = self.config.model
        if code in REFUSED:
            return StageError(f"judge: {url} refuses {REFUSED[code]} for model '{model}' ({code} {said})")
        # Servers that are pinned to another model answer 400 and name both.
        if code == 400 and (model in said or "model_not_found" in said):
            return StageError(f"judge: {url} refuses model '{model}' ({code} {said})")
        unavailable = code in AGAIN or code >= 500
        wait = _retry_after(response.headers.get("retry-after")) if unavailable else 0.0
        return CallError(Status.ERROR, f"{url}: {code} {said}", again=unavailable, unavailable=unavailable, wait=wait)


async def _read(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for chunk in response.aiter_bytes():
        raw += chunk
        if len(raw) > MAX_BYTES:
            detail = f"{response.url}: the reply is longer than {MAX_BYTES // 2**20} MiB"
            raise CallError(Status.ERROR, detail, again=True)
    return bytes(raw)


def _retry_after(value: str | None) -> float:
    """Return the header's seconds; it holds a number or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return 0.0
    try:
        return max(
            0.0, float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
        )
    except ValueError:
        return 0.0


def _reply(raw: bytes, url: str) -> Reply:
    try:
        body = json.loads(raw)
        choice = body["choices"][0]
        text = choice["message"].get("content")
        usage = body.get("usage") or {}
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        first = _first_word(choice.get("logprobs"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        start = raw[:80].decode("utf-8", "replace")
        detail = f"{url}: the reply is no chat completion ({type(error).__name__}; it begins {start!r})"
        raise CallError(Status.ERROR, detail, again=True) from error
    if text is not None and not isinstance(text, str):
        raise CallError(Status.ERROR, f"{url}: the reply's content is {type(text).__name__}, not text", again=True)
    return Reply(text or "", first, choice.get("finish_reason") == "length", *tokens)


def _first_word(logprobs: Any) -> Mapping[str, float] | None:
    """Return the candidates of the first token that is no white space, after the reasoning where there is one."""
    tokens = logprobs["content"] if logprobs else None
    if not tokens:
        return None
    ends = [i for i, token in enumerate(tokens) if THINK_CLOSE in token["token"]]
    for token in tokens[ends[-1] + 1 if ends else 0 :]:
        if token["token"].strip():
            listed = token.get("top_logprobs") or [token]
            return {entry["token"]: float(entry["logprob"]) for entry in listed}
    return None
