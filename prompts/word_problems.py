"""The generator ``word_problems``: templated word problems of one and two steps, small enough for a small model.

Every number that is given, found on the way or asked for lies between 2 and ``largest``. Which of the two splits a
problem is of depends on its template and its numbers alone, so that no seed lets training see what evaluation asks.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adhere.prompts.generators import data_generator
from adhere.rewards.errors import DataError, nearest

SPLITS = ("train", "evaluation")
EVALUATION_SHARE = 0.2
"""Share of all pairs of template and numbers that only evaluation asks."""

TRIES = 300
"""Draws of numbers for a template before another one takes its turn."""

PEOPLE = (
    ("Anna", "she"), ("Ben", "he"), ("Clara", "she"), ("David", "he"), ("Emma", "she"), ("Felix", "he"), ("Grace", "she"),
    ("Henry", "he"), ("Iris", "she"), ("Jonas", "he"), ("Kate", "she"), ("Leo", "he"), ("Maria", "she"), ("Noah", "he"),
    ("Olivia", "she"), ("Paul", "he"), ("Rosa", "she"), ("Simon", "he"), ("Tina", "she"), ("Victor", "he"),
)  # fmt: skip
THINGS = (
    "apples", "books", "cards", "coins", "cookies", "eggs", "flowers", "marbles", "oranges", "pencils", "shells", "stamps",
    "stickers", "toys", "balloons", "buttons", "plums", "postcards", "beads", "nuts",
)  # fmt: skip
PLACES = ("shop", "school", "library", "market", "garden", "club", "bakery", "museum")
BOXES = ("boxes", "bags", "baskets", "jars", "drawers", "packs")


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of problem.

    ``found`` returns, for the numbers that are given, those on the way (``s``) and the answer (``r``) or ``None`` where
    they do not fit. ``questions`` and ``solutions`` are wordings over the numbers, ``name``, ``pronoun``, ``Pronoun``, ``other``,
    ``things``, ``place`` and ``boxes``.
    """

    name: str
    steps: int
    given: int
    found: Callable[..., dict[str, int] | None]
    questions: tuple[str, ...]
    solutions: tuple[str, ...]


