"""One batch of judge calls on the event loop: cache, bounded concurrency, deadline, and outages apart from faults."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from adhere.rewards.chat import ChatClient, Completion, Usage, cancel_tasks
from adhere.rewards.errors import StageError
from adhere.rewards.judge.cache import ReplyCache, Scores
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.judge.parse import expected_yes, parse_list, parse_score, parse_yes_no
from adhere.rewards.judge.prompts import GradingTask, Reply, build_prompt, reply_schema
from adhere.rewards.judge.usage import JudgeUsage
from adhere.rewards.posting import CallError
from adhere.rewards.verdict import Status

SAVE_EVERY = 256
CONFIRMED_FOR = 5.0
"""Seconds for which a probe that was answered speaks for the endpoint."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of the judge's answer to ``task``; ``key`` names it in the cache."""

    key: bytes
    task: GradingTask


@dataclass(frozen=True, slots=True)
class Grade:
    """One draw's scores in [0, 1] (``None`` where the reply cannot be read), or ``status`` and why there are none."""

    scores: tuple[float | None, ...]
    status: Status
    detail: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class _Batch:
    waiting: deque[Draw]
    grades: dict[bytes, Grade]
    unsaved: list[tuple[bytes, Scores]] = field(default_factory=list)
    outage: str | None = None
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    answered_probe: float = float("-inf")


