"""How often texts that were not written here are mapped to the constraint that they ask for, and how often wrongly.

Run ``python bench/requirement_mapping.py [DATA]``; DATA holds ``mathif/*.jsonl`` (arXiv 2505.14810) and
``ifeval/input_data.jsonl`` (arXiv 2311.07911), by default ``../shared/data``. MathIF's constraints are texts with a
known id and arguments. Of IFEval each sentence of a prompt is tried: a hit names a constraint of that prompt with its
arguments, and whatever else is mapped is wrong or, where the prompt's list is incomplete, at least not confirmed.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adhere.rewards.checklist.mapping import map_requirement
from adhere.rewards.constraints import registry, validate
from adhere.rewards.errors import ConstraintError

DATA = Path(__file__).parents[2] / "shared" / "data"
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
ALIASES = {"length_constraints:number_words": "length_constraint_checkers:number_words"}
"""IFEval's and MathIF's names of one constraint, which share their phrasings."""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def rule(name: str, kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the constraint in a form that can be compared, if the library has it; the order of words says nothing."""
    known = ALIASES.get(name, name)
    try:
        clean = validate(known, kwargs)
    except ConstraintError:
        return None
    return known, {key: sorted(map(str.lower, v)) if isinstance(v, list) else v for key, v in clean.items()}


def report(name: str, counts: Counter[str], seconds: float, wrong: list[str]) -> None:
    """Print the counts of one data set, and what was mapped to something else."""
    total = sum(counts.values())
    shown = ", ".join(f"{key} {count}" for key, count in sorted(counts.items()))
    print(f"{name}: {total} texts: {shown}; {1e6 * seconds / max(total, 1):.0f} µs a text")
    for line in wrong:
        print(f"  {line}")


def mathif(folder: Path) -> None:
    """Try MathIF's constraints, each with its question."""
    counts: Counter[str] = Counter()
    wrong = []
    started = time.perf_counter()
    for path in sorted(folder.glob("*.jsonl")):
        for row in rows(path):
            asked = zip(row["constraint_desc"], row["constraint_name"], row["constraint_args"], strict=True)
            for text, name, kwargs in asked:
                found = map_requirement(text, question=row["question"], english=True)
                right = found is not None and rule(found.constraint, dict(found.kwargs)) == rule(name, kwargs or {})
                counts["right" if right else "unmapped" if found is None else "wrong"] += 1
                if found is not None and not right:
                    wrong.append(f"{text!r} -> {found}")
    report("MathIF constraints", counts, time.perf_counter() - started, wrong)


def ifeval(path: Path) -> None:
    """Try every sentence of IFEval's prompts."""
    counts: Counter[str] = Counter()
    unconfirmed = []
    started = time.perf_counter()
    for row in rows(path):
        listed = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
        wanted = [rule(name, {k: v for k, v in kwargs.items() if v is not None}) for name, kwargs in listed]
        for sentence in SENTENCE.split(row["prompt"]):
            found = map_requirement(sentence, english=True)
            if found is None:
                counts["unmapped"] += 1
            elif rule(found.constraint, dict(found.kwargs)) in wanted:
                counts["right"] += 1
            else:
                counts["not confirmed"] += 1
                unconfirmed.append(f"{sentence!r} -> {found}; listed: {[name for name, _ in listed]}")
    report("IFEval sentences", counts, time.perf_counter() - started, unconfirmed)


def main() -> None:
    """Print both."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    print(f"{platform.machine()}, Python {platform.python_version()}, {len(registry())} constraints")
    mathif(data / "mathif")
    ifeval(data / "ifeval" / "input_data.jsonl")


if __name__ == "__main__":
    main()
