"""One checklist from one instruction: ask, have faults repaired once, review, map to rules."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adhere.rewards.chat import ChatClient, Usage
from adhere.rewards.checklist.generation import prompts
from adhere.rewards.checklist.generation.config import GenerationConfig
from adhere.rewards.checklist.generation.reply import Draft, Reply, Unreadable, parse_object, read_reply
from adhere.rewards.checklist.generation.review import Candidate, Drop, Review, drop, keep_heaviest, review
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints.text.languages import LANGUAGES, matches
from adhere.rewards.files import whole_characters
from adhere.rewards.posting import CallError

UNIVERSAL: tuple[Draft, ...] = (
    Draft("Is everything in the response there to address the request?", 50.0),
    Draft("Does the style of the response suit the context of the request?", 50.0),
)
"""RLCF's universal requirement (arXiv 2507.18624), which joins these two at weight 100. Two of 50 keep both its share
of the score and the rule that a requirement tests one thing."""

_FOREIGN = "|".join(name.split(" (")[0] for name in LANGUAGES.values() if name != "English")
_OTHER_LANGUAGE = re.compile(rf"\b(?:{_FOREIGN})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WritingTask:
    """An instruction that wants a checklist.

    ``question`` is the problem without its instructions where that is known, ``existing`` the rows of the checklist
    that the item has already, and ``candidates`` responses that need not be generated.
    """

    id: str
    instruction: str
    reference: str | None = None
    question: str | None = None
    candidates: Sequence[str] = ()
    existing: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class Written:
    """What came of a task: the rows of its new requirements, or ``error``; what was dropped, flagged and spent."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    unreachable: bool = False
    dropped: list[Drop] = field(default_factory=list)
    flagged: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    def report(self) -> dict[str, Any]:
        """Return the JSON form of all but the rows."""
        return {
            "status": "ok" if self.error is None else "failed",
            "error": self.error,
            "dropped": [{"text": d.text, "reason": d.reason} for d in self.dropped],
            "flagged": self.flagged,
            "notes": self.notes,
            "usage": self.usage.to_dict(),
        }


def connect(config: GenerationConfig) -> ChatClient:
    """Return a client of the endpoint that ``config`` names, for the running event loop; nothing is sent yet.

    Raises:
        ConfigError: the address or the key cannot be used.
    """
    return ChatClient(
        "checklist generate", config.base_url, config.model, os.environ.get(config.api_key_env) or None,
        concurrency=config.concurrency, timeout=config.timeout, retries=config.retries,
    )  # fmt: skip


