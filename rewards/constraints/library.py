"""What the rest of the code calls: check, validate, describe, sample and rewrite by a constraint's id."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from adhere.rewards.constraints import (
    case,
    characters,
    contents,
    copying,
    counting,
    firstlast,
    forms,
    keywords,
    language,
    layout,
    length,
    letters,
    marks,
    paragraphs,
    passages,
    placement,
    punctuation,
    reasoning,
    sentence_count,
    startend,
    wrapping,
)
from adhere.rewards.constraints.base import REGISTRY, Constraint, Kwargs, Mode, Sampler
from adhere.rewards.constraints.checker import Checker
from adhere.rewards.constraints.text import boxed_spans
from adhere.rewards.constraints.vocabulary import TRAINING_KEYWORDS
from adhere.rewards.errors import ConstraintError, nearest
from adhere.rewards.verdict import Verdict, failed

FAMILIES = (
    *(keywords, language, length, layout, startend, case, punctuation),
    *(characters, sentence_count, passages, contents, forms),
    *(copying, counting, firstlast, letters, marks, paragraphs, placement, wrapping),
    reasoning,
)
"""The modules whose constraints are registered; a new family is added here."""

MODES: tuple[Mode, ...] = get_args(Mode)

DEFAULT_RANGES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "num_keywords": (1, 2),
        "num_forbidden": (1, 2),
        "frequency": (1, 3),
        "num_words": (40, 160),
        "num_bullets": (2, 5),
        "num_highlights": (1, 4),
        "num_sections": (2, 4),
        "capital_frequency": (1, 6),
        "num_copies": (2, 3),
        "num_variants": (2, 3),
        "num_letters": (200, 800),
        "letter_frequency": (2, 10),
        "num_lowercase": (10, 30),
        "sentence_position": (1, 3),
        "word_position": (1, 6),
        "sentences_per_paragraph": (2, 3),
        "words_per_sentence": (4, 8),
        "let_frequency": (3, 12),
        "num_sentences": (3, 10),
        "num_paragraphs": (2, 4),
        "num_placeholders": (1, 4),
        "reasoning_words": (60, 240),
    }
)
"""Inclusive ranges that ``sample`` draws counts from."""


def registry() -> Mapping[str, Constraint]:
    """Return every constraint by its id, read-only."""
    return MappingProxyType(REGISTRY)


def collections() -> tuple[str, ...]:
    """Return the names of the collections that constraints come from, such as ``mathif``."""
    return tuple(dict.fromkeys(constraint.collection for constraint in REGISTRY.values()))


def find(constraint_id: str, where: str = "") -> Constraint:
    """Return the constraint called ``constraint_id``; ``ConstraintError`` names the nearest id if there is none."""
    constraint = REGISTRY.get(constraint_id) if isinstance(constraint_id, str) else None
    if constraint is None:
        hint = nearest(str(constraint_id), REGISTRY)
        raise ConstraintError(
            f"{_at(where)}no constraint is called '{constraint_id}'{hint}; known: {', '.join(REGISTRY)}"
        )
    return constraint


def validate(constraint_id: str, kwargs: Kwargs | None, where: str = "") -> dict[str, Any]:
    """Return the clean arguments of a constraint.

    Keys whose value is ``None`` are dropped and whole floats become integers: both are what parquet makes of
    rows with different keys.

    Raises:
        ConstraintError: an unknown id, or an argument that is unknown, missing, of the wrong type or out of range; the
            message opens with ``where`` and names the id and the key.
    """
    constraint = find(constraint_id, where)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ConstraintError(f"{_at(where)}{constraint_id}: needs a mapping of arguments, got {kwargs!r}")
    given = {key: value for key, value in (kwargs or {}).items() if value is not None}
    names = [param.name for param in constraint.params]
    for key in given:
        if key not in names:
            takes = f"takes {', '.join(names)}" if names else "takes no arguments"
            raise ConstraintError(
                f"{_at(where)}{constraint_id}: unknown argument '{key}'{nearest(key, names)}; it {takes}"
            )
    clean = {}
    for param in constraint.params:
        if param.name not in given:
            raise ConstraintError(f"{_at(where)}{constraint_id}: lacks '{param.name}' ({param.doc})")
        try:
            clean[param.name] = param.parse(given[param.name])
        except ValueError as error:
            raise ConstraintError(f"{_at(where)}{constraint_id}.{param.name}: {error}") from error
    misfit = constraint.misfit(clean)
    if misfit is not None:
        raise ConstraintError(f"{_at(where)}{constraint_id}: {misfit}")
    return clean


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def check(constraint_id: str, text: str, kwargs: Kwargs | None = None, mode: Mode = "hardened") -> Verdict:
    """Decide whether ``text`` meets a constraint: 1.0 or 0.0, with one line that says why.

    ``compat`` agrees with the official code of MathIF (arXiv 2505.14810) and IFEval (arXiv 2311.07911), ``hardened``
    closes its holes. A blank
    text fails everything in both. Both take time linear in the text. A keyword that is no regular expression
    leaves ``compat`` without a score.

    Raises:
        ConstraintError: see ``validate``.
    """
    return prepare(constraint_id, kwargs, mode)(text)


def prepare(constraint_id: str, kwargs: Kwargs | None = None, mode: Mode = "hardened") -> Checker:
    """Return what ``check`` does with these arguments, validated once: the way to decide many texts.

    Raises:
        ConstraintError: see ``validate``.
    """
    if mode not in MODES:
        raise ConstraintError(f"mode: '{mode}' is neither 'compat' nor 'hardened'")
    clean = validate(constraint_id, kwargs)
    return Checker(REGISTRY[constraint_id], clean, mode)


def check_scoped(
    constraint_id: str, text: str, reasoning: str | None, kwargs: Kwargs | None = None, mode: Mode = "hardened"
) -> Verdict:
    """Decide a constraint on the part of a response that it is about: its ``reasoning``, or ``text``.

    A constraint on the reasoning fails where there is none (``None``).

    Raises:
        ConstraintError: see ``check``.
    """
    if find(constraint_id).scope == "answer":
        return check(constraint_id, text, kwargs, mode)
    return failed("no finished reasoning block") if reasoning is None else check(constraint_id, reasoning, kwargs, mode)


def paraphrases(constraint_id: str) -> int:
    """Return how many ways there are to ask for a constraint."""
    return len(find(constraint_id).phrasings)


def describe(constraint_id: str, kwargs: Kwargs | None = None, variant: int = 0) -> str:
    """Ask for a constraint in English; ``variant`` (modulo ``paraphrases``) is the wording, 0 has MathIF's meaning."""
    constraint = find(constraint_id)
    phrasing = constraint.phrasings[variant % len(constraint.phrasings)]
    return phrasing.format(**constraint.fields(validate(constraint_id, kwargs)))


