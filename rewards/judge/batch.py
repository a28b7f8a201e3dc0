"""One batch of judge calls on the event loop: cache, bounded concurrency, deadline; an outage is told from a fault."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adhere.rewards.errors import StageError
from adhere.rewards.judge.cache import ReplyCache, Scores
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.judge.endpoint import CallError, Endpoint, Reply
from adhere.rewards.judge.parse import expected_yes, parse_list, parse_score, parse_yes_no
from adhere.rewards.judge.prompts import Task, build_prompt
from adhere.rewards.judge.usage import JudgeUsage
from adhere.rewards.verdict import Status

SAVE_EVERY = 256
CONFIRMED_FOR = 5.0
"""Seconds for which a probe that was answered speaks for the endpoint."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of the judge's answer to ``task``; ``key`` names it in the cache."""

    key: bytes
    task: Task


@dataclass(frozen=True, slots=True)
class Outcome:
    """One draw's scores in [0, 1] (``None`` where the reply cannot be read), or ``status`` and why there are none."""

    scores: tuple[float | None, ...]
    status: Status
    detail: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class _Batch:
    waiting: deque[Draw]
    outcomes: dict[bytes, Outcome]
    unsaved: list[tuple[bytes, Scores]] = field(default_factory=list)
    outage: str | None = None
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    answered_probe: float = float("-inf")


class Session:
    """The state of a judge on its event loop: connections and cache."""

    def __init__(self, config: JudgeConfig, endpoint: Endpoint, cache: ReplyCache, usage: JudgeUsage) -> None:
        self._config, self._endpoint, self._cache, self._usage = config, endpoint, cache, usage

    @classmethod
    async def open(cls, config: JudgeConfig, key: str | None, usage: JudgeUsage) -> Session:
        """Make one on the running event loop.

        Raises:
            ConfigError: the cache cannot be opened.
        """
        return cls(config, Endpoint(config, key, usage), ReplyCache(config.cache), usage)

    async def close(self) -> None:
        """Close connections and cache."""
        await self._endpoint.close()
        self._cache.close()

    async def probe(self) -> str | None:
        """Return why the endpoint does not answer, or ``None``."""
        return await self._endpoint.probe()

    async def answer(self, draws: Sequence[Draw], repeated: int) -> tuple[dict[bytes, Outcome], str | None]:
        """Return an outcome for the key of every draw, and the reason where the endpoint was found to be down.

        Args:
            draws: what is asked, with different keys.
            repeated: draws that were left out because they equal one of these; counted as cache hits.
        """
        started = time.monotonic()
        known = self._cache.get([draw.key for draw in draws])
        outcomes = {key: Outcome(scores, Status.OK) for key, scores in known.items()}
        batch = _Batch(deque(draw for draw in draws if draw.key not in known), outcomes)
        self._usage.cache_hits += len(known) + repeated
        self._usage.calls += len(batch.waiting)
        workers = [
            asyncio.create_task(self._work(batch)) for _ in range(min(self._config.concurrency, len(batch.waiting)))
        ]
        try:
            if workers:
                await self._watch(workers, batch)
        finally:
            await _cancel(workers)
            self._save(batch)
            self._usage.seconds += time.monotonic() - started
        late = Outcome((), Status.TIMEOUT, f"the batch took longer than judge.deadline, {self._config.deadline:g} s")
        for draw in draws:
            if draw.key not in batch.outcomes:
                batch.outcomes[draw.key] = late
                self._usage.timeouts += 1
        return batch.outcomes, batch.outage

    async def _watch(self, workers: Iterable[asyncio.Task[None]], batch: _Batch) -> None:
        """Wait for the workers until the deadline; the first error of one of them ends the batch."""
        done, pending = await asyncio.wait(workers, timeout=self._config.deadline, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        if pending and batch.outage is None:
            batch.outage = await self._endpoint.probe()

    async def _work(self, batch: _Batch) -> None:
        while batch.waiting:
            draw = batch.waiting.popleft()
            started = time.monotonic()
            outcome = await self._outcome(draw, batch)
            batch.outcomes[draw.key] = Outcome(
                outcome.scores, outcome.status, outcome.detail, time.monotonic() - started
            )
            if len(batch.unsaved) >= SAVE_EVERY:
                self._save(batch)

    async def _outcome(self, draw: Draw, batch: _Batch) -> Outcome:
        if batch.outage is not None:
            self._usage.errors += 1
            return Outcome((), Status.ERROR, batch.outage)
        task, config = draw.task, self._config
        graded = task.kind == "each"
        message = build_prompt(
            task, yes_no=graded and config.scoring != "scale", max_response_chars=config.max_response_chars
        )
        logprobs = graded and config.scoring == "logprobs"
        seed = int.from_bytes(draw.key[:4], "big") >> 1
        try:
            reply = await self._endpoint.ask(
                message, max_tokens=config.max_tokens * task.scores, seed=seed, logprobs=logprobs
            )
        except CallError as error:
            if error.unavailable:
                await self._look_for_outage(batch)
            timeout = error.status is Status.TIMEOUT
            self._usage.timeouts += timeout
            self._usage.errors += not timeout
            return Outcome((), error.status, error.detail)
        self._count(reply)
        scores = self._read(task, reply)
        if None in scores:
            self._usage.unparsed += 1
            return Outcome(scores, Status.UNPARSED, f"the judge's reply cannot be read: {reply.text[:80]!r}")
        batch.unsaved.append((draw.key, tuple(score for score in scores if score is not None)))
        return Outcome(scores, Status.OK)

    def _read(self, task: Task, reply: Reply) -> tuple[float | None, ...]:
        scoring = self._config.scoring if task.kind == "each" else "scale"
        if task.scores > 1:
            return tuple(parse_list(reply.text, task.scores, yes_no=scoring == "binary", cut=reply.cut))
        if scoring == "scale":
            return (parse_score(reply.text, cut=reply.cut),)
        if scoring == "binary":
            return (parse_yes_no(reply.text),)
        if reply.first is None:
            raise StageError(
                f"judge.scoring: {self._config.address} gives no log-probabilities for '{self._config.model}'; "
                f"use scale or binary, or a server that does (vLLM)"
            )
        return (expected_yes(reply.first),)

    async def _look_for_outage(self, batch: _Batch) -> None:
        """Find out once for all callers whether the endpoint is down or only fails on what it was asked."""
        async with batch.probing:
            if batch.outage is None and time.monotonic() - batch.answered_probe > CONFIRMED_FOR:
                batch.outage = await self._endpoint.probe()
                batch.answered_probe = time.monotonic()

    def _count(self, reply: Reply) -> None:
        self._usage.prompt_tokens += reply.prompt_tokens
        self._usage.completion_tokens += reply.completion_tokens
        price = reply.prompt_tokens * self._config.price_input + reply.completion_tokens * self._config.price_output
        self._usage.cost += price / 1e6

    def _save(self, batch: _Batch) -> None:
        self._cache.put(batch.unsaved)
        batch.unsaved.clear()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
