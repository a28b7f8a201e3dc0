"""What a tree of checks says about one response, given what is known of its programs and judge questions so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from adhere.rewards.checklist.checks import (
    AndCheck,
    ChainCheck,
    Check,
    JudgeCheck,
    ProgramCheck,
    RuleCheck,
    SelectCheck,
    SuiteCheck,
)
from adhere.rewards.checklist.judge_protocol import JudgeQuestion
from adhere.rewards.checklist.requirement import Requirement
from adhere.rewards.constraints import Mode, RuleCall, costly_call
from adhere.rewards.verdict import Deviation, Status, Verdict, failed, unscored

MET_ABOVE = 0.5
"""A graded score counts as met above this where a decision hangs on it: ``only_if``, a chain's next step, a
selection. Rules and programs score 0 or 1; of a judge it says "more met than not", and of the mean of a judge and a
program that contradict each other "not met"."""


@dataclass(frozen=True, slots=True)
class ProgramCall:
    """Run ``code``'s ``verify_requirement`` on ``text``."""

    code: str
    text: str


class ProgramRunner(Protocol):
    """Whatever runs generated programs, one verdict per call, in order."""

    def run(self, calls: Sequence[ProgramCall]) -> list[Verdict]:
        """Run every call; one without a verdict of True or False has no score."""
        ...


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