class Session:
    """The state of a judge on its event loop: connections and cache."""

    def __init__(self, config: JudgeConfig, key: str | None, usage: JudgeUsage) -> None:
        """Open the cache; nothing is connected before the first question.

        Raises:
            ConfigError: the cache cannot be opened.
        """
        self._config, self._usage = config, usage
        self._client = ChatClient(
            "judge", config.address, config.model, key,
            concurrency=config.concurrency, timeout=config.timeout, retries=config.retries, backoff=config.backoff,
        )  # fmt: skip
        self._cache = ReplyCache(config.cache)
        self._structured = config.reply != "line"

    @classmethod
    async def open(cls, config: JudgeConfig, key: str | None, usage: JudgeUsage) -> Session:
        """Open a session in the thread of the running event loop, the only one that may use the cache."""
        return cls(config, key, usage)

    async def close(self) -> None:
        """Close connections and cache."""
        await self._client.close()
        self._cache.close()

    async def probe(self) -> str | None:
        """Return why the endpoint does not answer, or ``None``."""
        return await self._client.probe(self._config.extra)

    async def answer(self, draws: Sequence[Draw], repeated: int) -> tuple[dict[bytes, Grade], str | None]:
        """Return a grade for the key of every draw, and the reason where the endpoint was found to be down.

        Args:
            draws: what is asked, with different keys.
            repeated: draws that were left out because they equal one of these; counted as cache hits.
        """
        started, config = time.monotonic(), self._config
        known = self._cache.get([draw.key for draw in draws])
        grades = {key: Grade(scores, Status.OK) for key, scores in known.items()}
        batch = _Batch(deque(draw for draw in draws if draw.key not in known), grades)
        self._usage.cache_hits += len(known) + repeated
        self._usage.calls += len(batch.waiting)
        workers = [asyncio.create_task(self._work(batch)) for _ in range(min(config.concurrency, len(batch.waiting)))]
        try:
            if workers:
                done, late = await asyncio.wait(workers, timeout=config.deadline, return_when=asyncio.FIRST_EXCEPTION)
                for worker in done:
                    worker.result()  # the first error of a worker ends the batch
                if late and batch.outage is None:
                    batch.outage = await self.probe()
        finally:
            await cancel_tasks(workers)
            self._save(batch)
            self._usage.seconds += time.monotonic() - started
        why = f"the batch took longer than judge.deadline, {config.deadline:g} s"
        for draw in draws:
            if draw.key not in grades:
                grades[draw.key] = Grade((), Status.TIMEOUT, why)
                self._usage.timeouts += 1
        return grades, batch.outage

    async def _work(self, batch: _Batch) -> None:
        """Grade what waits. An endpoint that is found to be down is not asked for every item."""
        while batch.waiting:
            draw, started, spent = batch.waiting.popleft(), time.monotonic(), Usage()
            scores: tuple[float | None, ...] = ()
            status, detail = Status.ERROR, batch.outage or ""
            try:
                if batch.outage is None:
                    reply = await self._ask(draw, spent)
                    scores = self._scores(draw.task, reply)
                    if None in scores:
                        spent.retries += 1
                        reply = await self._ask(draw, spent, again=True)
                        second = self._scores(draw.task, reply)
                        scores = tuple(b if a is None else a for a, b in zip(scores, second, strict=True))
                    status = Status.UNPARSED if None in scores else Status.OK
                    said = "it was cut at judge.max_tokens: " if reply.finish_reason == "length" else ""
                    said += repr(self._client.redact(reply.text or "")[:80])
                    detail = f"the judge's reply cannot be read: {said}" if None in scores else ""
            except CallError as error:
                status, detail = Status.TIMEOUT if error.late else Status.ERROR, str(error)
                if error.unavailable:
                    # Find out once for all workers whether the endpoint is down or only fails on what it was asked.
                    async with batch.probing:
                        if batch.outage is None and time.monotonic() - batch.answered_probe > CONFIRMED_FOR:
                            batch.outage = await self.probe()
                            batch.answered_probe = time.monotonic()
            finally:
                self._usage.retries += spent.retries
                self._usage.prompt_tokens += spent.prompt_tokens
                self._usage.completion_tokens += spent.completion_tokens
                self._usage.cost += spent.cost(self._config.price_input, self._config.price_output)
            self._usage.unparsed += status is Status.UNPARSED
            self._usage.errors += status is Status.ERROR
            self._usage.timeouts += status is Status.TIMEOUT
            batch.grades[draw.key] = Grade(scores, status, detail, time.monotonic() - started)
            if status is Status.OK:
                batch.unsaved.append((draw.key, tuple(score for score in scores if score is not None)))
            if len(batch.unsaved) >= SAVE_EVERY:
                self._save(batch)

    async def _ask(self, draw: Draw, spent: Usage, *, again: bool = False) -> Completion:
        """Ask in the form that the endpoint has: a JSON schema until it refuses or ignores one, then a fixed line.

        A reply that cannot be read is asked for ``again``, with another seed.
        """
        task, config = draw.task, self._config
        single = task.kind == "each"
        word = single and config.scoring == "logprobs"
        fields = {
            "max_tokens": config.max_tokens * task.scores,
            "temperature": config.temperature,
            "seed": (int.from_bytes(draw.key[:4], "big") >> 1) ^ again,
        }
        if word:
            fields |= {"logprobs": True, "top_logprobs": 20}

        async def ask(reply: Reply) -> Completion:
            yes_no = single and config.scoring != "scale"
            text = build_prompt(task, yes_no=yes_no, reply=reply, max_response_chars=config.max_response_chars)
            schema = {"response_format": reply_schema(task, yes_no=yes_no)} if reply == "json" else {}
            messages = [{"role": "user", "content": text}]
            return await self._client.complete(messages, fields | schema | config.extra, spent)

        if word or not self._structured:
            return await ask("word" if word else "line")
        try:
            reply = await ask("json")
        except CallError as error:
            if config.reply == "json" or not error.schema:
                raise
            self._structured = False
            return await ask("line")
        said = (reply.text or "").rstrip()
        if config.reply == "auto" and reply.finish_reason != "length" and not said.endswith(("}", "```")):
            self._structured = False  # the schema was ignored; this reply is read as it is
        return reply

    def _scores(self, task: GradingTask, reply: Completion) -> tuple[float | None, ...]:
        scoring = self._config.scoring if task.kind == "each" else "scale"
        text, cut = reply.text or "", reply.finish_reason == "length"
        if task.scores > 1:
            return tuple(parse_list(text, task.scores, yes_no=scoring == "binary", cut=cut))
        if scoring == "scale":
            return (parse_score(text, cut=cut),)
        if scoring == "binary":
            return (parse_yes_no(text, cut=cut),)
        if reply.first is None:
            raise StageError(
                f"judge.scoring: {self._config.address} gives no log-probabilities for '{self._config.model}'; "
                f"use scale or binary, or a server that does (vLLM)"
            )
        return (expected_yes(reply.first),)

    def _save(self, batch: _Batch) -> None:
        self._cache.put(batch.unsaved)
        batch.unsaved.clear()
