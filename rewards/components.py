"""The reward components: each turns a batch of rollouts into one verdict per rollout, in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rewards.checklist import costly_calls, score_checklist
from rewards.config import (
    ChecklistComponent,
    ComponentConfig,
    FormatComponent,
    LengthComponent,
    MathComponent,
)
from rewards.constraints import RuleCall, check_batch
from rewards.engine import Engine
from rewards.math import verify_batch
from rewards.math.extract import extract_answer
from rewards.rollout import Rollout
from rewards.segments import split_response
from rewards.verdict import Status, Verdict, failed, passed, unscored

FILLED_BOX = re.compile(r"\\boxed\s*\{\s*[^\s}]", re.IGNORECASE)
UNFINISHED = "the reasoning block was never closed"
NO_REASONING = "no reasoning block"


def score_component(config: ComponentConfig, rollouts: Sequence[Rollout], engine: Engine) -> list[Verdict]:
    """Score every rollout by the component that ``config`` describes."""
    match config:
        case MathComponent():
            return _math(config, rollouts, engine)
        case ChecklistComponent():
            return _checklists(config, rollouts, engine)
        case FormatComponent():
            return [_format(config, rollout) for rollout in rollouts]
        case LengthComponent():
            return [_length(config, rollout) for rollout in rollouts]


def _math(config: MathComponent, rollouts: Sequence[Rollout], engine: Engine) -> list[Verdict]:
    answers = [split_response(r.response, prefilled=r.prefilled).answer for r in rollouts]
    pairs = [(rollout.answer, answer or "") for rollout, answer in zip(rollouts, answers, strict=True)]
    verdicts = verify_batch(pairs, engine, timeout=config.timeout)
    return [
        failed(UNFINISHED) if answer is None and verdict.score is not None else verdict
        for rollout, answer, verdict in zip(rollouts, answers, verdicts, strict=True)
    ]


def _checklists(config: ChecklistComponent, rollouts: Sequence[Rollout], engine: Engine) -> list[Verdict]:
    texts = [split_response(r.response, prefilled=r.prefilled).scoped(config.scope) for r in rollouts]
    pairs = list(zip(rollouts, texts, strict=True))
    calls = [call for r, text in pairs for call in costly_calls(text or "", r.checklist, config.mode)]
    known = check_batch(calls, engine)
    return [_checklist(config, rollout, text, known) for rollout, text in pairs]


def _checklist(
    config: ChecklistComponent, rollout: Rollout, text: str | None, known: Mapping[RuleCall, Verdict]
) -> Verdict:
    if not rollout.checklist:
        return unscored(Status.NOT_APPLICABLE, "no requirement")
    if text is None:
        missing = UNFINISHED if config.scope == "answer" else NO_REASONING
        return Verdict(0.0, detail=missing, parts=tuple(failed(missing) for _ in rollout.checklist))
    return score_checklist(text, rollout.checklist, config.scoring, config.mode, known)


def _format(config: FormatComponent, rollout: Rollout) -> Verdict:
    segments = split_response(rollout.response, prefilled=rollout.prefilled)
    if segments.answer is None:
        return failed(UNFINISHED)
    if not rollout.finished:
        return failed("cut at the length limit")
    if config.require_reasoning and not segments.reasoning:
        return failed(NO_REASONING)
    boxes = len(FILLED_BOX.findall(segments.answer))
    if rollout.answer is not None and (boxes != 1 or extract_answer(segments.answer) is None):
        return failed(f"{boxes} boxed answers, not one")
    return passed("well formed")


def _length(config: LengthComponent, rollout: Rollout) -> Verdict:
    span = config.maximum - config.target
    score = min(1.0, max(0.0, (config.maximum - rollout.tokens) / span))
    return Verdict(score, detail=f"{rollout.tokens} tokens")
