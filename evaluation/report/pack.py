"""Rollouts packed for the page: gzip blocks in base64, each opened by the browser only when it is looked at."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adhere.evaluation.report.rollouts import EVALUATION, RolloutTable

ROWS_A_BLOCK = 500
NO_TEXT = 0xFFFFFFFF
LEVEL = 6

KINDS = {"uint8": "Uint8Array", "uint16": "Uint16Array", "uint32": "Uint32Array", "int32": "Int32Array",
         "float32": "Float32Array"}  # fmt: skip
"""What a browser calls the arrays; all are little-endian."""


@dataclass(frozen=True, slots=True)
class Packed:
    """``blocks`` by id, each base64 of gzip; ``index`` tells the page what is in them, as plain JSON."""

    index: dict[str, Any]
    blocks: dict[str, str]


def pack(table: RolloutTable, text_bytes: int) -> Packed:
    """Pack all figures of ``table``, and the text of as many rows as fit into ``text_bytes`` before compression.

    Evaluation responses come first, then whole groups of rollouts at even distances over the training, so that what
    is left out is left out everywhere alike.
    """
    rows = choose(table, text_bytes)
    place = np.full(len(table), NO_TEXT, dtype=np.uint32)
    place[rows] = np.arange(len(rows), dtype=np.uint32)
    arrays = {
        **table.columns,
        "place": place,
        "places": table.places,
        "requirement": table.requirement,
        "met": table.met,
    }
    blocks, columns = {}, {}
    for number, (name, array) in enumerate(arrays.items()):
        blocks[f"column-{number}"] = _block(np.ascontiguousarray(array).tobytes())
        columns[name] = {"block": f"column-{number}", "kind": KINDS[array.dtype.name]}
    blocks["items"] = _block(_json(table.items))
    starts = range(0, len(rows), ROWS_A_BLOCK)
    for number, start in enumerate(starts):
        blocks[f"text-{number}"] = _block(_json([table.texts[row] for row in rows[start : start + ROWS_A_BLOCK]]))
    index = {
        "rows": len(table),
        "with_text": len(rows),
        "rows_a_block": ROWS_A_BLOCK,
        "text_blocks": len(starts),
        "columns": columns,
        "arms": table.arms,
        "groups": table.groups,
        "components": table.components,
        "judges": table.judges,
        "statuses": table.statuses,
        "requirements": table.requirements,
    }
    return Packed(index, blocks)


def choose(table: RolloutTable, text_bytes: int) -> np.ndarray:
    """Return the rows whose text is kept, ascending."""
    sizes = np.array([len(response) + 200 for response, _, _ in table.texts], dtype=np.int64)
    if sizes.sum() <= text_bytes:
        return np.arange(len(table))
    columns = table.columns
    evaluated = columns["phase"] == EVALUATION
    left = text_bytes - int(sizes[evaluated].sum())
    keys = np.stack([columns["arm"].astype(np.int64), columns["step"], columns["group"]])
    _, group = np.unique(keys[:, ~evaluated], axis=1, return_inverse=True)
    group = group.reshape(-1)
    by_group = np.bincount(group, weights=sizes[~evaluated])
    share = min(1.0, max(left, 0) / max(float(by_group.sum()), 1.0))
    numbers = np.arange(len(by_group))
    kept = np.floor((numbers + 1) * share) > np.floor(numbers * share)
    chosen = evaluated.copy()
    chosen[~evaluated] = kept[group]
    return np.flatnonzero(chosen)


def _json(value: Sequence[Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def _block(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, LEVEL, mtime=0)).decode("ascii")
