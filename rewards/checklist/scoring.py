"""The score of responses against their checklists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from adhere.rewards.checklist.check_tree import Call, ProgramCall, ProgramRunner, Reading
from adhere.rewards.checklist.judge_protocol import Decider, JudgeQuestion, OverallQuestion
from adhere.rewards.checklist.requirement import Requirement, check_dependencies
from adhere.rewards.checklist.sandbox import SandboxLimits, shared_sandbox
from adhere.rewards.constraints import Mode, RuleCall, check_batch
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.verdict import Status, Verdict, failed, unscored

ChecklistScoring = Literal["weighted_mean", "mean", "all", "implicit"]

EMPTY = "the text is empty"


def score_batch(
    texts: Sequence[str],
    checklists: Sequence[Sequence[Requirement]],
    prompts: Sequence[str],
    scoring: ChecklistScoring = "weighted_mean",
    mode: Mode = "hardened",
    judge: Decider | None = None,
    programs: ProgramRunner | None = None,
    *,
    reasonings: Sequence[str | None] | None = None,
    engine: Engine | None = None,
) -> list[Verdict]:
    """Score each text in [0, 1] against its checklist; ``parts`` holds one verdict per requirement, in order.

    ``weighted_mean`` is Σ wᵢsᵢ / Σ wᵢ (RLCF, arXiv 2507.18624; the explicit aggregation of Rubrics as Rewards, arXiv
    2507.17746), ``mean`` ignores the weights, and ``all`` is 1.0 only when every requirement is fully met. ``implicit``
    asks the judge once for all requirements together (2507.17746) and has no parts.

    Requirements that do not apply are left out. One that could not be decided leaves the whole checklist without a
    score: a partial sum would reward whatever broke the check. A blank text meets nothing, whoever would decide.

    Rules run here, those that may take long in ``engine``'s workers where one is given; then programs, then what is
    still open of the judge's questions, each once for the whole batch. ``prompts`` are the users' questions with their
    instructions, which the judge reads. ``reasonings`` are the finished reasoning blocks, which constraints of scope
    ``reasoning`` are decided on; without one they are not met. ``programs`` defaults to this process's sandbox.

    Raises:
        ConfigError: a requirement needs a judge and there is none.
        DataError: an ``only_if`` that names no requirement, or goes round in a circle.
    """
    require_judge(checklists, judge, scoring)
    if scoring == "implicit" and judge is not None:
        return _implicit(texts, checklists, prompts, judge)
    for checklist in checklists:
        check_dependencies(checklist)
    readings = [
        Reading(text, prompt, checklist if text.strip() else (), mode, reasoning, pooled=engine is not None)
        for text, checklist, prompt, reasoning in zip(
            texts, checklists, prompts, reasonings or [None] * len(texts), strict=True
        )
    ]
    found = _decide(readings, judge, programs, engine)
    return [
        _total(checklist, parts if text.strip() else [failed(EMPTY) for _ in checklist], scoring)
        for text, checklist, parts in zip(texts, checklists, found, strict=True)
    ]


def score_checklist(
    text: str,
    checklist: Sequence[Requirement],
    scoring: ChecklistScoring = "weighted_mean",
    mode: Mode = "hardened",
    *,
    prompt: str = "",
    judge: Decider | None = None,
    programs: ProgramRunner | None = None,
    reasoning: str | None = None,
) -> Verdict:
    """Score one text; see :func:`score_batch`."""
    return score_batch([text], [checklist], [prompt], scoring, mode, judge, programs, reasonings=[reasoning])[0]


def require_judge(
    checklists: Sequence[Sequence[Requirement]], judge: Decider | None, scoring: ChecklistScoring = "weighted_mean"
) -> None:
    """Check that there is a judge where a requirement or ``scoring`` asks one.

    Raises:
        ConfigError: there is none; names the requirement.
    """
    if judge is not None:
        return
    if scoring == "implicit":
        raise ConfigError("checklist scoring 'implicit' is one question to a judge, and no judge is configured")
    for requirement in (r for checklist in checklists for r in checklist if r.needs_judge):
        raise ConfigError(
            f"requirement '{requirement.id}' is decided by a judge, and none is configured; set judge.base_url and "
            f"judge.model beside it, or leave requirements with a judge check out of the data"
        )


def _decide(
    readings: Sequence[Reading], judge: Decider | None, programs: ProgramRunner | None, engine: Engine | None
) -> list[list[Verdict]]:
    """Return the verdicts of each reading, asking first for long rules, then for programs, then the judge."""
    known: dict[Call, Verdict] = {}
    while True:
        found = [reading.verdicts(known) for reading in readings]
        wanted = dict.fromkeys(call for reading in readings for call in reading.wanted)
        rules = [call for call in wanted if isinstance(call, RuleCall)]
        calls = [call for call in wanted if isinstance(call, ProgramCall)]
        questions = [call for call in wanted if isinstance(call, JudgeQuestion)]
        if rules and engine is not None:
            known.update(check_batch(rules, engine).items())
        elif calls:
            known.update(zip(calls, (programs or shared_sandbox(SandboxLimits())).run(calls), strict=True))
        elif questions and judge is not None:
            known.update(zip(questions, judge.decide(questions), strict=True))
        else:
            return [[verdict for verdict in row if verdict is not None] for row in found]


def _implicit(
    texts: Sequence[str], checklists: Sequence[Sequence[Requirement]], prompts: Sequence[str], judge: Decider
) -> list[Verdict]:
    questions = {
        i: OverallQuestion(prompt, tuple((r.text, r.weight) for r in checklist), text)
        for i, (text, checklist, prompt) in enumerate(zip(texts, checklists, prompts, strict=True))
        if checklist and text.strip()
    }
    distinct = list(dict.fromkeys(questions.values()))
    answers = dict(zip(distinct, judge.decide_overall(distinct), strict=True)) if distinct else {}
    empty = {i: failed(EMPTY) if checklist else _nothing() for i, checklist in enumerate(checklists)}
    return [answers[questions[i]] if i in questions else empty[i] for i in range(len(texts))]


def _nothing() -> Verdict:
    return unscored(Status.NOT_APPLICABLE, "no requirement")


def _total(checklist: Sequence[Requirement], found: Sequence[Verdict], scoring: ChecklistScoring) -> Verdict:
    if not checklist:
        return _nothing()
    parts = tuple(found)
    seconds = sum(part.seconds for part in parts)
    for requirement, part in zip(checklist, parts, strict=True):
        if part.undecided:
            return Verdict(None, part.status, f"{requirement.id}: {part.detail}", seconds, parts)
    scored = [(r.weight, p.score) for r, p in zip(checklist, parts, strict=True) if p.score is not None]
    if not scored:
        return Verdict(None, Status.NOT_APPLICABLE, "no requirement applies", seconds, parts)
    missed = [r.id for r, p in zip(checklist, parts, strict=True) if p.score is not None and p.score < 1.0]
    detail = f"missed {', '.join(missed)}" if missed else "all met"
    return Verdict(_aggregate(scored, scoring), detail=detail, seconds=seconds, parts=parts)


def _aggregate(scored: Sequence[tuple[float, float]], scoring: ChecklistScoring) -> float:
    if scoring == "all":
        return float(all(score == 1.0 for _, score in scored))
    weights = [weight if scoring == "weighted_mean" else 1.0 for weight, _ in scored]
    total = sum(weights)
    if total == 0.0:
        weights, total = [1.0] * len(scored), float(len(scored))
    return min(1.0, sum(w * s for w, (_, s) in zip(weights, scored, strict=True)) / total)
