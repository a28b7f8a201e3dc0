"""All diagnostics of a model on some prompts, and of the model that it was tuned from beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from adhere.evaluation.diagnostics.attention import constraint_attention
from adhere.evaluation.diagnostics.information import information_gain
from adhere.evaluation.diagnostics.instructions import contextual_distance, instruction_controls
from adhere.evaluation.diagnostics.reasoning import chain_of_thought, faithfulness
from adhere.evaluation.diagnostics.selection import best_at_k, routing
from adhere.evaluation.diagnostics.subject import Subject
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError, nearest

Diagnostic = Callable[[Subject, Sequence[PromptItem], Subject | None], dict[str, Any] | None]

DIAGNOSTICS: dict[str, Diagnostic] = {
    "attention": constraint_attention,
    "distance": contextual_distance,
    "controls": instruction_controls,
    "chain": chain_of_thought,
    "gain": information_gain,
    "faithfulness": faithfulness,
    "best_at_k": best_at_k,
    "routing": routing,
}
"""The diagnostics by name. Each gets the model, the prompts, and the model that it was tuned from where that is known;
``None`` says that there is nothing to compare."""


def check_names(only: Sequence[str] | None) -> None:
    """Check that there is a diagnostic of each name.

    Raises:
        ConfigError: there is not; says which there are.
    """
    for name in only or ():
        if name not in DIAGNOSTICS:
            raise ConfigError(
                f"only: there is no diagnostic '{name}'{nearest(name, DIAGNOSTICS)}; there are {', '.join(DIAGNOSTICS)}"
            )


def diagnose(
    subject: Subject,
    items: Sequence[PromptItem],
    against: Subject | None = None,
    only: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Return the figures of every diagnostic, or of those in ``only``.

    Args:
        subject: the model.
        items: the prompts.
        against: the model that it was tuned from, which is diagnosed alike.
        only: names of diagnostics.
        progress: gets the name of each diagnostic before it runs.

    Returns:
        ``{model, against, prompts, seconds, diagnostics: {name: {model: figures, against: figures}}}``.

    Raises:
        ConfigError: ``only`` names what there is not.
    """
    check_names(only)
    started, found = time.perf_counter(), dict[str, Any]()
    for name in only or DIAGNOSTICS:
        progress(name)
        sides = {"model": subject} | ({} if against is None else {"against": against})
        figures = {side: DIAGNOSTICS[name](who, items, against) for side, who in sides.items()}
        found[name] = {side: figure for side, figure in figures.items() if figure is not None}
    return {
        "model": subject.name,
        "against": None if against is None else against.name,
        "prompts": len(items),
        "seconds": round(time.perf_counter() - started, 1),
        "diagnostics": found,
    }