class Writer:
    """Writes checklists as its configuration says."""

    def __init__(self, client: ChatClient, config: GenerationConfig) -> None:
        """Write with ``client``."""
        self._client = client
        self._config = config

    async def write(self, task: WritingTask) -> Written:
        """Return the checklist of ``task``; what goes wrong with only this one is its ``error``.

        Raises:
            StageError: the endpoint refuses every request.
        """
        made = Written()
        try:
            reply = await self._ask(task, made)
            kept = await self._reviewed(task, reply, made)
        except CallError as failure:
            made.error, made.unreachable = str(failure), failure.code is None
            return made
        except Unreadable as fault:
            made.error = f"the reply: {fault}"
            return made
        low, _ = self._config.items
        if len(kept) < low:
            reasons = "".join(f"; dropped '{d.text}' ({d.reason})" for d in made.dropped)
            made.error = f"{len(kept)} usable requirements, at least {low} wanted{reasons}"
            return made
        taken = {str(row["id"]) for row in task.existing}
        free = (f"r{n}" for n in range(1, len(kept) + len(taken) + 1) if f"r{n}" not in taken)
        made.rows = [one.row(name) for one, name in zip(kept, free, strict=False)]
        return made

    async def _ask(self, task: WritingTask, made: Written) -> Reply:
        """Ask for the drafts, with candidates where the method wants them.

        A reply with faults is sent back once, with the faults named.
        """
        config, items = self._config, self._config.items
        if config.method == "rar":
            messages = prompts.rubric_messages(task.instruction, items=items, reference=task.reference)
        else:
            candidates = list(task.candidates) if config.method == "candidates" else []
            if config.method == "candidates" and not candidates:
                # From other models at RLCF's temperature 0.6, or from this one at 0.6 rising to 1.3.
                for i in range(config.candidates):
                    models = config.candidate_models
                    text, _ = await self._complete(
                        [{"role": "user", "content": task.instruction}],
                        made,
                        model=models[i % len(models)] if models else config.model,
                        temperature=0.6 if models else 0.6 + 0.7 * i / (config.candidates - 1),
                        max_tokens=config.candidate_tokens,
                    )
                    candidates.append(text)
            messages = prompts.checklist_messages(
                task.instruction, items=items, candidates=candidates, reference=task.reference
            )
        first, faults, said = await self._try(messages, made)
        if not faults:
            assert first is not None
            return first
        made.notes.append(f"sent back for repair: {'; '.join(faults)}")
        again = [*messages, {"role": "assistant", "content": said}, prompts.repair_message(faults)]
        second, remaining, _ = await self._try(again, made)
        reply = second or first
        if reply is None:
            raise Unreadable(f"{remaining[0]}, also after it was sent back once")
        if second is None:
            made.notes.append(f"the repaired reply was worse and not taken: {remaining[0]}")
        return reply

    async def _try(self, messages: prompts.Messages, made: Written) -> tuple[Reply | None, list[str], str]:
        """Return the reply if it can be read, its faults, and its words."""
        text, cut = await self._complete(messages, made)
        if cut:
            return None, [f"it was cut off after {self._config.max_tokens} tokens"], text
        try:
            reply = read_reply(text, categories=self._config.method == "rar")
        except Unreadable as fault:
            return None, [str(fault)], text
        low, high = self._config.items
        count = len(reply.drafts) + len(reply.refused)
        faults = [f"'{text}' {reason}" for text, reason in reply.refused]
        if not low <= count <= high:
            faults.append(f"it has {count} requirements, {low} to {high} were asked for")
        return reply, faults, text

    async def _complete(self, messages: prompts.Messages, made: Written, **fields: Any) -> tuple[str, bool]:
        """Return what the model wrote, and whether the token limit ended it.

        Raises:
            CallError: no reply within the deadline and the tries, or one without text.
        """
        config = self._config
        asked = {"temperature": config.temperature, "max_tokens": config.max_tokens} | fields
        try:
            async with asyncio.timeout(config.deadline):
                reply = await self._client.complete(messages, asked, made.usage)
        except TimeoutError as error:
            raise CallError(f"{config.base_url}: no reply within {config.deadline:g} s", None, late=True) from error
        if reply.text is None or not reply.text.strip():
            why = f"the endpoint's reply has no text (it ended with '{reply.finish_reason}')"
            raise CallError(f"{config.base_url}: {why}", 200)
        return whole_characters(reply.text), reply.finish_reason == "length"

    async def _reviewed(self, task: WritingTask, reply: Reply, made: Written) -> list[Candidate]:
        made.notes += reply.notes
        made.dropped += [Drop(text, reason) for text, reason in reply.refused]
        existing = []
        for row in task.existing:
            check = row["check"]
            rule = RuleCheck(check["constraint"], dict(check.get("kwargs") or {})) if "constraint" in check else None
            existing.append(Candidate(str(row["text"]), float(row.get("weight", 100.0)), rule, fixed=True))
        # English only where the instruction names no other language that the response could be in.
        english = matches(task.instruction, "en")[0] and not _OTHER_LANGUAGE.search(task.instruction)
        reviewed = review([*reply.drafts], existing=existing, question=task.question, english=english)
        if self._config.contradictions and len(reviewed.kept) > 1:
            await self._ask_contradictions(task, reviewed, made)
        keep_heaviest(reviewed, self._config.items[1])
        made.dropped += reviewed.dropped
        made.flagged = reviewed.flagged
        if not self._config.universal:
            return reviewed.kept
        universal = [Candidate(draft.text, draft.weight, None) for draft in UNIVERSAL]
        return [*reviewed.kept, *universal] if reviewed.kept else []

    async def _ask_contradictions(self, task: WritingTask, reviewed: Review, made: Written) -> None:
        """Have the model name pairs that exclude each other, and drop the lighter one of each."""
        texts = [one.text for one in reviewed.kept]
        text, _ = await self._complete(prompts.contradiction_messages(task.instruction, texts), made)
        rows = parse_object(text)[0].get("contradictions")
        if not isinstance(rows, list):
            raise Unreadable("the list of contradictions is missing")
        for row in rows:
            whole = isinstance(row, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in row)
            if not whole or len(row) != 2 or not all(1 <= n <= len(texts) for n in row) or row[0] == row[1]:
                raise Unreadable(f"{row!r} is not a pair of numbers from 1 to {len(texts)}")
        losers: dict[int, str] = {}
        for a, b in ((one - 1, other - 1) for one, other in rows):
            if a in losers or b in losers:
                continue
            loser, winner = (a, b) if reviewed.kept[a].weight < reviewed.kept[b].weight else (b, a)
            losers[loser] = f"contradicts, says the model: {texts[winner]}"
        drop(reviewed, lambda place, _: losers.get(place))
