"""Chat completions from an OpenAI-compatible endpoint: bounded in time, size and number, tried again where that helps.

The judge, the writer of checklists and the evaluation's ``openai`` back end share this client.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import httpx

from adhere.rewards.errors import ConfigError, StageError
from adhere.rewards.posting import PROBE_SECONDS, CallError, post, redact, retrying
from adhere.rewards.segments import THINK_CLOSE
from adhere.rewards.strict import check_address

T = TypeVar("T")

REFUSED = {401: "the key", 403: "the key", 404: "the model or the path"}
SCHEMA = re.compile(r"response.?format|json|schema|structured|grammar|guided", re.IGNORECASE)
"""What an endpoint says that does not take a schema for its reply."""
MAX_BYTES = 4 * 1024 * 1024
LONG_KEY = 8
"""Characters of a key that is taken out of completions too; shorter ones, such as EMPTY, stand for no key."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote: ``text``, and ``reasoning`` where the server returns it beside the text.

    ``first`` has the log-probabilities by token of the first word after the reasoning.
    ``tokens`` counts completion tokens; ``None`` where the server does not.
    """

    text: str | None
    reasoning: str | None
    finish_reason: str | None
    first: Mapping[str, float] | None
    tokens: int | None


@dataclass(slots=True)
class Usage:
    """Calls that were answered, further tries, and tokens; ``uncounted`` calls came back without a token count."""

    calls: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def add(self, other: Usage) -> None:
        """Add what ``other`` has counted."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    def cost(self, prompt_price: float, completion_price: float) -> float:
        """Return the cost at these prices of a million tokens."""
        return (self.prompt_tokens * prompt_price + self.completion_tokens * completion_price) / 1e6

    def to_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


def check_key(where: str, key: str | None) -> None:
    """Check that a key can be sent in a header.

    Raises:
        ConfigError: it cannot; the message opens with ``where`` and does not show the key.
    """
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{where}: the key has a character that a header cannot carry; export it without spaces")


