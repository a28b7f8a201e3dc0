"""The client of an HTTP reward: batches of rollouts to an endpoint, with retries and a deadline."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from adhere.rewards.chat import Background
from adhere.rewards.errors import ConfigError, StageError
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

AGAIN = frozenset({408, 409, 425, 429})
REFUSED = {401: "the key", 403: "the key", 404: "the path"}
MAX_BYTES = 64 * 1024 * 1024
MAX_PAUSE = 60.0
PROBE_SECONDS = 15.0


class CallError(Exception):
    """A request without a usable reply. ``again`` says that another try may help, ``unavailable`` that nobody answered.

    ``fault`` says that the endpoint answered, but not as it is documented.
    """

    def __init__(
        self, status: Status, detail: str, *, again: bool = False, unavailable: bool = False, fault: bool = False
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.again, self.unavailable, self.fault = again, unavailable, fault
        self.wait = 0.0


@dataclass(slots=True)
class _Batch:
    outage: str | None = None
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)


class HttpClient:
    """Asks one endpoint for the scores of rollouts; a :class:`rewards.services.Service`.

    Threads may share one, also under a running event loop; a forked child gets connections of its own.

    Args:
        url: the address to which requests are posted.
        key: dotted key of the component, with which messages begin.
        params: object that each request carries beside its rollouts.
        token: sent as ``Authorization: Bearer``; ``None`` sends none.
        batch_size: rollouts of a request.
        concurrency: requests in flight at once.
        timeout: seconds for one try of one request.
        deadline: seconds for one batch of rollouts.
        retries: further tries of a request.
        backoff: seconds before the second try; they double.
        patience: seconds that training waits for an endpoint that went down.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        params: Mapping[str, Any],
        token: str | None,
        batch_size: int,
        concurrency: int,
        timeout: float,
        deadline: float,
        retries: int,
        backoff: float,
        patience: float,
    ) -> None:
        self.title, self.keys = f"the endpoint of {key}", (f"{key}.patience", f"{key}.url")
        self.proven = False
        """Whether a batch has been scored as documented; until then faults of the replies are errors of the recipe."""
        self.patience: float = patience
        self.outage: str | None = None
        self._url, self._key, self._params = url, key, dict(params)
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        self._batch_size, self._concurrency, self._timeout = batch_size, concurrency, timeout
        self._deadline, self._retries, self._backoff = deadline, retries, backoff
        self._lock, self._pid = threading.Lock(), -1

    def forget_outage(self) -> None:
        """Start afresh: the next batch decides whether there is an outage."""
        self.outage = None

    def probe(self) -> str | None:
        """Post a request without rollouts; return why there was no answer, or ``None``."""
        return self._background().run(self._probe())

    def call(self, rollouts: Sequence[Rollout]) -> list[Any]:
        """Return one row for each rollout, in order: a value, ``None``, ``{"error": reason}`` or ``{"late": reason}``.

        Raises:
            ConfigError: before the first whole batch, a reply that is not as documented.
            StageError: the endpoint refuses the key or does not know the path: no further request can do better.
        """
        return self._background().run(self._call([rollout.to_dict() for rollout in rollouts]))

    def close(self) -> None:
        """Close all connections; the client may be used again."""
        with self._lock:
            if self._pid == os.getpid():
                self._thread.run(self._client.aclose())
                self._thread.stop()
            self._pid = -1

    def _background(self) -> Background:
        with self._lock:
            if self._pid != os.getpid():
                self._thread = Background("http reward")
                # No timeout of its own: a server that sends a byte now and then would never meet it.
                self._client = httpx.AsyncClient(
                    headers=self._headers, timeout=None, limits=httpx.Limits(max_connections=self._concurrency + 1)
                )
                self._pid = os.getpid()
            return self._thread

    async def _call(self, rows: list[dict[str, Any]]) -> list[Any]:
        size = self._batch_size
        late = {"late": f"the batch took longer than {self._key}.deadline, {self._deadline:g} s"}
        found: list[Any] = [late] * len(rows)
        batch, slots = _Batch(), asyncio.Semaphore(self._concurrency)

        async def work(start: int) -> None:
            async with slots:
                found[start : start + size] = await self._chunk(rows[start : start + size], batch)

        tasks = [asyncio.create_task(work(start)) for start in range(0, len(rows), size)]
        try:
            if tasks:
                done, pending = await asyncio.wait(tasks, timeout=self._deadline, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                if pending and batch.outage is None:
                    batch.outage = await self._probe()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.outage = self.outage or batch.outage
        return found

    async def _chunk(self, rows: list[dict[str, Any]], batch: _Batch) -> list[Any]:
        """Return the scores of one request's rollouts, or the reason why there are none for each."""
        if batch.outage is not None:
            return [{"error": batch.outage}] * len(rows)
        for attempt in range(self._retries + 1):
            try:
                return _scores(await self._post(rows, self._timeout), len(rows))
            except CallError as error:
                caught = error
                if not error.again or attempt == self._retries:
                    break
                pause = self._backoff * 2**attempt * random.uniform(0.5, 1.5)
                await asyncio.sleep(min(MAX_PAUSE, max(pause, error.wait)))
        if caught.fault and not self.proven:
            raise ConfigError(f"{self._key}.url: {self._url}: {caught.detail}")
        if caught.unavailable:
            # Find out once for all requests whether the endpoint is down or only fails on these rollouts.
            async with batch.probing:
                if batch.outage is None:
                    batch.outage = await self._probe()
        kind = "late" if caught.status is Status.TIMEOUT else "error"
        return [{kind: f"{self._url}: {caught.detail}"}] * len(rows)

    async def _probe(self) -> str | None:
        try:
            await self._post([], min(self._timeout, PROBE_SECONDS))
        except CallError as error:
            return f"{self._url}: {error.detail}" if error.unavailable else None
        return None

    async def _post(self, rows: list[dict[str, Any]], seconds: float) -> bytes:
        content = json.dumps({"rollouts": rows, "params": self._params}).encode()
        raw = bytearray()
        try:
            async with asyncio.timeout(seconds), self._client.stream("POST", self._url, content=content) as response:
                async for chunk in response.aiter_bytes():
                    raw += chunk
                    if len(raw) > MAX_BYTES:
                        raise CallError(Status.ERROR, f"the reply is longer than {MAX_BYTES // 2**20} MiB", again=True)
        except TimeoutError:
            detail = f"no complete reply within {seconds:g} s"
            raise CallError(Status.TIMEOUT, detail, again=True, unavailable=True) from None
        except httpx.RequestError as error:
            detail = f"{type(error).__name__} {error}".rstrip()
            raise CallError(Status.ERROR, detail, again=True, unavailable=True) from error
        code, said = response.status_code, " ".join(raw[:1000].decode("utf-8", "replace").split())[:200]
        if code in REFUSED:
            raise StageError(f"{self._key}.url: {self._url} refuses {REFUSED[code]} ({code} {said})")
        if code != 200:
            down = code in AGAIN or code >= 500
            refusal = CallError(Status.ERROR, f"{code} {said}", again=down, unavailable=down)
            after = response.headers.get("retry-after", "")
            refusal.wait = float(after) if after.isdigit() else 0.0
            raise refusal
        return bytes(raw)


def _scores(raw: bytes, count: int) -> list[Any]:
    """Return the ``count`` scores of a reply.

    Raises:
        CallError: it is not as documented.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        start = raw[:80].decode("utf-8", "replace")
        raise CallError(Status.ERROR, f"the reply is not JSON (it begins {start!r})", again=True, fault=True) from error
    scores = body.get("scores") if isinstance(body, dict) else None
    if not isinstance(scores, list):
        raise CallError(Status.ERROR, "the reply is not an object with a list `scores`", fault=True)
    if len(scores) != count:
        raise CallError(Status.ERROR, f"the reply has {len(scores)} scores for {count} rollouts", fault=True)
    return [_row(score) for score in scores]


def _row(score: Any) -> Any:
    if score is None:
        return None
    if isinstance(score, dict) and isinstance(score.get("error"), str):
        return {"error": score["error"]}
    if isinstance(score, int | float):
        return float(score)
    return {"wrong": f'the score is {json.dumps(score)[:60]}, not a number, null or {{"error": text}}'}
