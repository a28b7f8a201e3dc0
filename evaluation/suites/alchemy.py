"""The suite ``alchemy``: DataAlchemy's task (arXiv 2508.01191), along task, length and format, and under constraints.

A word of letters is changed by operations one after the other: F1 moves each letter by 13 places (ROT-13), F2 moves
the first letter to the end, F3 turns the word round. The ``base`` prompts have four letters and F1 or F2 twice or in
turn, as in the paper's training data; ``task`` has other chains, ``length`` other lengths of word and chain,
``format`` the base prompts with noise in how they are written, and ``constraint`` the base prompts with a demand on
the answer's form.

``exact`` is the share of right words, ``similarity`` one minus the edit distance over the longer word's length, both
also by axis. HAcc and joint are of the axis ``constraint``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import UNFINISHED, Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites.base import SuiteKind, SuiteSource, suite
from adhere.evaluation.suites.following import judged_text
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.checklist import Decider, Requirement, SuiteCheck
from adhere.rewards.constraints import Mode, decided
from adhere.rewards.engine import Engine
from adhere.rewards.verdict import Status, Verdict, failed, unscored

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OPERATIONS: Mapping[str, Callable[[str], str]] = {
    "F1": lambda word: "".join(ALPHABET[(ALPHABET.index(letter) + 13) % 26] for letter in word),
    "F2": lambda word: word[1:] + word[:1],
    "F3": lambda word: word[::-1],
}
BASE_CHAINS = (("F1", "F1"), ("F1", "F2"), ("F2", "F1"))
TASK_CHAINS = (("F2", "F2"), ("F3", "F1"), ("F2", "F3"), ("F3", "F3"))
AXES = ("base", "task", "length", "format", "constraint")
PER_AXIS = 40

CONSTRAINTS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "lower": ("Write the word in the answer in lower case.", lambda answer: answer == answer.lower()),
    "commas": (
        "Separate the letters in the answer by commas and nothing else.",
        lambda answer: re.fullmatch(r"[A-Za-z](,[A-Za-z])*", answer) is not None,
    ),
    "joined": (
        "Write the letters in the answer without anything between them.",
        lambda answer: re.fullmatch(r"[A-Za-z]+", answer) is not None,
    ),
    "quoted": (
        "Put the answer in double quotation marks, inside the tags.",
        lambda answer: re.fullmatch(r'"[^"]+"', answer) is not None,
    ),
}
"""Demands on the answer between its tags."""

NOISE: Mapping[str, Callable[[str], str]] = {
    "insert": lambda text: text.replace(" [", " ... ["),
    "delete": lambda text: text.replace("[", "").replace("]", ""),
    "modify": lambda text: text.replace("[", "(").replace("]", ")").lower(),
    "hybrid": lambda text: text.replace(" [", " ,, <").replace("]", ">"),
}
"""Changes of how a prompt is written that leave what it says."""

RULES = (
    "A word is a row of letters. An operation makes a new word of it:\n"
    "[F1] replaces each letter by the one 13 places further in the alphabet, and begins again at A after Z.\n"
    "[F2] moves the first letter to the end.\n"
    "[F3] turns the row of letters round.\n"
    "Apply the operations to the word from left to right, the next one to what the last one made.\n"
)
ASK = "End with the last word between <answer> and </answer>, such as <answer>A B C D</answer>."
ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)


def apply_chain(chain: Sequence[str], word: str) -> str:
    """Return the word after all operations of a chain."""
    for name in chain:
        word = OPERATIONS[name](word)
    return word


def edit_distance(one: str, other: str) -> int:
    """Return the fewest insertions, removals and replacements of letters that make one word of the other."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != wanted))
    return row[-1]


def tasks(seed: int = 0) -> Iterator[tuple[str, int, str, tuple[str, ...], str]]:
    """Yield ``(axis, number, word, chain, variant)``; ``variant`` names the noise or the constraint."""
    for axis in AXES:
        for number in range(PER_AXIS):
            draw = random.Random(f"alchemy/{seed}/{axis}/{number}")
            length = 4
            chain: tuple[str, ...] = draw.choice(TASK_CHAINS if axis == "task" else BASE_CHAINS)
            if axis == "length":
                length = draw.choice((2, 3, 6, 8))
                chain = tuple(draw.choice(("F1", "F2")) for _ in range(draw.choice((1, 3, 4))))
            variant = ""
            if axis in ("format", "constraint"):
                choices = list(NOISE if axis == "format" else CONSTRAINTS)
                variant = choices[number % len(choices)]
            yield axis, number, "".join(draw.choice(ALPHABET) for _ in range(length)), chain, variant


@suite("alchemy")
class Alchemy(SuiteKind):
    """Words and operations made here; it reads no file."""

    twins = False
    modes = ("hardened",)
    headline = "exact"

    def problems(self, source: SuiteSource) -> list[str]:
        return ["evaluation.path: alchemy makes its prompts; leave the path out"] if source.path else []

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        for axis, number, word, chain, variant in tasks():
            line = f"{' '.join(word)} " + " ".join(f"[{name}]" for name in chain)
            if axis == "format":
                line = NOISE[variant](line)
            demand = f" {CONSTRAINTS[variant][0]}" if axis == "constraint" else ""
            text = f"{RULES}\n{line}\n\n{ASK}{demand}"
            checklist = (Requirement("0", CONSTRAINTS[variant][0], SuiteCheck(variant)),) if demand else ()
            yield PromptItem(
                id=f"alchemy/{axis}/{number}",
                messages=(Message(role="user", content=text),),
                answer=None,
                checklist=checklist,
                source=f"alchemy/{axis}",
                question=text,
                meta={"axis": axis, "target": apply_chain(chain, word)},
            )

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        scores = []
        for item, generation in pairs:
            target = str(item.meta["target"])
            verdicts: tuple[Verdict, ...]
            if generation.error:
                correct = unscored(Status.ERROR, generation.error)
                verdicts, near = tuple(correct for _ in item.checklist), None
            else:
                text = judged_text(generation, mode)
                found = ANSWER.findall(text or "")
                answer = found[-1].strip() if found else ""
                # Two letters of case are one; what is between the letters is the constraint's to judge.
                word = re.sub(r"[\s,;\"'.\-]", "", answer).upper()[: 4 * len(target)]
                why = UNFINISHED if text is None else "" if found else "no <answer>"
                correct = failed(why) if why else decided(word == target, f"'{word}' for '{target}'")
                near = 1.0 - edit_distance(word, target) / max(len(word), len(target))
                verdicts = tuple(
                    failed(why) if why or not answer else decided(CONSTRAINTS[r.label][1](answer), r.label)
                    for r in item.checklist
                )
            hacc = verdicts[0].score if verdicts else None
            joint = None if hacc is None or correct.score is None else hacc * correct.score
            figures = {"exact": (correct.score,), "similarity": (near,)}
            scores.append(Score(correct, verdicts, hacc, hacc, joint, measures=figures))
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for axis in AXES:
            chosen = [row for row in rows if row.item.meta["axis"] == axis]
            for name in ("exact", "similarity") if chosen else ():
                values = [row.score.measures[name][0] for row in chosen]
                found[f"{name}_{axis}"] = bootstrap.estimate(values, [row.item.id for row in chosen]).to_dict()
        return found