def _divided(a: int, b: int) -> dict[str, int] | None:
    return {"r": a // b} if a % b == 0 else None


def _shared_rest(a: int, b: int, c: int) -> dict[str, int] | None:
    return {"s": a - b, "r": (a - b) // c} if (a - b) % c == 0 else None


TEMPLATES: tuple[Template, ...] = (
    Template(
        "gain", 1, 2, lambda a, b: {"r": a + b},
        ("{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
         "There are {a} {things} on the table. {name} puts {b} more {things} beside them. How many {things} are there in all?"),
        ("{name} starts with {a} {things} and gets {b} more. {a} + {b} = {r}. So there are \\boxed{{{r}}} {things}.",
         "We add the new {things} to the old ones: {a} + {b} = {r}. That makes \\boxed{{{r}}} {things}."),
    ),
    Template(
        "loss", 1, 2, lambda a, b: {"r": a - b},
        ("{name} has {a} {things} and gives away {b} of them. How many {things} are left?",
         "There were {a} {things} in the {place}. {b} of the {things} have been sold. How many {things} remain?"),
        ("At first there are {a} {things}, and {b} of them go. {a} - {b} = {r}. So \\boxed{{{r}}} {things} are left.",
         "We take away what is gone: {a} - {b} = {r}. That leaves \\boxed{{{r}}} {things}."),
    ),
    Template(
        "groups", 1, 2, lambda a, b: {"r": a * b},
        ("{name} has {a} {boxes} with {b} {things} in each. How many {things} does {name} have?",
         "In the {place} there are {a} {boxes}, and each holds {b} {things}. How many {things} are there in the {boxes}?"),
        ("Each of the {a} {boxes} holds {b} {things}. {a} * {b} = {r}. So there are \\boxed{{{r}}} {things}.",
         "We multiply the {boxes} by what is in each: {a} * {b} = {r}. That makes \\boxed{{{r}}} {things}."),
    ),
    Template(
        "share", 1, 2, _divided,
        ("{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?",
         "{a} {things} are put into {b} {boxes}, the same number in each. How many {things} are in one of the {boxes}?"),
        ("The {a} {things} are split into {b} equal parts. {a} / {b} = {r}. So each part has \\boxed{{{r}}} {things}.",
         "We divide the {things} by {b}: {a} / {b} = {r}. That is \\boxed{{{r}}} {things} each."),
    ),
    Template(
        "difference", 1, 2, lambda a, b: {"r": a - b},
        ("{name} has {a} {things} and {other} has {b}. How many more {things} does {name} have than {other}?",
         "{name} counts {a} {things}. {other} counts only {b} {things}. How many {things} fewer does {other} count?"),
        ("{name} has {a} and {other} has {b}. {a} - {b} = {r}. So the difference is \\boxed{{{r}}} {things}.",
         "We compare the two numbers: {a} - {b} = {r}. They differ by \\boxed{{{r}}} {things}."),
    ),
    Template(
        "missing", 1, 2, lambda a, b: {"r": b - a},
        ("{name} has {a} {things} and wants to have {b}. How many {things} does {name} still need?",
         "A full set has {b} {things}. {name} has {a} of them so far. How many {things} are missing from the set?"),
        ("{name} wants {b} {things} and has {a}. {b} - {a} = {r}. So {name} still needs \\boxed{{{r}}} {things}.",
         "We take what is there from what is wanted: {b} - {a} = {r}. That means \\boxed{{{r}}} {things} are missing."),
    ),
    Template(
        "gain_loss", 2, 3, lambda a, b, c: {"s": a + b, "r": a + b - c},
        ("{name} has {a} {things}, finds {b} more and then loses {c}. How many {things} does {name} have in the end?",
         "In the morning the {place} has {a} {things}. Then {b} more arrive, and {c} are taken home. How many {things} are there now?"),
        ("First {a} + {b} = {s}. Then {s} - {c} = {r}. So there are \\boxed{{{r}}} {things} in the end.",
         "With the new ones there are {a} + {b} = {s} {things}. After {c} are gone there are {s} - {c} = {r}. The result is \\boxed{{{r}}} {things}."),
    ),
    Template(
        "loss_gain", 2, 3, lambda a, b, c: {"s": a - b, "r": a - b + c},
        ("{name} has {a} {things}. {Pronoun} gives {b} of them to {other} and later buys {c} new ones. How many {things} does {name} have now?",
         "{b} of the {a} {things} in the {place} break. Then {name} brings {c} new {things}. How many whole {things} are there now?"),
        ("First {a} - {b} = {s}. Then {s} + {c} = {r}. So there are \\boxed{{{r}}} {things} now.",
         "Of {a} {things} there remain {a} - {b} = {s}. The new ones make it {s} + {c} = {r}. The result is \\boxed{{{r}}} {things}."),
    ),
    Template(
        "groups_more", 2, 3, lambda a, b, c: {"s": a * b, "r": a * b + c},
        ("{name} has {a} {boxes} with {b} {things} in each, and {c} {things} beside them. How many {things} does {name} have in total?",
         "{name} buys {a} {boxes} of {b} {things} and {c} single {things}. How many {things} does {pronoun} buy in total?"),
        ("The {boxes} hold {a} * {b} = {s} {things}. With the others there are {s} + {c} = {r}. So the total is \\boxed{{{r}}} {things}.",
         "First {a} * {b} = {s}. Then {s} + {c} = {r}. That makes \\boxed{{{r}}} {things} in total."),
    ),
    Template(
        "groups_less", 2, 3, lambda a, b, c: {"s": a * b, "r": a * b - c},
        ("{name} fills {a} {boxes} with {b} {things} each and then takes out {c} {things}. How many {things} are left in the {boxes}?",
         "There are {a} {boxes} of {b} {things} in the {place}. {c} of the {things} are used up. How many {things} are left?"),
        ("The {boxes} hold {a} * {b} = {s} {things}. Then {s} - {c} = {r}. So \\boxed{{{r}}} {things} are left.",
         "At first there are {a} * {b} = {s}. We take away {c}, which leaves {s} - {c} = {r}. The result is \\boxed{{{r}}} {things}."),
    ),
    Template(
        "share_rest", 2, 3, _shared_rest,
        ("{name} has {a} {things} and keeps {b} of them. The rest is shared equally among {c} friends. How many {things} does each friend get?",
         "Of {a} {things}, {b} are broken. The others go into {c} {boxes}, the same number in each. How many {things} are in one of the {boxes}?"),
        ("First {a} - {b} = {s} {things} remain. Then {s} / {c} = {r}. So each part has \\boxed{{{r}}} {things}.",
         "There are {a} - {b} = {s} {things} to share. Divided by {c} that is {s} / {c} = {r}. The result is \\boxed{{{r}}} {things}."),
    ),
    Template(
        "together", 2, 2, lambda a, b: {"s": a + b, "r": a + a + b},
        ("{name} has {a} {things}. {other} has {b} {things} more than {name}. How many {things} do they have together?",
         "{name} picks {a} {things}, and {other} picks {b} more than that. How many {things} do the two pick together?"),
        ("{other} has {a} + {b} = {s} {things}. Together they have {a} + {s} = {r}. So the total is \\boxed{{{r}}} {things}.",
         "First {a} + {b} = {s} for {other}. Then {a} + {s} = {r} for both. That makes \\boxed{{{r}}} {things} together."),
    ),
)  # fmt: skip


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
        (name, pronoun), (other, _) = rng.sample(PEOPLE, 2)
        question = rng.choice(template.questions)
        words: dict[str, Any] = {
            **dict(zip("abc", numbers, strict=False)), **(found or {}), "name": name, "other": other,
            "pronoun": pronoun, "Pronoun": pronoun.title(), "things": rng.choice(THINGS), "place": rng.choice(PLACES), "boxes": rng.choice(BOXES),
        }  # fmt: skip
        yield {
            "question": question.format(**words),
            "answer": str(words["r"]),
            "solution": rng.choice(template.solutions).format(**words),
            "template": template.name,
            "numbers": list(numbers),
            "steps": template.steps,
        }
