"""The client of an HTTP reward: batches of rollouts to an endpoint, with retries and a deadline."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from adhere.rewards.chat import Background, cancel_tasks
from adhere.rewards.errors import ConfigError, StageError
from adhere.rewards.posting import PROBE_SECONDS, CallError, post, redact, retrying
from adhere.rewards.rollout import Rollout

REFUSED = {401: "the key", 403: "the key", 404: "the path"}
MAX_BYTES = 64 * 1024 * 1024


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
        self._url, self._key, self._params, self._token = url, key, dict(params), token
        self._shown = url.partition("?")[0]
        """The address in messages: a query may hold a key."""
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

    def call(self, rollouts: Sequence[Rollout], seconds: float | None = None) -> list[Any]:
        """Return one row for each rollout, in order: a value, ``None``, ``{"error": reason}`` or ``{"late": reason}``.

        A request that takes too long while the endpoint answers others is asked again rollout by rollout, so that one
        on which the endpoint hangs costs no other. ``seconds`` is for one try, where it differs from ``timeout``.

        Raises:
            ConfigError: before the first whole batch, a reply that is not as documented.
            StageError: the endpoint refuses the key or does not know the path: no further request can do better.
        """
        return self._background().run(
            self._call([rollout.to_dict() for rollout in rollouts], self._timeout if seconds is None else seconds)
        )

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

    async def _call(self, rows: list[dict[str, Any]], seconds: float) -> list[Any]:
        size = self._batch_size
        late = {"late": f"the batch took longer than {self._key}.deadline, {self._deadline:g} s"}
        found: list[Any] = [late] * len(rows)
        batch, slots = _Batch(), asyncio.Semaphore(self._concurrency)

        async def work(start: int) -> None:
            async with slots:
                found[start : start + size] = await self._chunk(rows[start : start + size], batch, seconds)

        tasks = [asyncio.create_task(work(start)) for start in range(0, len(rows), size)]
        try:
            if tasks:
                done, pending = await asyncio.wait(tasks, timeout=self._deadline, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                if pending and batch.outage is None:
                    batch.outage = await self._probe()
        finally:
            await cancel_tasks(tasks)
        self.outage = self.outage or batch.outage
        return found

    async def _chunk(self, rows: list[dict[str, Any]], batch: _Batch, seconds: float) -> list[Any]:
        """Return the scores of one request's rollouts, or the reason why there are none for each."""
        if batch.outage is not None:
            return [{"error": batch.outage}] * len(rows)

        async def once() -> Any:
            raw = await self._post(rows, seconds)
            try:
                return json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise CallError(f"{self._shown}: the reply is not JSON (it begins {raw[:80]!r})", 200) from error

        try:
            # A request of several rollouts that is late is not repeated as it is: one of them may be to blame.
            body = await retrying(once, retries=self._retries, backoff=self._backoff, late=len(rows) == 1)
            scores = body.get("scores") if isinstance(body, dict) else None
            if not isinstance(scores, list):
                raise CallError(f"{self._shown}: the reply is not an object with a list `scores`", 200)
            if len(scores) != len(rows):
                raise CallError(f"{self._shown}: the reply has {len(scores)} scores for {len(rows)} rollouts", 200)
        except CallError as error:
            if error.code == 200 and not self.proven:
                raise ConfigError(f"{self._key}.url: {error}") from error
            if error.unavailable:
                # Find out once for all requests whether the endpoint is down or only fails on these rollouts.
                async with batch.probing:
                    if batch.outage is None:
                        batch.outage = await self._probe()
            if error.unavailable and batch.outage is None and len(rows) > 1:
                return [(await self._chunk([row], batch, seconds))[0] for row in rows]
            return [{"late" if error.late else "error": str(error)}] * len(rows)

        found: list[Any] = []
        for score in scores:
            if score is None:
                found.append(None)
            elif isinstance(score, dict) and isinstance(score.get("error"), str):
                found.append({"error": score["error"]})
            elif isinstance(score, int | float):
                found.append(float(score))
            else:
                said = json.dumps(score)[:60]
                found.append({"wrong": f'the score is {said}, not a number, null or {{"error": text}}'})
        return found

    async def _probe(self) -> str | None:
        try:
            await self._post([], min(self._timeout, PROBE_SECONDS))
        except CallError as error:
            return str(error) if error.unavailable else None
        return None

    async def _post(self, rows: list[dict[str, Any]], seconds: float) -> str:
        content = json.dumps({"rollouts": rows, "params": self._params}).encode()
        reply = await post(self._client, self._url, content, seconds=seconds, max_bytes=MAX_BYTES, shown=self._shown)
        body = redact(reply.body.decode("utf-8", "replace"), self._token)
        if reply.code == 200:
            return body
        said = " ".join(body.split())[:200]
        if reply.code in REFUSED:
            raise StageError(f"{self._key}.url: {self._shown} refuses {REFUSED[reply.code]} ({reply.code} {said})")
        raise CallError(f"{self._shown}: {reply.code} {said}", reply.code, wait=reply.wait)
