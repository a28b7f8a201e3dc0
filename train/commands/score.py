"""``adhere score``: score responses that are already written. No model and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from adhere.train.commands.words import load_named


def score(
    source: Path, out: Path, /, *, mode: Literal["compat", "hardened"] = "hardened", plugins: str | None = None
) -> int:
    """Score a JSONL file of responses against their answers and constraints.

    Args:
        source: JSONL, also .gz: {question, answer?, response, constraints: [{id, kwargs}]}.
        out: Where the scored rows go, as JSONL; .gz is compressed.
        mode: Checkers that agree with the official code, or those that close its holes.
        plugins: [my_lab.rewards]: modules to import first.
    """
    from adhere.evaluation.score_file import score_file

    load_named(plugins)
    summary = score_file(source, out, mode)
    print(
        "  ".join(
            f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in summary.items()
        )
    )
    return 0
