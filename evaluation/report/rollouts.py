"""All rollouts and evaluation responses of a report as columns: figures of every row, and the text behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow

from adhere.evaluation.report.collect import ReportData
from adhere.records.artifact import Artifact
from adhere.records.tables import component_column, components_of, read_responses, read_rollout_files, rollout_files

TRAINING, EVALUATION = 0, 1
NO, YES, UNKNOWN = 0, 1, 2
"""How a column of one byte says false, true, and that nothing decides it."""

NOT_THERE = 255
"""The status of a component that a row's arm does not have."""


class Names:
    """Gives each text a number, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def __call__(self, name: Any) -> int:
        """Return the number of ``name``."""
        return self._numbers.setdefault(name, len(self._numbers))

    def all(self) -> list[Any]:
        """Return the names by number."""
        return list(self._numbers)


@dataclass(slots=True)
class RolloutTable:
    """Columns over N rows, in the order arm, step, group; evaluation responses stand behind the rollouts.

    ``groups`` has the group of each arm. ``columns`` are arrays of shape (N,): arm, phase, step (-1 in an evaluation),
    group, item, tokens, reasoning (tokens, estimated by its share of the characters), finished, correct, followed,
    advantage, and for each component ``score:NAME`` and ``status:NAME``; ``judges`` are those components that a
    language model scores. ``places`` (N + 1,) says which of the requirement columns ``requirement`` and ``met`` belong
    to a row. ``texts`` has one entry a row: response, details by component, requirements' texts and details.
    """

    arms: list[str]
    groups: list[str]
    components: list[str]
    judges: list[str]
    statuses: list[str]
    requirements: list[str]
    items: list[tuple[str, str, str | None]]
    columns: dict[str, np.ndarray]
    places: np.ndarray
    requirement: np.ndarray
    met: np.ndarray
    texts: list[tuple[str, dict[str, str], list[tuple[str, str, str]]]]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(slots=True)
class _Growing:
    arm: Names = field(default_factory=Names)
    status: Names = field(default_factory=Names)
    requirement: Names = field(default_factory=Names)
    item: Names = field(default_factory=Names)
    plain: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scores: list[tuple[int, dict[str, tuple[np.ndarray, np.ndarray]]]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    requirements: list[int] = field(default_factory=list)
    met: list[int] = field(default_factory=list)
    texts: list[tuple[str, dict[str, str], list[tuple[str, str, str]]]] = field(default_factory=list)

    def add(self, columns: Mapping[str, Any], scores: dict[str, tuple[np.ndarray, np.ndarray]], rows: int) -> None:
        for name, values in columns.items():
            column = np.full(rows, values) if np.isscalar(values) else np.asarray(values)
            self.plain.setdefault(name, []).append(column)
        self.scores.append((rows, scores))

    def add_text(self, response: str, details: dict[str, str], requirements: Sequence[Mapping[str, Any]]) -> None:
        self.counts.append(len(requirements))
        for found in requirements:
            self.requirements.append(self.requirement(found["id"]))
            self.met.append(UNKNOWN if found["score"] is None else int(found["score"] >= 1.0))
        shown = [(r.get("text") or "", r["status"], r["detail"] or "") for r in requirements]
        self.texts.append((response, details, shown))


def read_rollout_table(data: ReportData) -> RolloutTable:
    """Read the rollouts of every arm and the responses of every evaluation.

    Raises:
        DataError: a rollout file cannot be read.
    """
    growing = _Growing()
    for arm in data.trained:
        growing.arm(arm.name)
    for arm in data.trained:
        if files := rollout_files(Artifact(arm.path).rollouts):
            _add_training(growing, growing.arm(arm.name), read_rollout_files(files))
    kinds = {name: str(found.get("kind")) for entry in data.trained for name, found in entry.components.items()}
    # components that an evaluation decides too, by their names in training
    decided = {name: kind for name, kind in kinds.items() if kind in ("math", "checklist")}
    decided = decided or {"math": "math", "checklist": "checklist"}
    for entry in data.evaluated:
        if (responses := Artifact(entry.path).responses).is_file():
            rows = [row for row in read_responses(responses) if row["twin_of"] is None]
            _add_evaluation(
                growing, growing.arm(entry.name), rows, decided or {"math": "math", "checklist": "checklist"}
            )
    groups = {**{e.name: e.group for e in data.evaluated}, **{a.name: a.group for a in data.trained}}
    types = {"arm": np.uint16, "phase": np.uint8, "step": np.int32, "group": np.int32, "item": np.uint32,
             "tokens": np.uint32, "reasoning": np.float32, "advantage": np.float32}  # fmt: skip
    columns = {n: np.concatenate(parts).astype(types.get(n, np.uint8)) for n, parts in growing.plain.items()}
    components = list(dict.fromkeys(name for _, scores in growing.scores for name in scores))
    for name in components:
        parts = [scores.get(name, (np.full(rows, np.nan), np.full(rows, NOT_THERE))) for rows, scores in growing.scores]
        columns[f"score:{name}"] = np.concatenate([score for score, _ in parts]).astype(np.float32)
        columns[f"status:{name}"] = np.concatenate([status for _, status in parts]).astype(np.uint8)
    return RolloutTable(
        arms=growing.arm.all(),
        groups=[groups[arm] for arm in growing.arm.all()],
        components=components,
        judges=[name for name, kind in kinds.items() if kind == "judge" and name in components],
        statuses=growing.status.all(),
        requirements=growing.requirement.all(),
        items=growing.item.all(),
        columns=columns,
        places=np.concatenate([[0], np.cumsum(growing.counts)]).astype(np.uint32),
        requirement=np.array(growing.requirements, dtype=np.uint16),
        met=np.array(growing.met, dtype=np.uint8),
        texts=growing.texts,
    )


def _add_training(growing: _Growing, arm: int, table: pyarrow.Table) -> None:
    names = components_of(table.column_names)
    column = {name: table.column(name).to_pylist() for name in ("item_id", "prompt", "answer", "response")}
    tokens, step, group = (table.column(name).to_numpy() for name in ("tokens", "step", "group"))
    if "batch" in table.column_names:
        # Each generation counts its groups from 0; here those of one step are counted on.
        batch, (steps, place) = table.column("batch").to_numpy(), np.unique(step, return_inverse=True)
        first = np.full(len(steps), np.iinfo(np.int64).max)
        np.minimum.at(first, place, batch)
        group = group + (batch - first[place]) * (group.max(initial=0) + 1)
    growing.add(
        {
            "arm": arm,
            "phase": TRAINING,
            "step": step,
            "group": group,
            "item": [
                growing.item(key) for key in zip(column["item_id"], column["prompt"], column["answer"], strict=True)
            ],
            "tokens": tokens,
            "reasoning": tokens * [reasoning_share(text) for text in column["response"]],
            "finished": _flags(table.column("finished").to_pylist()),
            "correct": _flags(table.column("correct").to_pylist()),
            "followed": _flags(table.column("followed").to_pylist()),
            "advantage": table.column("advantage").to_numpy(zero_copy_only=False),
        },
        {
            name: (
                table.column(component_column(name, "score")).to_numpy(zero_copy_only=False).astype(np.float32),
                np.array(
                    [growing.status(s) for s in table.column(component_column(name, "status")).to_pylist()],
                    dtype=np.uint8,
                ),
            )
            for name in names
        },
        table.num_rows,
    )
    details = [table.column(component_column(name, "detail")).to_pylist() for name in names]
    requirements = table.column("requirements").to_pylist()
    for row, response in enumerate(column["response"]):
        said = {name: detail[row] for name, detail in zip(names, details, strict=True) if detail[row]}
        growing.add_text(response, said, requirements[row] or [])


def _add_evaluation(growing: _Growing, arm: int, rows: list[dict[str, Any]], kinds: Mapping[str, str]) -> None:
    none = -np.ones(len(rows), dtype=np.int64)
    tokens = np.array([row["tokens"] or 0 for row in rows], dtype=np.int64)
    items = []
    for row in rows:
        messages = [(message["role"], message["content"]) for message in row["messages"]]
        several = "\n\n".join(f"{role}: {content}" for role, content in messages)
        prompt = str(messages[0][1]) if len(messages) == 1 else several
        items.append(growing.item((row["id"], prompt, row["answer"])))
    scores = {}
    for name, kind in kinds.items():
        found = [row["correct"]["score"] if kind == "math" else row["sacc"] for row in rows]
        words = [
            str(row["correct"]["status"]) if kind == "math" else "not_applicable" if row["sacc"] is None else "ok"
            for row in rows
        ]
        scores[name] = (np.array(found, dtype=float), np.array(list(map(growing.status, words)), dtype=np.uint8))
    growing.add(
        {
            "arm": arm,
            "phase": EVALUATION,
            "step": none,
            "group": none,
            "item": items,
            "tokens": tokens,
            "reasoning": tokens * np.array([reasoning_share(row["response"]) for row in rows]),
            "finished": _flags([row["finished"] for row in rows]),
            "correct": _flags([None if (score := row["correct"]["score"]) is None else score >= 1.0 for row in rows]),
            "followed": _flags([None if row["hacc"] is None else row["hacc"] >= 1.0 for row in rows]),
            "advantage": np.full(len(rows), np.nan),
        },
        scores,
        len(rows),
    )
    for row in rows:
        texts = [constraint["text"] for constraint in row["constraints"] or []]
        verdicts = row["verdicts"] or []
        requirements = [{**v, "text": text} for v, text in zip(verdicts, texts, strict=False)]
        said = {name: row["correct"]["detail"] for name, kind in kinds.items() if kind == "math"}
        growing.add_text(row["response"], said, requirements)


def reasoning_share(response: str) -> float:
    """Return the share of a response's characters that stand before ``</think>``; 0 where there is none."""
    if not response:
        return 0.0
    end = response.find("</think>")
    return (end if end >= 0 else len(response) if response.lstrip().startswith("<think>") else 0) / len(response)


def _flags(values: Sequence[bool | None]) -> np.ndarray:
    return np.array([UNKNOWN if value is None else int(value) for value in values], dtype=np.uint8)
