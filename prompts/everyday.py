"""The generator ``general``: everyday requests without maths, each with a response in plain sentences.

Which of the two splits a request is of depends on its template and its words alone. There is no gold answer: the maths
component does not apply, and the checklist counts without its gate.
"""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

from adhere.prompts.generators import data_generator
from adhere.prompts.word_problems import EVALUATION_SHARE, SPLITS
from adhere.rewards.errors import DataError, nearest

_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))

WORDS: dict[str, list[str]] = _DATA["words"]
REQUESTS: tuple[tuple[str, list[str], list[str]], ...] = tuple(
    (name, row["questions"], row["sentences"]) for name, row in _DATA["requests"].items()
)


@data_generator("general")
def general(size: int, seed: int, split: str = "train") -> Iterator[dict[str, Any]]:
    """Yield everyday requests (``question``) with a response (``solution``) and no answer, no two of them alike.

    Args:
        size: how many.
        seed: decides what is drawn.
        split: ``train`` or ``evaluation``; they share no template with the same words in it, whatever the seeds.

    Raises:
        DataError: an unknown split, or there are fewer such requests than ``size``.
    """
    if split not in SPLITS:
        hint = nearest(str(split), SPLITS)
        raise DataError(f"generator 'general': params.split: '{split}' is not one of {', '.join(SPLITS)}{hint}")
    rng = random.Random(f"general:{split}:{seed}")
    seen: set[str] = set()
    idle = 0
    while len(seen) < size:
        name, questions, sentences = rng.choice(REQUESTS)
        slots = sorted({slot for text in questions for _, slot, _, _ in Formatter().parse(text) if slot})
        words = {slot: rng.choice(WORDS[slot]) for slot in slots}
        question = rng.choice(questions).format(**words)
        digest = hashlib.sha256(f"{name}:{sorted(words.items())}".encode()).digest()
        other = (int.from_bytes(digest[:4]) < EVALUATION_SHARE * 2**32) is not (split == "evaluation")
        if other or question in seen:
            idle += 1
            if idle > 20_000:
                raise DataError(
                    f"generator 'general': there are {len(seen)} requests of the split {split}, size asks for {size}; "
                    f"lower size"
                )
            continue
        seen.add(question)
        idle = 0
        # The first sentence names what was asked; of the others some are left out, in their order.
        kept = sorted(rng.sample(range(1, len(sentences)), rng.randint(2, len(sentences) - 1)))
        solution = " ".join(sentences[i] for i in (0, *kept)).format(**words)
        yield {"question": question, "answer": None, "solution": solution, "template": name, "words": words}
