"""Agreement of IFTrain's 29 compat checkers with open-instruct's own code, on generated and hostile texts.

    python bench/iftrain_agreement.py CHECKOUT [responses.jsonl.gz]

``CHECKOUT`` is a clone of allenai/open-instruct whose ``open_instruct/IFEvalG`` can be imported (it needs nltk with its
``punkt_tab`` data, absl-py, langdetect and immutabledict). The second argument is a file of rows with a ``response``,
whose texts and lines are checked too. Prints one line a constraint and the first differences; the exit code is 1 if
there are any. Those left are of ``count:count_unique``: Punkt's trained model, which is not kept here, decides whether
the period of an abbreviation is a token of its own.
"""

from __future__ import annotations

import gzip
import importlib
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adhere.rewards.constraints import check, registry, sample, transform

SEEDS, PIECES_PER_TEXT = 150, 14
QUESTION = "Tom has 3 apples and eats 1. How many are left?"
_SIGNS = [".", "\n", "\n\n", "!", "?", "...", '"', "'", "-", "***", "*", "******", "<<", ">>", "[", "]", "“", "”", "_"]
_WORDS = (
    "So ",
    "so",
    "win",
    "bar",
    "level",
    "a",
    "I ",
    "1 2",
    "3.5",
    "x.y",
    "\u00e9",
    "\u0130",
    "well-known ",
    "$x = 3$",
)
_PHRASES = (
    "Mr. ",
    "U.S. He ",
    "Inc. It ",
    "e.g. ",
    "can't ",
    "cannot ",
    "It is so. ",
    "We do win here. ",
    "\\boxed{5} ",
)
PIECES = [" ", "* * *", "Time drags when having fun", *_SIGNS, *_WORDS, *_PHRASES]


def texts(rng: random.Random, key: str, kwargs: dict[str, Any], pool: list[str]) -> Iterator[str]:
    """Yield compliant texts, compliant ones that were damaged, hostile ones and real ones."""
    base = rng.choice(pool) if pool else "We add 3 and 4. The sum is 7, so we stop."
    done = transform(key, base, kwargs) or transform(key, "We stop here", kwargs)
    words = [str(value) for value in kwargs.values()]
    for text in (base, done):
        if text:
            at = rng.randrange(len(text))
            yield text
            yield text[:at] + rng.choice(PIECES) + text[at:]
            yield text[:at] + text[at + 1 :]
    for size in (1, 2, 4, PIECES_PER_TEXT):
        yield "".join(rng.choice([*PIECES, *words]) for _ in range(size))


def main(checkout: Path, responses: Path | None) -> int:
    """Print the table; return the exit code."""
    sys.path.insert(0, str(checkout))
    official = importlib.import_module("open_instruct.IFEvalG.instructions_registry").INSTRUCTION_DICT
    pool = _lines(responses) if responses else []
    keys = [key for key, constraint in registry().items() if constraint.collection == "iftrain"]
    differences, begun, total, agreed = [], time.perf_counter(), 0, 0
    print(f"{'constraint':42} {'checks':>7} {'passed':>7} {'agree':>8}")
    for key in keys:
        rng, mine, passes, same = random.Random(key), 0, 0, 0
        for _ in range(SEEDS):
            kwargs = sample(key, rng, question=QUESTION)
            if kwargs.get("n_start") == 0:
                continue  # IFEvalG draws another start at random in place of 0.
            theirs = official[key](key)
            theirs.build_description(**kwargs)
            for text in texts(rng, key, kwargs, pool):
                if not text.strip():
                    continue
                verdict, expected = check(key, text, kwargs, "compat"), bool(theirs.check_following(text))
                mine, passes, same = mine + 1, passes + expected, same + (verdict.passed is expected)
                if verdict.passed is not expected:
                    differences.append(f"{key} {kwargs}: official {expected}, here {verdict.detail}: {text[:160]!r}")
        total, agreed = total + mine, agreed + same
        print(f"{key:42} {mine:7} {passes / mine:7.1%} {same / mine:8.2%}")
    print(f"\n{agreed} of {total} agree, {time.perf_counter() - begun:.1f} s")
    print("\n".join(differences[:25]))
    return 1 if differences else 0


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as rows:
        found = [json.loads(row)["response"] for row in rows]
    return [text for response in found for text in (response, *response.split("\n")) if text.strip()]


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None))
