"""The reward components: each turns a batch of rollouts into one verdict per rollout, in order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adhere.rewards.checklist import Decider, score_batch, shared_sandbox
from adhere.rewards.checklist.judge_protocol import OverallQuestion
from adhere.rewards.config import (
    ChecklistComponent,
    ComponentConfig,
    FormatComponent,
    JudgeComponent,
    LengthComponent,
    MathComponent,
)
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.math import verify_batch
from adhere.rewards.math.extract import extract_answer
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import split_response
from adhere.rewards.verdict import Status, Verdict, failed, passed, unscored

FILLED_BOX = re.compile(r"\\boxed\s*\{\s*[^\s}]", re.IGNORECASE)
UNFINISHED = "the reasoning block was never closed"
NO_REASONING = "no reasoning block"


def score_component(
    config: ComponentConfig, rollouts: Sequence[Rollout], engine: Engine, judge: Decider | None = None
) -> list[Verdict]:
    """Score every rollout by the component that ``config`` describes; ``judge`` decides what only a judge can."""
    match config:
        case MathComponent():
            return _math(config, rollouts, engine)
        case ChecklistComponent():
            return _checklist(config, rollouts, engine, judge)
        case FormatComponent():
            return [_format(config, rollout) for rollout in rollouts]
        case LengthComponent():
            return [_length(config, rollout) for rollout in rollouts]
        case JudgeComponent():
            return _rating(config, rollouts, judge)


def _math(config: MathComponent, rollouts: Sequence[Rollout], engine: Engine) -> list[Verdict]:
    answers = [split_response(r.response, prefilled=r.prefilled).answer for r in rollouts]
    pairs = [(rollout.answer, answer or "") for rollout, answer in zip(rollouts, answers, strict=True)]
    verdicts = verify_batch(pairs, engine, timeout=config.timeout)
    return [
        failed(UNFINISHED) if answer is None and verdict.score is not None else verdict
        for rollout, answer, verdict in zip(rollouts, answers, verdicts, strict=True)
    ]


def _checklist(
    config: ChecklistComponent, rollouts: Sequence[Rollout], engine: Engine, judge: Decider | None
) -> list[Verdict]:
    parts = [split_response(r.response, prefilled=r.prefilled) for r in rollouts]
    texts = [part.scoped(config.scope) for part in parts]
    there = [i for i, text in enumerate(texts) if text is not None]
    found = score_batch(
        [texts[i] or "" for i in there],
        [rollouts[i].checklist for i in there],
        [rollouts[i].prompt for i in there],
        config.scoring,
        config.mode,
        judge,
        shared_sandbox(config.programs.limits),
        reasonings=[parts[i].finished_reasoning for i in there],
        engine=engine,
    )
    scored = dict(zip(there, found, strict=True))
    return [scored[i] if i in scored else _without_text(config, rollout) for i, rollout in enumerate(rollouts)]


def _without_text(config: ChecklistComponent, rollout: Rollout) -> Verdict:
    if not rollout.checklist:
        return unscored(Status.NOT_APPLICABLE, "no requirement")
    missing = UNFINISHED if config.scope == "answer" else NO_REASONING
    return Verdict(0.0, detail=missing, parts=tuple(failed(missing) for _ in rollout.checklist))


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


def _rating(config: JudgeComponent, rollouts: Sequence[Rollout], judge: Decider | None) -> list[Verdict]:
    if judge is None:
        raise ConfigError("a judge component needs its judge: score it by Composite, or pass load_judge(config.judge)")
    texts = [split_response(r.response, prefilled=r.prefilled).scoped(config.scope) for r in rollouts]
    asked = [OverallQuestion(r.prompt, (), text or "") for r, text in zip(rollouts, texts, strict=True)]
    missing = UNFINISHED if config.scope == "answer" else NO_REASONING
    return [failed(missing) if text is None else v for text, v in zip(texts, judge.decide_overall(asked), strict=True)]


def _length(config: LengthComponent, rollout: Rollout) -> Verdict:
    span = config.maximum - config.target
    score = min(1.0, max(0.0, (config.maximum - rollout.tokens) / span))
    return Verdict(score, detail=f"{rollout.tokens} tokens")
