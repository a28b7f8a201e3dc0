"""``adhere score``: score responses that are already written. No model and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from adhere.train.commands.words import load_named


def score(
    source: Path,
    out: Path,
    /,
    *,
    mode: Literal["compat", "hardened"] = "hardened",
    prefilled: bool = False,
    plugins: str | None = None,
) -> int:
    """Score a JSONL file of responses against their answers and constraints.

    Args:
        source: JSONL, also .gz: {question?, answer?, response, constraints?: [{id, kwargs}], prefilled?, source?}.
        out: Where the scored rows go, as JSONL; .gz is compressed.
        mode: Checkers that agree with the official code, or those that close its holes.
        prefilled: The prompt had opened the reasoning block already, in rows that do not say so.
        plugins: [my_lab.rewards]: modules to import first.
    """
    from adhere.evaluation.score_file import score_file

    load_named(plugins)
    summary = score_file(source, out, mode, prefilled=prefilled)
    print(
        "  ".join(
            f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in summary.items()
        )
    )
    return 0
