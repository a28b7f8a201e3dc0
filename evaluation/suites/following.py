"""How IFEval and the benchmarks in its form are scored: each instruction by a rule, strict and loose."""

from __future__ import annotations

from collections.abc import Sequence

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import UNFINISHED, Score
from adhere.prompts.item import PromptItem
from adhere.rewards.constraints import Mode
from adhere.rewards.segments import THINK_CLOSE, split_response
from adhere.rewards.verdict import Status, Verdict, failed, unscored

NO_GOLD = "the suite has no gold answers"


def judged_text(generation: Generation, mode: Mode) -> str | None:
    """Return the part of a response that is scored: what follows a finished reasoning block.

    A block that never ended leaves nothing in ``hardened``. In ``compat`` the response is then read whole, as the
    official driver reads every response.
    """
    if mode == "compat":
        _, closed, answer = generation.text.rpartition(THINK_CLOSE)
        return answer.strip() if closed else generation.text
    return split_response(generation.text, prefilled=generation.prefilled).answer


def following_score(item: PromptItem, strict: Sequence[Verdict], loose: Sequence[Verdict]) -> Score:
    """Return the score of a response whose instructions are judged, with the four figures of IFEval.

    ``prompt_*`` is whether all instructions of the prompt are met, ``instruction_*`` the share over all instructions of
    all prompts (arXiv 2311.07911). HAcc and SAcc are the strict ones of the prompt.
    """
    measures: dict[str, tuple[float | None, ...]] = {}
    for way, verdicts in (("strict", strict), ("loose", loose)):
        scores = tuple(verdict.score for verdict in verdicts)
        known = [score for score in scores if score is not None]
        whole = float(all(score == 1.0 for score in known)) if len(known) == len(scores) else None
        measures[f"prompt_{way}"], measures[f"instruction_{way}"] = (whole,), scores
    (hacc,) = measures["prompt_strict"]
    sacc = None if hacc is None else sum(verdict.score or 0.0 for verdict in strict) / len(strict)
    nothing = unscored(Status.NOT_APPLICABLE, NO_GOLD)
    return Score(nothing, tuple(strict), hacc, sacc, None, measures=measures)


def missing_score(item: PromptItem, generation: Generation) -> Score:
    """Return the score of a response that has no text to judge: lost by an error, or a thought without an end."""
    lost = unscored(Status.ERROR, generation.error) if generation.error else failed(UNFINISHED)
    verdicts = [lost for _ in item.checklist]
    return following_score(item, verdicts, verdicts)
