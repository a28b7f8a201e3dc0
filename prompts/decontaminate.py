"""Keep evaluation questions out of training data: word n-gram overlap, and MathIF's keywords."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.prompts.item import PromptItem, read_rows
from adhere.rewards.constraints import MATHIF_KEYWORDS
from adhere.rewards.errors import DataError

# An n-gram that this share of the evaluation questions has, and this many, is the wording of a task ("give
# the result as your final answer"), not a question that leaked.
BOILERPLATE_SHARE = 0.05
BOILERPLATE_COUNT = 10

MATHIF_FILE = Path(__file__).with_name("mathif_questions.txt")
"""Fingerprints of MathIF's questions, one a line; ``bench/mathif_fingerprints.py`` makes the file."""

IFEVAL_FILE = Path(__file__).with_name("ifeval_questions.txt")
"""Fingerprints of IFEval's prompts, made in the same way."""

MATHIF_SUFFIX = re.compile(r"\s*Let's think step by step and output the final answer .*$", re.DOTALL)

QUESTION_KEYS = ("question", "problem", "prompt", "instruction")
TURN_KEYS = ("messages", "conversations")
"""Columns that hold a conversation, whose first turn of the user is the question."""

_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the comparison found: the training items that stay, and a report ready for JSON."""

    kept: list[PromptItem]
    report: dict[str, Any]


def whole(question: str) -> str:
    """Return the question for comparison as a whole: lower case, one space between words and signs, no final mark."""
    return " ".join(_TOKEN.findall(question.lower())).rstrip(" .?!=")


def ngrams(question: str, n: int) -> set[str]:
    """Return the lower-cased word ``n``-grams of a question; none when it has fewer than ``n`` words."""
    words = _WORD.findall(question.lower())
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def read_questions(path: Path) -> list[str]:
    """Read the questions of a data file (column ``question``, ``problem`` or ``prompt``), MathIF's files as they are.

    Raises:
        DataError: the file cannot be read, is empty, or a row has none of these columns.
    """
    questions = []
    for row in read_rows(path):
        key = next((key for key in QUESTION_KEYS if isinstance(row.values.get(key), str)), None)
        turns: list[Any] = next((row.values[key] for key in TURN_KEYS if isinstance(row.values.get(key), list)), [])
        asked = [turn["content"] for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
        if key is None and not asked:
            looked = ", ".join((*QUESTION_KEYS, *TURN_KEYS))
            raise DataError(f"{row.where}: no question to keep out (looked for {looked})")
        questions.append(str(asked[0] if key is None else row.values[key]))
    if not questions:
        raise DataError(f"{path}: holds no question to keep out of training")
    return questions


def remove_overlap(
    items: Sequence[PromptItem],
    against: Iterable[str],
    against_generated: Iterable[str] = (),
    *,
    generated: Collection[str] = (),
    n: int = 8,
) -> Overlap:
    """Leave out training items that share a word ``n``-gram with an evaluation question.

    Questions of fewer than ``n`` words are compared as a whole, and so is generated training against
    generated evaluation (``generated`` names such sources): one template makes both, and only the numbers
    tell them apart.

    Args:
        items: the training items.
        against: evaluation questions that people wrote.
        against_generated: evaluation questions that a generator made.
        generated: names of the training sources that a generator made.
        n: number of consecutive words that count as an overlap.
    """
    written, made = list(against), list(against_generated)
    wholes = {whole(question) for question in (*written, *made)}
    written_grams = _grams(written, n)
    all_grams = written_grams | _grams(made, n)
    kept: list[PromptItem] = []
    examples: list[dict[str, str]] = []
    removed: Counter[str] = Counter()
    for item in items:
        grams = written_grams if item.source in generated else all_grams
        text = whole(item.question)
        shared = text if text in wholes else min(ngrams(item.question, n) & grams, default=None)
        if shared is None:
            kept.append(item)
            continue
        removed[item.source] += 1
        if len(examples) < 5:
            examples.append({"id": item.id, "shared": shared})
    report = {
        "checked": len(items),
        "against": len(written) + len(made),
        "ngram": n,
        "removed": sum(removed.values()),
        "removed_by_source": dict(removed),
        "examples": examples,
    }
    return Overlap(kept, report)


def _grams(questions: Sequence[str], n: int) -> set[str]:
    """Return the n-grams that tell these questions apart from a task's wording."""
    distinct = {whole(question): question for question in questions}.values()
    counted = Counter(gram for question in distinct for gram in ngrams(question, n))
    limit = max(BOILERPLATE_COUNT, BOILERPLATE_SHARE * len(distinct))
    return {gram for gram, count in counted.items() if count < limit}


def question_fingerprint(question: str) -> str:
    """Return 16 hex digits that stand for a question, whatever its case, spacing and closing instruction."""
    return hashlib.sha256(whole(MATHIF_SUFFIX.sub("", question)).encode()).hexdigest()[:16]


def remove_known(items: Sequence[PromptItem], fingerprints: Path) -> Overlap:
    """Leave out training items that ask a question of a benchmark, by the fingerprints that ship with this package.

    It needs no file of the benchmark's and finds the same question only; overlapping ones are found where the recipe is
    measured on MathIF, or names its files in ``decontaminate_against``.
    """
    known = frozenset(fingerprints.read_text(encoding="utf-8").split())
    kept = [item for item in items if question_fingerprint(item.question) not in known]
    return Overlap(kept, {"checked": len(items), "known": len(known), "removed": len(items) - len(kept)})


def mathif_words(item: PromptItem) -> set[str]:
    """Return the keywords of MathIF's that the constraints of an item name, in lower case."""
    return _named(item) & MATHIF_KEYWORDS


def _named(item: PromptItem) -> set[str]:
    words: set[str] = set()
    for kwargs in (rule.kwargs for requirement in item.checklist for rule in requirement.rules):
        named = [kwargs.get(key) for key in ("keyword", "keyword1", "keyword2", "first_word", "last_word")]
        named += [*(kwargs.get("keywords") or ()), *(kwargs.get("forbidden_words") or ())]
        words |= {str(word).lower() for word in named if word}
    return words


def check_keywords(items: Iterable[PromptItem]) -> int:
    """Check that no constraint of a training item names one of MathIF's keywords; return how many words were checked.

    Raises:
        DataError: naming the item and the words.
    """
    checked = 0
    for item in items:
        checked += len(_named(item))
        taken = sorted(mathif_words(item))
        if taken:
            raise DataError(
                f"item '{item.id}': its constraints name {', '.join(taken)}, of MathIF's keywords, "
                f"which stay out of training; choose other words"
            )
    return checked