def sample(
    constraint_id: str,
    rng: random.Random,
    *,
    keywords: Sequence[str] | None = None,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    question: str | None = None,
) -> dict[str, Any]:
    """Draw arguments for a training prompt.

    ``keywords`` replaces the pool of words (default: ``TRAINING_KEYWORDS``, none of them MathIF's);
    ``ranges`` overrides entries of ``DEFAULT_RANGES``, both ends included; ``question`` is what
    ``combination:repeat_prompt`` has to repeat.

    Raises:
        ConstraintError: an unknown id or range, a pool too small, or no ``question`` where one is needed.
    """
    constraint = find(constraint_id)
    for key in ranges or {}:
        if key not in DEFAULT_RANGES:
            raise ConstraintError(f"ranges.{key}: no such range{nearest(key, DEFAULT_RANGES)}")
    pool = TRAINING_KEYWORDS if keywords is None else tuple(keywords)
    try:
        drawn = constraint.sample(Sampler(rng, pool, {**DEFAULT_RANGES, **(ranges or {})}, question))
    except LookupError as error:
        copies = any(param.name == "prompt_to_repeat" for param in constraint.params)
        needed = "a question to repeat" if copies else "keywords to draw from"
        raise ConstraintError(f"{constraint_id}: sampling needs {needed}") from error
    except ValueError as error:
        raise ConstraintError(
            f"{constraint_id}: cannot sample from {len(pool)} keywords and these ranges: {error}"
        ) from error
    return validate(constraint_id, drawn)


def meets(constraint_id: str, text: str, kwargs: Kwargs | None) -> bool:
    """Whether ``text`` meets a constraint in both modes."""
    return all(check(constraint_id, text, kwargs, mode).passed for mode in MODES)


def transform(constraint_id: str, text: str, kwargs: Kwargs | None = None) -> str | None:
    """Rewrite ``text`` so that it meets a constraint in both modes; ``None`` where that cannot be done.

    The last ``\\boxed{...}`` survives; only its case, its thousands separators and its spacing may change. A
    text that already complies is returned as it is, so applying a transform twice is applying it once.
    """
    if meets(constraint_id, text, kwargs):
        return text
    done = find(constraint_id).rewrite(text, validate(constraint_id, kwargs)) if text.strip() else None
    if done is None or not meets(constraint_id, done, kwargs) or _last_box(done) != _last_box(text):
        return None
    return done


def _last_box(text: str) -> str:
    """Return the last box without what transforms may change: case, thousands separators and spacing."""
    spans = boxed_spans(text)
    return re.sub(r"[\s,\\]", "", text[slice(*spans[-1])]).casefold() if spans else ""