class ChatClient:
    """The client of one endpoint; made and used on one event loop.

    ``concurrency`` clients of one connection each: the pool of httpx looks at all of its connections on every request,
    which at 64 of them costs more than the request.
    """

    def __init__(
        self,
        purpose: str,
        base_url: str,
        model: str,
        key: str | None,
        *,
        concurrency: int,
        timeout: float,
        retries: int,
        backoff: float = 0.5,
    ) -> None:
        """Connect to nothing yet.

        Args:
            purpose: who asks; opens the messages of errors.
            base_url: root of the endpoint, such as ``http://127.0.0.1:8000/v1``.
            model: name of the model, as the endpoint knows it.
            key: sent as a bearer token, and never part of a message; ``None`` sends none.
            concurrency: the most calls at once, at least 1.
            timeout: seconds that one try of one call may take.
            retries: further tries of a call that met a dead connection, a timeout, 408, 409, 425, 429, 5xx or a reply
                that cannot be read.
            backoff: seconds before the second try; they double with each further one, ± 50 %, up to 60.
                ``Retry-After`` goes first.

        Raises:
            ConfigError: ``base_url`` is not the address of an endpoint, or holds a password; the key cannot be sent.
        """
        try:
            check_address(base_url)
        except ValueError as error:
            raise ConfigError(f"{purpose}: base_url: {error}") from None
        check_key(purpose, key)
        self.purpose, self.base_url, self.model = purpose, base_url.rstrip("/"), model
        self.timeout, self.retries, self.backoff = timeout, retries, backoff
        self._key = key
        self._tls = httpx.create_ssl_context()
        self._probing = self._client()
        self._all = [self._probing]
        self._idle: asyncio.LifoQueue[httpx.AsyncClient | None] = asyncio.LifoQueue()
        for _ in range(concurrency):
            self._idle.put_nowait(None)

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for client in self._all:
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers={"content-type": "application/json"}
            | ({"authorization": f"Bearer {self._key}"} if self._key else {}),
            limits=httpx.Limits(max_connections=1),
            timeout=None,  # a server that sends a byte now and then would never meet it; see _try
            verify=self._tls,
            follow_redirects=True,
        )

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

    async def complete(
        self, messages: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], usage: Usage
    ) -> Completion:
        """Return the completion of ``messages``, after as many tries as are configured.

        Args:
            messages: the conversation, each with ``role`` and ``content``.
            fields: further fields of the request, such as ``max_tokens``, or another ``model``; a field of ``None`` is
                left out.
            usage: the call, its tries and tokens are added here.

        Raises:
            CallError: no try gave a reply that can be read.
            StageError: the endpoint refuses the key or does not know the model: no further call can do better.
        """

        async def once() -> Completion:
            async with self._slot() as client:
                return await self._try(client, messages, fields, usage, self.timeout)

        def count() -> None:
            usage.retries += 1

        return await retrying(once, retries=self.retries, backoff=self.backoff, count=count)

    async def probe(self, fields: Mapping[str, Any]) -> str | None:
        """Ask for one token, once, beside all calls; return why the endpoint did not answer, or ``None``."""
        messages = [{"role": "user", "content": "Reply with OK."}]
        seconds = min(self.timeout, PROBE_SECONDS)
        try:
            await self._try(self._probing, messages, {"max_tokens": 1, **fields}, Usage(), seconds)
        except CallError as error:
            return str(error) if error.unavailable else None
        return None

    async def _try(
        self,
        client: httpx.AsyncClient,
        messages: Sequence[Mapping[str, Any]],
        fields: Mapping[str, Any],
        usage: Usage,
        seconds: float,
    ) -> Completion:
        url = f"{self.base_url}/chat/completions"
        asked = {"model": self.model, "messages": messages, **fields}
        content = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
        reply = await post(client, url, content, seconds=seconds, max_bytes=MAX_BYTES)
        code = reply.code
        if code == 200:
            return self._read(reply.body, url, usage)
        said = self.redact(" ".join(reply.body.decode("utf-8", "replace").split()))[:300]
        model = asked["model"]
        if code in REFUSED:
            raise StageError(f"{self.purpose}: {url} refuses {REFUSED[code]} for model '{model}' ({code} {said})")
        schema = asked.get("response_format") is not None and (
            code in (422, 501) or (code == 400 and SCHEMA.search(said) is not None)
        )
        # Servers that are pinned to another model answer 400 and name both.
        if code == 400 and not schema and re.search(rf"(?<!\w){re.escape(model)}(?!\w)|model_not_found", said):
            raise StageError(f"{self.purpose}: {url} refuses model '{model}' ({code} {said})")
        raise CallError(f"{url}: {code} {said}", code, wait=reply.wait, schema=schema)

    def _read(self, raw: bytes, url: str, usage: Usage) -> Completion:
        begins = f"(it begins {self.redact(raw.decode('utf-8', 'replace'))[:80]!r})"
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise CallError(f"{url}: the endpoint's reply is not JSON {begins}", 200) from error
        try:
            choice = body["choices"][0]
            text = choice["message"].get("content")
            reasoning = choice["message"].get("reasoning_content") or choice["message"].get("reasoning")
        except (LookupError, TypeError, AttributeError) as error:
            raise CallError(f"{url}: the endpoint's reply has no choice with a message {begins}", 200) from error
        if not isinstance(text, str | None):
            raise CallError(f"{url}: the content of the endpoint's reply is {type(text).__name__}, not text", 200)
        try:
            # The candidates of the first token that is not white space, after the reasoning where there is one.
            tokens = (choice.get("logprobs") or {}).get("content") or []
            ends = [i for i, token in enumerate(tokens) if THINK_CLOSE in token["token"]]
            if len(ends) > 1:
                ends = [len(tokens)]  # where the reasoning ends is not certain, so no word is the first
            word = next((token for token in tokens[ends[-1] + 1 if ends else 0 :] if token["token"].strip()), None)
            listed = (word.get("top_logprobs") or [word]) if word else []
            first = {entry["token"]: float(entry["logprob"]) for entry in listed}
            counted = body.get("usage")
            spent = [int(counted.get(f"{kind}_tokens") or 0) for kind in ("prompt", "completion")] if counted else None
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise CallError(
                f"{url}: the endpoint's reply has unreadable log-probabilities or usage {begins}", 200
            ) from error
        usage.calls += 1
        if spent is None:
            usage.uncounted += 1
        else:
            usage.prompt_tokens += spent[0]
            usage.completion_tokens += spent[1]
        reasoning = reasoning if isinstance(reasoning, str) else None
        if self._key and len(self._key) >= LONG_KEY:
            text, reasoning = (None if said is None else self.redact(said) for said in (text, reasoning))
        return Completion(
            text, reasoning, choice.get("finish_reason"), first if tokens else None, spent[1] if spent else None
        )

    def redact(self, text: str) -> str:
        """Return ``text`` without the key."""
        return redact(text, self._key)


class Background:
    """An event loop in a thread of its own: it runs coroutines for callers whose thread has no loop, or a busy one."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result, or raise what it raised; an interrupt of the caller cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def cancel_tasks(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
