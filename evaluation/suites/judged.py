"""How a suite has a judge decide the questions of its checklists, on the whole conversation."""

from __future__ import annotations

from collections.abc import Sequence

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import UNFINISHED
from adhere.evaluation.suites.following import judged_text
from adhere.prompts.checklists import conversation
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Decider, score_batch
from adhere.rewards.constraints import Mode
from adhere.rewards.engine import Engine
from adhere.rewards.verdict import Status, Verdict, failed, unscored


def is_met(verdict: Verdict) -> float | None:
    """Return 1.0 where a judge's grade is at least a half, 0.0 where it is below, ``None`` where there is none."""
    return None if verdict.score is None else float(verdict.score >= 0.5)


def judged_verdicts(
    pairs: Sequence[tuple[PromptItem, Generation]], mode: Mode, engine: Engine | None, judge: Decider | None
) -> list[tuple[Verdict, ...]]:
    """Return the verdict on every requirement of each response; the judge reads all turns of the prompt.

    A response that was lost has none that is scored, and a thought without an end, or a blank text, meets nothing.

    Args:
        pairs: items with one response each.
        mode: what is cut out of the response, see ``judged_text``.
        engine: worker pool of rules that may take long.
        judge: decides the requirements that only a judge can.

    Raises:
        ConfigError: a requirement needs a judge and ``judge`` is ``None``.
    """
    texts = [None if generation.error else judged_text(generation, mode) for _, generation in pairs]
    asked = [i for i, text in enumerate(texts) if text is not None]
    found = score_batch(
        [texts[i] or "" for i in asked],
        [pairs[i][0].checklist for i in asked],
        [conversation(pairs[i][0].messages) for i in asked],
        "mean",
        mode,
        judge,
        engine=engine,
    )
    parts = {i: verdict.parts for i, verdict in zip(asked, found, strict=True)}
    verdicts = []
    for i, (item, generation) in enumerate(pairs):
        lost = unscored(Status.ERROR, generation.error) if generation.error else failed(UNFINISHED)
        verdicts.append(tuple(parts.get(i, tuple(lost for _ in item.checklist))))
    return verdicts
