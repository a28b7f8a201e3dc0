"""Does the model read its instructions? Where they stand, and what is left when they are changed (arXiv 2305.11383)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adhere.evaluation.diagnostics.reasoning import compare_variants
from adhere.evaluation.diagnostics.subject import Subject
from adhere.evaluation.scoring import finished_reasoning, score_responses
from adhere.evaluation.statistics import Bootstrap
from adhere.prompts.attach import REQUEST_ARGUMENT, without_constraints
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import DataError

Variant = Callable[[int], str]


def separable(items: Sequence[PromptItem]) -> list[tuple[PromptItem, str, str]]:
    """Return items with constraints that can be moved, each with its request without them, and their texts.

    Constraints that speak of the request above cannot be moved, nor can those that do not stand in the last turn.
    """
    found = []
    for item in items:
        speaks_of_it = any(REQUEST_ARGUMENT in rule.kwargs for r in item.checklist for rule in r.rules)
        if not item.checklist or speaks_of_it:
            continue
        try:
            bare = without_constraints(item)
        except DataError:
            continue
        texts = " ".join(requirement.text for requirement in item.checklist)
        found.append((item, bare.messages[-1]["content"], texts))
    return found


def contextual_distance(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return accuracy and HAcc with the constraints at the ``start``, the ``end`` and ``both`` ends of the request.

    ``change`` is against ``end``. ``trace_length`` is the rank correlation of HAcc with the tokens of the reasoning (of
    the response, where it does not reason) over the prompts as they end with their constraints, in [-1, 1]: the
    distance that the reasoning itself puts between instruction and answer.

    Args:
        subject: the model.
        items: prompts; those whose constraints cannot be moved are left out and counted.
        base: not used.

    Raises:
        DataError: no prompt has constraints that can be moved.
    """
    found = _moved(items, "contextual distance")
    variants: dict[str, Variant] = {
        "end": lambda i: f"{found[i][1]} {found[i][2]}",
        "start": lambda i: f"{found[i][2]} {found[i][1]}",
        "both": lambda i: f"{found[i][2]} {found[i][1]} {found[i][2]}",
    }
    kept = [item for item, _, _ in found]
    scored, lengths = {}, list[int]()
    for name, text in variants.items():
        asked = [_asked(item, text(i)) for i, item in enumerate(kept)]
        drawn = subject.answer(asked)
        scored[name] = score_responses(list(zip(asked, drawn, strict=True)), "hardened", default_engine())
        if name == "end":
            lengths = [len(subject.ids(finished_reasoning(g) or g.text)) for g in drawn]
    figures = compare_variants(kept, scored, "end")
    pairs = [(n, s.hacc) for n, s in zip(lengths, scored["end"], strict=True) if s.hacc is not None]
    figures["trace_length"] = rank_correlation([n for n, _ in pairs], [float(h) for _, h in pairs])
    return figures | {"left_out": len(items) - len(found)}


def instruction_controls(subject: Subject, items: Sequence[PromptItem], base: Subject | None = None) -> dict[str, Any]:
    """Return how far the constraints are met when the model was told something else.

    ``original``: the prompt. ``simplified``: its constraints without the question. ``empty``: the question without its
    constraints. ``delusive``: it is asked not to do what they say. ``shuffled``: another prompt's constraints. All are
    scored on the prompt's own constraints; ``change`` is each minus ``original``. Only what a model loses by
    ``empty``, ``delusive`` and ``shuffled`` is understanding of the instruction.

    Args:
        subject: the model.
        items: prompts; those whose constraints cannot be moved are left out and counted.
        base: not used.

    Raises:
        DataError: fewer than two prompts have constraints that can be moved.
    """
    found = _moved(items, "instruction controls", least=2)

    def other(i: int) -> str:
        ids = sorted(requirement.label for requirement in found[i][0].checklist)
        after = [*range(i + 1, len(found)), *range(i)]
        differs = (j for j in after if sorted(r.label for r in found[j][0].checklist) != ids)
        return found[next(differs, after[0])][2]

    variants: dict[str, Variant] = {
        "original": lambda i: f"{found[i][1]} {found[i][2]}",
        "simplified": lambda i: found[i][2],
        "empty": lambda i: found[i][1],
        "delusive": lambda i: f"{found[i][1]} What follows is the opposite of what I want, do not do it: {found[i][2]}",
        "shuffled": lambda i: f"{found[i][1]} {other(i)}",
    }
    kept, scored = [item for item, _, _ in found], {}
    for name, text in variants.items():
        asked = [_asked(item, text(i)) for i, item in enumerate(kept)]
        drawn = subject.answer(asked)
        scored[name] = score_responses(list(zip(asked, drawn, strict=True)), "hardened", default_engine())
    figures = compare_variants(kept, scored, "original", ("hacc", "sacc"))
    return figures | {"left_out": len(items) - len(found)}


def rank_correlation(
    first: Sequence[float], second: Sequence[float], bootstrap: Bootstrap | None = None
) -> dict[str, Any]:
    """Return Spearman's rank correlation with its interval; ``None`` where one side does not vary."""
    bootstrap, n = bootstrap or Bootstrap(resamples=1000), len(first)

    def ranks(values: np.ndarray) -> np.ndarray:
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2.0)[places]

    def correlation(rows: np.ndarray) -> float | None:
        a, b = ranks(np.asarray(first, float)[rows]), ranks(np.asarray(second, float)[rows])
        return None if a.std() == 0.0 or b.std() == 0.0 else float(np.corrcoef(a, b)[0, 1])

    mean = correlation(np.arange(n)) if n > 1 else None
    if mean is None:
        return {"mean": None, "low": None, "high": None, "n": n}
    rng = np.random.default_rng(bootstrap.seed)
    drawn = [c for _ in range(bootstrap.resamples) if (c := correlation(rng.integers(0, n, n))) is not None]
    low, high = bootstrap.interval(np.asarray(drawn))
    return {"mean": mean, "low": float(low), "high": float(high), "n": n}


def _moved(items: Sequence[PromptItem], what: str, least: int = 1) -> list[tuple[PromptItem, str, str]]:
    found = separable(items)
    if len(found) < least:
        raise DataError(f"{what}: needs {least} prompts with constraints that can be moved, there are {len(found)}")
    return found


def _asked(item: PromptItem, text: str) -> PromptItem:
    # The request without constraints keeps its earlier turns: a system turn may hold the constraints themselves.
    *before, last = without_constraints(item).messages
    return replace(item, messages=(*before, Message(role=last["role"], content=text)))
