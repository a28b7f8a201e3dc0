"""Trivial floors: what answers that took no thought score on the same items.

HAcc by itself can be gamed: on MathIF the constant ``0`` meets all constraints of 15.48 % of the prompts, which
is more than 6 of the 23 models in its paper do, and a template that only obeys reaches 99 % with hardly any
answer right. A model's figures mean something only above these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import Score, ScoredRow, score_responses
from adhere.prompts.item import PromptItem
from adhere.prompts.probes import BOX, PROBES
from adhere.rewards.checklist import Decider
from adhere.rewards.constraints import Checker, Mode, by_scope, comply
from adhere.rewards.engine import Engine
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN

TEMPLATE_TEXT = "Here is my response."

FLOORS: dict[str, Callable[[PromptItem], str]] = {
    "constant 0": lambda item: "0",
    "constant \\boxed{0}": lambda item: "\\boxed{0}",
    "constraints only": lambda item: template_response(item),
}


def template_response(item: PromptItem) -> str:
    """Return a text without maths that meets the item's rules; plain prose where none is known."""
    answer, reasoning = by_scope([rule.checker for r in item.checklist if (rule := r.rule) is not None])
    thinking = f"{THINK_OPEN}\n{_obeying(reasoning)}\n{THINK_CLOSE}\n\n" if reasoning else ""
    return thinking + _obeying(answer)


def _obeying(wanted: Sequence[Checker]) -> str:
    language = next((str(c.kwargs["language"]) for c in wanted if "language" in c.kwargs), None)
    draft = PROBES[language].replace(BOX, "").strip() if language in PROBES else TEMPLATE_TEXT
    feasible = [checker for checker in wanted if checker.constraint.rewritable]
    return comply(draft, wanted) or comply(draft, feasible) or draft


def score_floors(
    items: Sequence[PromptItem],
    mode: Mode = "hardened",
    engine: Engine | None = None,
    judge: Decider | None = None,
    score: Callable[..., list[Score]] = score_responses,
) -> dict[str, list[ScoredRow]]:
    """Return the scored rows of every floor on ``items``, by the floor's name.

    Args:
        items: the prompt items of a suite.
        mode: the constraint checkers that decide.
        engine: worker pool of the maths verifier; default: the shared one.
        judge: decides the requirements that only a judge can.
        score: how the suite scores responses.
    """
    rows: dict[str, list[ScoredRow]] = {}
    for name, respond in FLOORS.items():
        given = [(item, Generation(respond(item), None, True)) for item in items]
        scores = score(given, mode, engine, judge)
        rows[name] = [
            ScoredRow(item, 0, generation, score) for (item, generation), score in zip(given, scores, strict=True)
        ]
    return rows
