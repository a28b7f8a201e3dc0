"""The generator ``word_problems``: templated word problems of one and two steps, small enough for a small model.

Every number that is given, found on the way or asked for lies between 2 and ``largest``. Which of the two splits a
problem is of depends on its template and its numbers alone, so that no seed lets training see what evaluation asks.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.prompts.generators import data_generator
from adhere.rewards.errors import DataError, nearest

SPLITS = ("train", "evaluation")
EVALUATION_SHARE = 0.2
"""Share of all pairs of template and numbers that only evaluation asks."""

TRIES = 300
"""Draws of numbers for a template before another one takes its turn."""

_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of problem.

    ``found`` returns, for the numbers that are given, those on the way (``s``) and the answer (``r``) or ``None`` where
    they do not fit. ``questions`` and ``solutions`` are wordings over the numbers, ``name``, ``pronoun``, ``Pronoun``,
    ``other``, ``things``, ``places`` and ``boxes``.
    """

    name: str
    steps: int
    found: Callable[..., dict[str, int] | None]
    questions: tuple[str, ...]
    solutions: tuple[str, ...]

    @property
    def given(self) -> int:
        """How many numbers are given."""
        return len(inspect.signature(self.found).parameters)


def _found() -> dict[str, Callable[..., dict[str, int] | None]]:
    return {
        "gain": lambda a, b: {"r": a + b},
        "loss": lambda a, b: {"r": a - b},
        "groups": lambda a, b: {"r": a * b},
        "share": lambda a, b: {"r": a // b} if a % b == 0 else None,
        "difference": lambda a, b: {"r": a - b},
        "missing": lambda a, b: {"r": b - a},
        "gain_loss": lambda a, b, c: {"s": a + b, "r": a + b - c},
        "loss_gain": lambda a, b, c: {"s": a - b, "r": a - b + c},
        "groups_more": lambda a, b, c: {"s": a * b, "r": a * b + c},
        "groups_less": lambda a, b, c: {"s": a * b, "r": a * b - c},
        "share_rest": lambda a, b, c: {"s": a - b, "r": (a - b) // c} if (a - b) % c == 0 else None,
        "together": lambda a, b: {"s": a + b, "r": a + a + b},
    }


TEMPLATES: tuple[Template, ...] = tuple(
    Template(name, row["steps"], found, tuple(row["questions"]), tuple(row["solutions"]))
    for name, found in _found().items()
    for row in [_DATA["templates"][name]]
)


def split_of(template: str, numbers: tuple[int, ...]) -> str:
    """Return the one split that asks this template with these numbers."""
    digest = hashlib.sha256(f"{template}:{numbers}".encode()).digest()
    return "evaluation" if int.from_bytes(digest[:4]) < EVALUATION_SHARE * 2**32 else "train"


@data_generator("word_problems")
def word_problems(
    size: int, seed: int, split: str = "train", largest: int = 50, steps: tuple[int, ...] | list[int] = (1, 2)
) -> Iterator[dict[str, Any]]:
    """Yield word problems with a boxed worked solution, no two of one template and the same numbers.

    Args:
        size: how many.
        seed: decides what is drawn.
        split: ``train`` or ``evaluation``; they share no pair of template and numbers, whatever the seeds.
        largest: the largest number in a problem or its solution, at least 10.
        steps: how many steps the solutions may have, of 1 and 2.

    Raises:
        DataError: an argument is out of range, or there are fewer such problems than ``size``.
    """
    where = "generator 'word_problems': params"
    if split not in SPLITS:
        raise DataError(f"{where}.split: '{split}' is not one of {', '.join(SPLITS)}{nearest(str(split), SPLITS)}")
    if isinstance(largest, bool) or not isinstance(largest, int) or not 10 <= largest <= 1000:
        raise DataError(f"{where}.largest: {largest!r} is not a whole number in [10, 1000]")
    templates = [template for template in TEMPLATES if template.steps in steps]
    if not templates or set(steps) - {1, 2}:
        raise DataError(f"{where}.steps: {list(steps)} has to name 1, 2 or both")
    rng = random.Random(f"word_problems:{split}:{seed}")
    seen: set[tuple[str, tuple[int, ...]]] = set()
    idle = 0
    while len(seen) < size:
        if idle % TRIES == 0:  # numbers for one template until some fit, so that no template is drawn more often
            template = rng.choice(templates)
        numbers = tuple(rng.randint(2, largest) for _ in range(template.given))
        found = template.found(*numbers)
        key = (template.name, numbers)
        fits = found is not None and all(2 <= value <= largest for value in found.values())
        if not fits or key in seen or split_of(*key) != split:
            idle += 1
            if idle > 40 * TRIES:
                raise DataError(
                    f"generator 'word_problems': {len(seen)} problems of the split {split} with numbers to {largest} "
                    f"were found, size asks for {size}; lower size or raise params.largest"
                )
            continue
        seen.add(key)
        idle = 0
        (name, pronoun), (other, _) = rng.sample(list(_DATA["people"].items()), 2)
        question = rng.choice(template.questions)
        words: dict[str, Any] = {
            **dict(zip("abc", numbers, strict=False)),
            **(found or {}),
            "name": name,
            "other": other,
            "pronoun": pronoun,
            "Pronoun": pronoun.title(),
            **{key: rng.choice(_DATA[key]) for key in ("things", "places", "boxes")},
        }
        yield {
            "question": question.format(**words),
            "answer": str(words["r"]),
            "solution": rng.choice(template.solutions).format(**words),
            "template": template.name,
            "numbers": list(numbers),
            "steps": template.steps,
        }
