"""The score of responses against their checklists.

A `Reading` says what the checks of one response come to, given what programs and judge have said so far; `score_batch`
asks for what is still open, once for the whole batch, and joins the requirements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from adhere.rewards.checklist.judge_protocol import Decider, JudgeQuestion, OverallQuestion
from adhere.rewards.checklist.requirement import (
    AndCheck,
    ChainCheck,
    Check,
    JudgeCheck,
    ProgramCheck,
    Requirement,
    RuleCheck,
    SelectCheck,
    SuiteCheck,
    check_dependencies,
    leaves,
)
from adhere.rewards.checklist.sandbox import ProgramCall, ProgramRunner, Sandbox, SandboxLimits, shared_sandbox
from adhere.rewards.constraints import Mode, RuleCall, check_batch, costly_call
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.verdict import Deviation, Status, Verdict, failed, unscored

ChecklistScoring = Literal["weighted_mean", "mean", "all", "implicit"]

NEAR_MISS = 0.99
"""The most that graded credit gives to what is not met."""

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
    steepness: float | None = None,
) -> list[Verdict]:
    """Score each text in [0, 1] against its checklist; ``parts`` holds one verdict per requirement, in order.

    ``weighted_mean`` is Σ wᵢsᵢ / Σ wᵢ (RLCF, arXiv 2507.18624; the explicit aggregation of Rubrics as Rewards, arXiv
    2507.17746), ``mean`` ignores the weights, and ``all`` is 1.0 only when every requirement is fully met. ``implicit``
    asks the judge once for all requirements together (2507.17746) and has no parts.

    Requirements that do not apply are left out. One that could not be decided leaves the whole checklist without a
    score: a partial sum would reward whatever broke the check. A blank text meets nothing, whoever would decide.

    Rules run first, then programs, then what is still open of the judge's questions, each once for the whole batch.

    Args:
        texts: what is scored, one for each response.
        checklists: the requirements of each text.
        prompts: the users' questions with their instructions, which the judge reads.
        scoring: how requirements become one score, see above.
        mode: ``hardened`` or ``compat`` constraint checkers.
        judge: decides the requirements that no rule decides; ``None`` where there are none.
        programs: runs generated programs; ``None`` is this process's sandbox.
        reasonings: the finished reasoning blocks, which constraints of scope ``reasoning`` are decided on; ``None`` in
            a place means that there is no such block, and these constraints are not met.
        engine: its workers run the rules that may take long; without one they run here.
        steepness: the α of graded credit, exp(-α · deviation / scale), for requirements that a rule refuses and says
            how far off they are (arXiv 2609.32189); ``None`` gives them nothing. The ``parts`` stay 0 or 1.

    Raises:
        ConfigError: a requirement needs a judge and there is none.
        DataError: an ``only_if`` that names no requirement, or goes round in a circle.
    """
    require_judge(checklists, judge, scoring)
    if scoring == "implicit" and judge is not None:
        questions = {
            i: OverallQuestion(prompt, tuple((r.text, r.weight) for r in checklist), text)
            for i, (text, checklist, prompt) in enumerate(zip(texts, checklists, prompts, strict=True))
            if checklist and text.strip()
        }
        distinct = list(dict.fromkeys(questions.values()))
        answers = dict(zip(distinct, judge.decide_overall(distinct), strict=True)) if distinct else {}
        empty = {i: failed(EMPTY) if checklist else _nothing() for i, checklist in enumerate(checklists)}
        return [answers[questions[i]] if i in questions else empty[i] for i in range(len(texts))]
    for checklist in checklists:
        check_dependencies(checklist)
    readings = [
        Reading(text, prompt, checklist if text.strip() else (), mode, reasoning, pooled=engine is not None)
        for text, checklist, prompt, reasoning in zip(
            texts, checklists, prompts, reasonings or [None] * len(texts), strict=True
        )
    ]
    known: dict[Call, Verdict] = {}
    while True:
        found = [reading.verdicts(known) for reading in readings]
        wanted = dict.fromkeys(call for reading in readings for call in reading.wanted)
        rules = [call for call in wanted if isinstance(call, RuleCall)]
        calls = [call for call in wanted if isinstance(call, ProgramCall)]
        asked = [call for call in wanted if isinstance(call, JudgeQuestion)]
        if rules and engine is not None:
            known.update(check_batch(rules, engine).items())
        elif calls:
            known.update(zip(calls, (programs or shared_sandbox(SandboxLimits())).run(calls), strict=True))
        elif asked and judge is not None:
            known.update(zip(asked, judge.decide(asked), strict=True))
        else:
            break
    scored = []
    for text, checklist, verdicts in zip(texts, checklists, found, strict=True):
        parts = [v for v in verdicts if v is not None] if text.strip() else [failed(EMPTY) for _ in checklist]
        scored.append(_total(checklist, parts, scoring, steepness))
    return scored


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
    """Score one text.

    Args:
        text: what is scored.
        checklist: its requirements.
        scoring: how requirements become one score in [0, 1]; this and the rest as for :func:`score_batch`.
        mode: ``hardened`` or ``compat`` constraint checkers.
        prompt: the question with its instructions, which the judge reads.
        judge: decides the requirements that no rule decides.
        programs: runs generated programs; ``None`` is this process's sandbox.
        reasoning: the finished reasoning block; ``None`` where there is none.
    """
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


def excluded_programs(checklists: Sequence[tuple[str, Sequence[Requirement]]], sandbox: Sandbox) -> list[str]:
    """Return one line for each requirement whose program is excluded: it fails on the texts that programs are tried on.

    Args:
        checklists: pairs of an item's id and its requirements.
        sandbox: runs the programs, and remembers what it found.
    """
    named = []
    for item, checklist in checklists:
        for requirement in checklist:
            for leaf in leaves(requirement.check):
                code = leaf.code if isinstance(leaf, ProgramCheck) else getattr(leaf, "program", None)
                if code is not None:
                    named.append((f"item '{item}', requirement '{requirement.id}'", code))
    excluded = sandbox.probe(code for _, code in named) if named else {}
    return [f"{where}: the program is {excluded[code]}" for where, code in named if code in excluded]


def _nothing() -> Verdict:
    return unscored(Status.NOT_APPLICABLE, "no requirement")


def credit(verdict: Verdict, steepness: float | None) -> float | None:
    """Return what a verdict counts: its score, or a part of 1 for a near miss under graded credit."""
    if steepness is None or verdict.deviation is None:
        return verdict.score
    return min(NEAR_MISS, math.exp(-steepness * verdict.deviation.amount / verdict.deviation.scale))


def _total(
    checklist: Sequence[Requirement], found: Sequence[Verdict], scoring: ChecklistScoring, steepness: float | None
) -> Verdict:
    if not checklist:
        return _nothing()
    parts = tuple(found)
    seconds = sum(part.seconds for part in parts)
    for requirement, part in zip(checklist, parts, strict=True):
        if part.undecided:
            return Verdict(None, part.status, f"{requirement.id}: {part.detail}", seconds, parts)
    scored = [(r.weight, s) for r, p in zip(checklist, parts, strict=True) if (s := credit(p, steepness)) is not None]
    if not scored:
        return Verdict(None, Status.NOT_APPLICABLE, "no requirement applies", seconds, parts)
    missed = [r.id for r, p in zip(checklist, parts, strict=True) if p.score is not None and p.score < 1.0]
    detail = f"missed {', '.join(missed)}" if missed else "all met"
    if scoring == "all":
        score = float(all(score == 1.0 for _, score in scored))
    else:
        weights = [weight if scoring == "weighted_mean" else 1.0 for weight, _ in scored]
        if sum(weights) == 0.0:
            weights = [1.0] * len(scored)
        score = min(1.0, sum(w * s for w, (_, s) in zip(weights, scored, strict=True)) / sum(weights))
    return Verdict(score, detail=detail, seconds=seconds, parts=parts)


MET_ABOVE = 0.5
"""A graded score counts as met above this where a decision hangs on it: ``only_if``, a chain's next step, a
selection. Rules and programs score 0 or 1; of a judge it says "more met than not", and of the mean of a judge and a
program that contradict each other "not met"."""


Call: TypeAlias = RuleCall | ProgramCall | JudgeQuestion


def met(verdict: Verdict) -> bool:
    """Whether a decision that hangs on this verdict takes it as met; see ``MET_ABOVE``."""
    return verdict.score is not None and verdict.score > MET_ABOVE


class Reading:
    """One response under one checklist: its ``text``, and the finished ``reasoning`` before it if there is one.

    ``verdicts`` gives one verdict per requirement, ``None``
    where calls are still open; ``wanted`` then holds the open calls that can still matter. A branch that a rule has
    ruled out is never asked for, so it costs no judge.
    """

    def __init__(
        self,
        text: str,
        prompt: str,
        checklist: Sequence[Requirement],
        mode: Mode,
        reasoning: str | None = None,
        *,
        pooled: bool = False,
    ) -> None:
        """Decide nothing yet.

        Args:
            text: the part of the response that is checked.
            prompt: the question with its instructions, which a judge reads.
            checklist: the requirements.
            mode: ``hardened`` or ``compat`` constraint checkers.
            reasoning: the finished reasoning block; ``None`` where there is none.
            pooled: leave rules that may take long to workers.
        """
        self.wanted: list[Call] = []
        self._text, self._prompt, self._checklist, self._mode = text, prompt, checklist, mode
        self._reasoning, self._pooled = reasoning, pooled
        self._known: Mapping[Call, Verdict] = {}
        self._rules: dict[int, Verdict] = {}
        self._found: dict[str, Verdict | None] = {}

    def verdicts(self, known: Mapping[Call, Verdict]) -> list[Verdict | None]:
        """Combine what is known; each requirement's verdict, in order."""
        self._known, self.wanted, self._found = known, [], {}
        return [self._requirement(requirement) for requirement in self._checklist]

    def _requirement(self, requirement: Requirement) -> Verdict | None:
        if requirement.only_if is None:
            return self._check(requirement.check, requirement.text)
        name = requirement.only_if
        if name not in self._found:
            self._found[name] = self._requirement(next(r for r in self._checklist if r.id == name))
        condition = self._found[name]
        if condition is None:
            self._check(requirement.check, requirement.text)
            return None
        if condition.undecided:
            return unscored(condition.status, f"'{name}', on which it depends: {condition.detail}")
        if not met(condition):
            return unscored(Status.NOT_APPLICABLE, f"'{name}' is not met")
        return self._check(requirement.check, requirement.text)

    def _check(self, node: Check, text: str) -> Verdict | None:
        """Return the verdict of a check; ``text`` is its requirement's, the question of a judge that has none."""
        match node:
            case RuleCheck():
                return self._rule(node)
            case ProgramCheck():
                return self._call(ProgramCall(node.code, self._text))
            case JudgeCheck():
                return self._judge(node, node.question or text)
            case SuiteCheck():
                return unscored(Status.ERROR, f"only the suite that it belongs to decides '{node.name}'")
            case AndCheck():
                parts = [self._check(part, text) for part in node.checks]
                decided = [part for part in parts if part is not None]
                if len(decided) < len(parts):
                    return None
                for number, part in enumerate(decided, start=1):
                    if part.undecided:
                        return _composed(None, decided, part.status, f"part {number}: {part.detail}")
                scored = [part for part in decided if part.score is not None]
                if not scored:
                    return _composed(None, decided, Status.NOT_APPLICABLE, "no part applies")
                # As far off as its worst part; a part that is refused without a number is the worst of all.
                worst = min(scored, key=lambda part: (part.score or 0.0, -_relative(part)))
                near = worst.deviation if all(p.passed or p.deviation for p in scored) else None
                return _composed(worst.score, decided, Status.OK, worst.detail, near)
            case ChainCheck():
                return self._chain(node, text)
            case SelectCheck():
                return self._select(node, text)

    def _rule(self, node: RuleCheck) -> Verdict | None:
        if id(node) in self._rules:
            return self._rules[id(node)]
        checker = node.checker
        text = self._text if checker.constraint.scope == "answer" else self._reasoning
        if text is None:
            return failed("no finished reasoning block")
        long = costly_call(checker, text, self._mode) if self._pooled else None
        if long is not None:
            return self._call(long)
        self._rules[id(node)] = verdict = checker(text, self._mode)
        return verdict

    def _call(self, call: Call) -> Verdict | None:
        if call not in self._known:
            self.wanted.append(call)
            return None
        return self._known[call]

    def _judge(self, node: JudgeCheck, question: str) -> Verdict | None:
        judged = self._call(JudgeQuestion(self._prompt, question, self._text))
        if node.program is None:
            return judged
        ran = self._call(ProgramCall(node.program, self._text))
        if judged is None or ran is None:
            return None
        parts, seconds = (judged, ran), judged.seconds + ran.seconds
        if judged.score is None:
            return Verdict(None, judged.status, judged.detail, seconds, parts)
        if ran.score is None:
            return Verdict(None, ran.status, ran.detail, seconds, parts)
        detail = f"judge {judged.score:.2f}, program {ran.score:.0f}"
        return Verdict((judged.score + ran.score) / 2.0, detail=detail, seconds=seconds, parts=parts)

    def _chain(self, node: ChainCheck, text: str) -> Verdict | None:
        steps: list[Verdict] = []
        complete = True
        for step in node.checks:
            verdict = self._check(step, text)
            if verdict is None:
                complete = False
                continue
            steps.append(verdict)
            if not met(verdict) and verdict.status is not Status.NOT_APPLICABLE:
                break
        if not complete:
            return None
        if steps[-1].undecided:
            return _composed(None, steps, steps[-1].status, f"step {len(steps)}: {steps[-1].detail}")
        scores = [verdict.score for verdict in steps if verdict.score is not None]
        if not scores:
            return _composed(None, steps, Status.NOT_APPLICABLE, "no step applies")
        total = len(scores) + len(node.checks) - len(steps)
        why = f", stopped at step {len(steps)}: {steps[-1].detail}"
        stopped = "" if met(steps[-1]) or steps[-1].score is None else why
        return _composed(sum(scores) / total, steps, Status.OK, f"{len(scores)} of {total} steps reached{stopped}")

    def _select(self, node: SelectCheck, text: str) -> Verdict | None:
        condition = self._check(node.condition, text)
        if condition is None:
            for branch in (node.then, node.otherwise):
                if branch is not None:
                    self._check(branch, text)
            return None
        if condition.undecided:
            return _composed(None, [condition], condition.status, f"condition: {condition.detail}")
        if condition.score is None:
            return _composed(None, [condition], Status.NOT_APPLICABLE, f"condition: {condition.detail}")
        branch, name = (node.then, "then") if met(condition) else (node.otherwise, "else")
        if branch is None:
            return _composed(None, [condition], Status.NOT_APPLICABLE, "the condition is not met")
        verdict = self._check(branch, text)
        if verdict is None:
            return None
        both = [condition, verdict]
        return _composed(verdict.score, both, verdict.status, f"{name}: {verdict.detail}", verdict.deviation)


def _relative(verdict: Verdict) -> float:
    return verdict.deviation.amount / verdict.deviation.scale if verdict.deviation else math.inf


def _composed(
    score: float | None, parts: Sequence[Verdict], status: Status, detail: str, deviation: Deviation | None = None
) -> Verdict:
    return Verdict(score, status, detail, sum(part.seconds for part in parts), tuple(parts), deviation)
