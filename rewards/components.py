"""The reward components: each turns a batch of rollouts into one verdict per rollout, in order."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.checklist import score_checklist
from rewards.config import (
    ChecklistComponent,
    ComponentConfig,
    FormatComponent,
    LengthComponent,
    MathComponent,
)
from rewards.engine import Engine
from rewards.math import verify_batch
from rewards.math.extract import extract_answer
from rewards.rollout import Rollout
from rewards.segments import split_response
from rewards.verdict import Status, Verdict, failed, passed, unscored

UNFINISHED = "the reasoning block was never closed"


def score_component(config: ComponentConfig, rollouts: Sequence[Rollout], engine: Engine) -> list[Verdict]:
    """Score every rollout by the component that ``config`` describes."""
    match config:
        case MathComponent():
            return _math(rollouts, engine)
        case ChecklistComponent():
            return [_checklist(config, rollout) for rollout in rollouts]
        case FormatComponent():
            return [_format(config, rollout) for rollout in rollouts]
        case LengthComponent():
            return [_length(config, rollout) for rollout in rollouts]


def _math(rollouts: Sequence[Rollout], engine: Engine) -> list[Verdict]:
    answers = [split_response(r.response, prefilled=r.prefilled).answer for r in rollouts]
    verdicts = verify_batch([(r.answer, a or "") for r, a in zip(rollouts, answers, strict=True)], engine)
    return [
        failed(UNFINISHED) if answer is None and rollout.answer is not None else verdict
        for rollout, answer, verdict in zip(rollouts, answers, verdicts, strict=True)
    ]


def _checklist(config: ChecklistComponent, rollout: Rollout) -> Verdict:
    if not rollout.checklist:
        return unscored(Status.NOT_APPLICABLE, "no requirement")
    text = split_response(rollout.response, prefilled=rollout.prefilled).scoped(config.scope)
    if text is None:
        parts = tuple(failed(UNFINISHED) for _ in rollout.checklist)
        return Verdict(0.0, detail=UNFINISHED, parts=parts)
    return score_checklist(text, rollout.checklist, config.scoring, config.mode)


def _format(config: FormatComponent, rollout: Rollout) -> Verdict:
    segments = split_response(rollout.response, prefilled=rollout.prefilled)
    if segments.answer is None:
        return failed(UNFINISHED)
    if not rollout.finished:
        return failed("cut at the length limit")
    if config.require_reasoning and not segments.reasoning:
        return failed("no reasoning block")
    if rollout.answer is not None and extract_answer(segments.answer) is None:
        return failed("no committed answer")
    return passed("well formed")


def _length(config: LengthComponent, rollout: Rollout) -> Verdict:
    span = config.maximum - config.target
    score = min(1.0, max(0.0, (config.maximum - rollout.tokens) / span))
    return Verdict(score, detail=f"{rollout.tokens} tokens")
