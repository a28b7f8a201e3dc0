"""Responses that were made elsewhere, in place of a model: read from a file and matched with the prompts of a suite.

A row is ``{prompt or key, response}``; the samples of lm-evaluation-harness and the details of lighteval are read as
they write them, and so is the ``responses.parquet`` of an earlier evaluation.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation, Sampling, Start
from adhere.prompts.item import PromptItem, Row, read_rows
from adhere.rewards.errors import DataError

FORM = (
    "a row is {prompt or key, response}, a sample of lm-evaluation-harness {doc, resps} or a detail of lighteval "
    "{doc, model_response}"
)
SAME_PROMPT = 0.9
"""Similarity (difflib's ratio) from which two texts under one key are versions of one prompt."""

KEYS = ("key", "id", "unique_id")
"""Columns whose value names an item, the first that a row has."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one row says: the responses, and the prompts and the key by which it can be matched."""

    where: str
    responses: tuple[Generation, ...]
    key: str | None
    prompts: tuple[str, ...]
    whole: bool = True
    """Whether the prompts are the item's alone; a harness may have put a template or examples around it."""

    sampled: bool = False
    """Whether the row says that it is one of several samples of its prompt."""


@dataclass(slots=True)
class ReplayGenerator:
    """Gives the items of a suite the responses of a file; ``counts`` says what of either was left over.

    ``counts`` holds the rows of the file, those of them that match no item (``unknown``), the items without a response
    (``missing``), the responses that are blank (``empty``), and the rows whose key matched and whose prompt is another
    version of the suite's (``reworded``).
    """

    name: str
    path: Path
    found: dict[str, list[Generation]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, items: Sequence[PromptItem], name: str) -> ReplayGenerator:
        """Read ``path`` and match its rows with ``items``, by key or by the stripped text of the prompt.

        Several rows of one prompt are samples where every matched item has equally many, or where the rows number
        them in ``sample``.

        Raises:
            DataError: a row lacks its response or what it belongs to, two rows answer the same prompt, a key and a
                prompt contradict each other, no row matches, or every response is blank.
        """
        rows_of_file = [row for row in read_rows(path) if row.values.get("twin_of") is None]
        if not rows_of_file:
            raise DataError(f"{path}: holds no responses; {FORM}")
        # lm-evaluation-harness writes a sample once for each of its filters, with the same responses.
        first = rows_of_file[0].values.get("filter")
        given = [_given(row) for row in rows_of_file if row.values.get("filter") == first]
        by_key: defaultdict[str, list[int]] = defaultdict(list)
        by_text: defaultdict[str, list[int]] = defaultdict(list)
        for i, item in enumerate(items):
            for key in dict.fromkeys([item.id, *item.id.split("/", 1)[1:], str(item.meta.get("key", item.id))]):
                by_key[key].append(i)
            for text in dict.fromkeys([item.messages[-1]["content"].strip(), item.question.strip()]):
                if text:
                    by_text[text].append(i)

        matched: defaultdict[int, list[Given]] = defaultdict(list)
        shared: defaultdict[tuple[int, ...], list[Given]] = defaultdict(list)
        unknown, reworded = list[Given](), 0
        for row in given:
            keyed = by_key.get(row.key, []) if row.key is not None else []
            texts = [by_text[text] for text in row.prompts if text in by_text]
            if not texts and not row.whole:
                inside = [text for text in by_text if any(text in prompt for prompt in row.prompts)]
                texts = [by_text[max(inside, key=len)]] if inside else []
            told = texts[0] if texts else []
            if keyed and row.prompts and row.whole and not told:
                asked = [text.strip() for i in keyed for text in (items[i].messages[-1]["content"], items[i].question)]
                pairs = [SequenceMatcher(None, a, b, autojunk=False) for a in asked for b in row.prompts]
                if not any(pair.ratio() >= SAME_PROMPT for pair in pairs):
                    raise DataError(
                        f"{row.where}: has the key '{row.key}', under which the suite has another prompt; is it a file "
                        f"of another benchmark or version?"
                    )
                reworded += 1
            candidates = [i for i in told if i in keyed] or told or keyed
            if not candidates:
                unknown.append(row)
            elif len(candidates) == 1:
                matched[candidates[0]].append(row)
            else:
                shared[tuple(candidates)].append(row)
        # Items with one and the same prompt get its rows in the order of the file.
        for owners, rows in shared.items():
            if len(rows) % len(owners):
                raise DataError(
                    f"{rows[0].where}: its prompt belongs to {len(owners)} items of the suite, and {len(rows)} rows "
                    f"have it; give the rows a key: {', '.join(items[i].id for i in owners[:4])}"
                )
            for number, owner in enumerate(owners):
                each = len(rows) // len(owners)
                matched[owner] += rows[number * each : (number + 1) * each]
        if not matched:
            raise DataError(
                f"{path}: none of its {len(given)} rows belongs to a prompt of the suite (the first: {given[0].where}, "
                f"{(given[0].prompts or (given[0].key or '',))[0][:60]!r}); is it a file of another benchmark?"
            )
        sizes = {len(rows) for rows in matched.values()}
        for i, rows in sorted(matched.items()):
            if len(rows) > 1 and len(sizes) > 1 and not all(row.sampled for row in rows):
                raise DataError(
                    f"{rows[1].where}: answers '{items[i].id}' again, as {rows[0].where} does; keep one of them, or "
                    f"number the samples of a prompt in a column `sample`"
                )
        found = {items[i].id: [g for row in rows for g in row.responses] for i, rows in matched.items()}
        drawn = [generation for generations in found.values() for generation in generations]
        empty = sum(not generation.text.strip() and generation.error is None for generation in drawn)
        if empty == len(drawn):
            raise DataError(f"{path}: every response is empty; was the generation cut off before its first token?")
        counts = {"rows": len(given), "unknown": len(unknown), "missing": len(items) - len(found), "empty": empty}
        counts["reworded"] = reworded
        return cls(name, path, found, counts)

    def generate(
        self, items: Sequence[PromptItem], sampling: Sampling, starts: Sequence[Start] | None = None
    ) -> list[list[Generation]]:
        """Return the responses of each item; neither ``sampling`` nor ``starts`` change what was drawn elsewhere."""
        return [self.found[item.id] for item in items]


def _given(row: Row) -> Given:
    values = row.values
    doc = values.get("doc")
    if isinstance(doc, str):
        try:
            doc = json.loads(doc)
        except ValueError:
            doc = None
    doc = doc if isinstance(doc, Mapping) else {}
    if "resps" in values:  # lm-evaluation-harness: a list of requests, each a list of its samples
        texts = [t for request in _list(values["resps"]) for t in (request if isinstance(request, list) else [request])]
    elif isinstance(values.get("model_response"), Mapping):  # lighteval
        texts = _list(values["model_response"].get("text"))
    elif "predictions" in values:  # lighteval before 0.10, which writes the list as text
        texts = _list(values["predictions"])
    elif "response" in values:
        texts = [values["response"]]
    else:
        raise DataError(f"{row.where}: has no response; {FORM}")
    for text in texts or [None]:
        if not isinstance(text, str):
            kind = "missing" if text is None else f"{type(text).__name__}, not text"
            raise DataError(f'{row.where}: the response is {kind}; write "" for one that is empty')
    tokens, finished, prefilled = (values.get(key) for key in ("tokens", "finished", "prefilled"))
    if not isinstance(tokens, int | None) or isinstance(tokens, bool) or (tokens is not None and tokens < 0):
        raise DataError(f"{row.where}: tokens is {tokens!r}; write the number of the response's tokens")
    for name, flag in (("finished", finished), ("prefilled", prefilled)):
        if not isinstance(flag, bool | None):
            raise DataError(f"{row.where}: {name} is {flag!r}; write true or false")
    error = values.get("error")
    responses = tuple(
        Generation(text, tokens, finished is not False, prefilled is True, error if isinstance(error, str) else None)
        for text in texts
    )

    fields: Mapping[str, Any] = {**doc, **{k: v for k, v in values.items() if k not in ("doc", "target")}}
    # What a harness calls the id of a row is its number there.
    named_by = ("key",) if doc else KEYS
    key = next((str(fields[name]) for name in named_by if isinstance(fields.get(name), str | int)), None)
    named = [fields.get(name) for name in ("prompt", "question", "problem", "query", "instruction")]
    messages = fields.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], Mapping):
        named.append(messages[-1].get("content"))
    prompts = [text.strip() for text in named if isinstance(text, str) and text.strip()]
    whole = not doc
    if not prompts and isinstance(fields.get("full_prompt"), str):
        prompts, whole = [fields["full_prompt"].strip()], False
    if not prompts and key is None:
        raise DataError(f"{row.where}: has neither prompt nor key, so its response belongs to nothing; {FORM}")
    return Given(row.where, responses, key, tuple(dict.fromkeys(prompts)), whole, "sample" in values)


def _list(given: Any) -> list[Any]:
    if isinstance(given, str):
        try:
            given = ast.literal_eval(given)
        except (SyntaxError, ValueError):
            return [given]
    return list(given) if isinstance(given, list | tuple) else [given]
