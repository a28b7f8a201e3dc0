"""One POST request to an endpoint of the user's: bounded in time and size, and tried again where that can help.

The client of chat completions and that of HTTP rewards share it, and with it what an outage is.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

T = TypeVar("T")

AGAIN = frozenset({408, 409, 425, 429})
MAX_PAUSE = 60.0
PROBE_SECONDS = 15.0
"""Seconds after which an endpoint that is only asked whether it answers counts as down."""


def redact(text: str, key: str | None) -> str:
    """Return ``text`` without ``key``, as it is, URL-encoded or in base64: endpoints echo what they were sent."""
    if key:
        encoded = base64.b64encode(key.encode()).decode().rstrip("=")
        for form in (key, urllib.parse.quote(key, safe=""), urllib.parse.quote_plus(key), encoded):
            text = text.replace(form, "***")
    return text


class CallError(Exception):
    """A request without a usable reply; the message is one line that names the address.

    Args:
        detail: the message.
        code: the reply's HTTP status; ``None`` where no reply was complete.
        late: time ran out.
        wait: seconds after which the endpoint wants to be asked again.
        schema: the endpoint does not take the schema that the request named for its reply.
    """

    def __init__(
        self, detail: str, code: int | None, *, late: bool = False, wait: float = 0.0, schema: bool = False
    ) -> None:
        super().__init__(detail)
        self.code, self.late, self.wait, self.schema = code, late, wait, schema

    @property
    def unavailable(self) -> bool:
        """Whether the endpoint did not answer, whatever was asked."""
        return self.code is None or self.code in AGAIN or self.code >= 500


@dataclass(frozen=True, slots=True)
class Response:
    """A complete reply: its HTTP status, its body, and the seconds that ``Retry-After`` names."""

    code: int
    body: bytes
    wait: float


async def post(
    client: httpx.AsyncClient, url: str, content: bytes, *, seconds: float, max_bytes: int, shown: str | None = None
) -> Response:
    """Post ``content`` once and return the whole reply, whatever its status.

    Args:
        client: without a timeout of its own: a server that sends a byte now and then would never meet it.
        url: the address.
        content: the body of the request, JSON.
        seconds: that the exchange may take from its start to the last byte.
        max_bytes: of the longest reply.
        shown: what opens the messages of errors, where it is not ``url``.

    Raises:
        CallError: no complete reply in time, a broken connection, or a reply that is too long.
    """
    shown = url if shown is None else shown
    raw = bytearray()
    try:
        async with asyncio.timeout(seconds), client.stream("POST", url, content=content) as response:
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > max_bytes:
                    raise CallError(f"{shown}: the reply is longer than {max_bytes // 2**20} MiB", 200)
    except TimeoutError:
        raise CallError(f"{shown}: no complete reply within {seconds:g} s", None, late=True) from None
    except httpx.RequestError as error:
        raise CallError(f"{shown}: {type(error).__name__} {error}".rstrip(), None) from error

    # Retry-After holds a number of seconds or a date (RFC 9110, section 10.2.3).
    after = response.headers.get("retry-after", "").strip()
    try:
        wait = float(after) if after.isdigit() else parsedate_to_datetime(after).timestamp() - time.time()
    except ValueError:
        wait = 0.0
    return Response(response.status_code, bytes(raw), max(0.0, wait))


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    retries: int,
    backoff: float,
    late: bool = True,
    count: Callable[[], None] = lambda: None,
) -> T:
    """Return what ``call`` returns, after as many tries as are allowed.

    Args:
        call: one try. It is repeated after a ``CallError`` of an endpoint that did not answer, or whose reply (of
            status 200) cannot be read.
        retries: further tries, at least 0.
        backoff: seconds before the second try; they double with each further one, ± 50 %, up to ``MAX_PAUSE``.
            ``Retry-After`` goes first.
        late: repeat what ran out of time too.
        count: called before each further try.

    Raises:
        CallError: that of the last try.
    """
    for attempt in range(retries + 1):
        try:
            return await call()
        except CallError as error:
            repeat = (error.unavailable or error.code == 200) and (late or not error.late)
            if not repeat or attempt == retries:
                raise
            pause = backoff * 2**attempt * random.uniform(0.5, 1.5)
            pause = min(MAX_PAUSE, max(pause, error.wait))
        count()
        await asyncio.sleep(pause)
    raise AssertionError("the last try returns or raises")
