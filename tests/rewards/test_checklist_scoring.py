"""How checks combine: compositions, dependencies, the judge and the programs of a batch, what is left unscored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from adhere.rewards.checklist import (
    JudgeQuestion,
    OverallQuestion,
    Requirement,
    Sandbox,
    SandboxLimits,
    excluded_programs,
    parse_checklist,
    score_batch,
    score_checklist,
)
from adhere.rewards.components import ChecklistComponent, Context
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import AdhereError, ConfigError, DataError
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status, Verdict, unscored

COMMA = {"type": "rule", "constraint": "punctuation:no_comma"}
LOWER = {"type": "rule", "constraint": "change_case:english_lowercase"}
JUDGE = {"type": "judge"}

GOOD, COMMAS, CAPITALS = (
    "all of it is well and good here",
    "all of it, well, is good here",
    "All of it is WELL and good here",
)


class Panel:
    """A judge that answers from a table, question by question, and remembers each batch that it was asked."""

    def __init__(self, answers: Mapping[str, float | Status], overall: float | None = None) -> None:
        self.answers, self.overall = answers, overall
        self.batches: list[list[JudgeQuestion]] = []
        self.overall_batches: list[list[OverallQuestion]] = []

    def decide(self, questions: Sequence[JudgeQuestion]) -> list[Verdict]:
        self.batches.append(list(questions))
        return [self._verdict(self.answers[question.requirement]) for question in questions]

    def decide_overall(self, questions: Sequence[OverallQuestion]) -> list[Verdict]:
        self.overall_batches.append(list(questions))
        return [Verdict(self.overall) if self.overall is not None else unscored(Status.ERROR) for _ in questions]

    @staticmethod
    def _verdict(answer: float | Status) -> Verdict:
        return unscored(answer, "no answer") if isinstance(answer, Status) else Verdict(answer)


def ask(question: str) -> dict[str, str]:
    return {"type": "judge", "question": question}


def program(expression: str) -> dict[str, str]:
    return {"type": "program", "code": f"def verify_requirement(text):\n    return {expression}"}


def checklist(*checks: Any, **changes: Any) -> tuple[Requirement, ...]:
    rows = [{"id": f"r{i}", "text": f"text {i}", "check": check} | changes for i, check in enumerate(checks)]
    return parse_checklist(rows, "test")


def verdict(check: Any, text: str = GOOD, **answers: float | Status) -> Verdict:
    return score_checklist(text, checklist(check), judge=Panel(answers), prompt="Say it.").parts[0]


@pytest.mark.parametrize(("text", "score"), [(GOOD, 1.0), (COMMAS, 0.0), (CAPITALS, 1.0)])
def test_a_rule_a_program_and_a_judge_decide(text: str, score: float) -> None:
    assert verdict(COMMA, text).score == score
    assert verdict(program("',' not in text"), text).score == score
    assert verdict(ask("q"), text, q=score).score == score


def test_the_text_of_the_requirement_is_the_question() -> None:
    panel = Panel({"text 0": 0.25, "own": 0.5})
    found = score_checklist(GOOD, checklist(JUDGE, ask("own")), judge=panel, prompt="Say it.")
    assert [part.score for part in found.parts] == [0.25, 0.5]
    assert panel.batches == [[JudgeQuestion("Say it.", "text 0", GOOD), JudgeQuestion("Say it.", "own", GOOD)]]


def test_and_is_the_smallest_score() -> None:
    check = {"type": "and", "checks": [COMMA, ask("a"), ask("b")]}
    assert verdict(check, a=0.9, b=0.8).score == 0.8
    assert verdict(check, COMMAS, a=0.9, b=0.8).score == 0.0
    assert verdict({"type": "and", "checks": [ask("a")] * 5}, a=0.9).score == 0.9


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        ({"a": 1.0, "b": 1.0, "c": 1.0}, 1.0),
        ({"a": 1.0, "b": 1.0, "c": 0.0}, 2 / 3),
        ({"a": 1.0, "b": 0.0, "c": 1.0}, 1 / 3),
        ({"a": 0.0, "b": 1.0, "c": 1.0}, 0.0),
        ({"a": 0.8, "b": 0.5, "c": 1.0}, 1.3 / 3),
        ({"a": 0.8, "b": 0.51, "c": 1.0}, 2.31 / 3),
        ({"a": 0.0, "b": 1.0, "c": Status.ERROR}, 0.0),
        ({"a": 1.0, "b": Status.TIMEOUT, "c": 0.0}, None),
        ({"a": Status.NOT_APPLICABLE, "b": 1.0, "c": 0.0}, 0.5),
    ],
)
def test_in_a_chain_a_step_counts_only_after_the_met_ones(
    answers: dict[str, float | Status], score: float | None
) -> None:
    found = verdict({"type": "chain", "checks": [ask("a"), ask("b"), ask("c")]}, **answers)
    assert found.score == (None if score is None else pytest.approx(score))


@pytest.mark.parametrize(
    ("text", "score", "status"), [(GOOD, 0.7, Status.OK), (CAPITALS, 0.3, Status.OK), ("", 0.0, Status.OK)]
)
def test_a_selection_is_decided_by_its_branch(text: str, score: float, status: Status) -> None:
    found = verdict({"type": "select", "if": LOWER, "then": ask("a"), "else": ask("b")}, text, a=0.7, b=0.3)
    assert (found.score, found.status) == (score, status)


def test_a_selection_without_else_does_not_apply() -> None:
    check = {"type": "select", "if": LOWER, "then": ask("a"), "else": None}
    assert verdict(check, CAPITALS).status is Status.NOT_APPLICABLE
    assert verdict(check, GOOD, a=0.7).score == 0.7
    assert verdict({"type": "and", "checks": [check, COMMA]}, CAPITALS).score == 1.0
    whole = score_checklist(CAPITALS, checklist(check), judge=Panel({}))
    assert (whole.score, whole.status) == (None, Status.NOT_APPLICABLE)


@pytest.mark.parametrize("status", [Status.ERROR, Status.TIMEOUT, Status.UNPARSED])
@pytest.mark.parametrize(
    "check",
    [
        ask("q"),
        {"type": "and", "checks": [COMMA, ask("q")]},
        {"type": "chain", "checks": [COMMA, ask("q"), LOWER]},
        {"type": "select", "if": ask("q"), "then": COMMA, "else": LOWER},
        {"type": "select", "if": COMMA, "then": ask("q"), "else": LOWER},
        {"type": "judge", "question": "q", "program": program("True")["code"]},
        {"type": "and", "checks": [{"type": "chain", "checks": [{"type": "select", "if": LOWER, "then": ask("q")}]}]},
    ],
)
def test_what_a_judge_could_not_decide_is_not_scored_anywhere(check: Any, status: Status) -> None:
    for scoring in ("weighted_mean", "mean", "all"):
        whole = score_checklist(GOOD, checklist(COMMA, check), scoring, judge=Panel({"q": status}))  # type: ignore[arg-type]
        assert (whole.score, whole.status) == (None, status)
        assert whole.parts[0].score == 1.0
        assert (whole.parts[1].score, whole.parts[1].status) == (None, status)
        assert "r1" in whole.detail


def test_a_program_that_fails_is_not_scored() -> None:
    for check, status in ((program("1 / 0"), Status.ERROR), (program("'yes'"), Status.ERROR)):
        whole = score_checklist(GOOD, checklist(COMMA, check))
        assert (whole.score, whole.status) == (None, status)


@pytest.mark.parametrize(("expression", "score"), [("True", 0.9), ("False", 0.4), ("1 / 0", None), ("None", None)])
def test_a_judge_with_a_program_is_their_mean_and_a_crash_pays_nothing(expression: str, score: float | None) -> None:
    check = {"type": "judge", "question": "q", "program": program(expression)["code"]}
    found = verdict(check, q=0.8)
    assert found.score == (None if score is None else pytest.approx(score))
    assert len(found.parts) == 2
    assert found.parts[0].score == 0.8


def test_a_contradicted_judge_does_not_open_the_next_step() -> None:
    step = {"type": "judge", "question": "q", "program": program("False")["code"]}
    assert verdict({"type": "chain", "checks": [step, COMMA]}, q=1.0).score == 0.25


def test_a_dependency_that_is_not_met_takes_its_requirement_out() -> None:
    rows = [
        {"id": "lower", "text": "", "check": LOWER},
        {"id": "plain", "text": "", "check": COMMA, "only_if": "lower", "weight": 50},
        {"id": "third", "text": "asked", "check": JUDGE, "only_if": "plain"},
    ]
    given = parse_checklist(rows, "test")
    panel = Panel({"asked": 1.0})
    both = score_batch([GOOD, COMMAS, CAPITALS], [given] * 3, [""] * 3, judge=panel)
    assert [v.score for v in both] == [1.0, pytest.approx(100 / 150), 0.0]
    assert [[part.status for part in v.parts] for v in both] == [
        [Status.OK, Status.OK, Status.OK],
        [Status.OK, Status.OK, Status.NOT_APPLICABLE],
        [Status.OK, Status.NOT_APPLICABLE, Status.NOT_APPLICABLE],
    ]
    assert [[question.response for question in batch] for batch in panel.batches] == [[GOOD]]


def test_a_dependency_that_could_not_be_decided_is_passed_on() -> None:
    rows = [{"id": "a", "text": "q", "check": JUDGE}, {"id": "b", "text": "", "check": COMMA, "only_if": "a"}]
    found = score_checklist(GOOD, parse_checklist(rows, "test"), judge=Panel({"q": Status.TIMEOUT}))
    assert [part.status for part in found.parts] == [Status.TIMEOUT, Status.TIMEOUT]


def test_dependencies_of_requirements_made_in_code_are_checked() -> None:
    (plain,) = checklist(COMMA)
    with pytest.raises(DataError, match="no requirement has the id 'x'"):
        score_checklist(GOOD, [Requirement("a", "", plain.check, only_if="x")])


def test_a_batch_asks_the_judge_once_and_only_what_can_matter() -> None:
    check = {"type": "chain", "checks": [COMMA, program("'well' in text.split()"), ask("a"), ask("b")]}
    panel = Panel({"a": 0.0, "b": 1.0})
    texts = [GOOD, COMMAS, GOOD, "nothing of the kind", GOOD + " too"]
    found = score_batch(texts, [checklist(check)] * 5, ["p"] * 5, judge=panel)
    assert [v.score for v in found] == [0.5, 0.0, 0.5, 0.25, 0.5]
    (asked,) = panel.batches
    assert sorted({q.response for q in asked}) == [GOOD, GOOD + " too"]
    assert len(asked) == 4


def test_equal_responses_to_different_prompts_are_different_questions() -> None:
    panel = Panel({"q": 1.0})
    score_batch([GOOD] * 3, [checklist(ask("q"))] * 3, ["p1", "p1", "p2"], judge=panel)
    assert [question.prompt for question in panel.batches[0]] == ["p1", "p2"]


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_a_blank_text_meets_nothing_and_asks_nobody(text: str) -> None:
    panel = Panel({}, overall=1.0)
    select = {"type": "select", "if": LOWER, "then": COMMA}
    for scoring in ("weighted_mean", "mean", "all", "implicit"):
        given = checklist(COMMA, program("True"), ask("q"), select)
        assert score_checklist(text, given, scoring, judge=panel).score == 0.0  # type: ignore[arg-type]
    assert panel.batches == panel.overall_batches == []


def test_without_a_judge_a_question_for_one_is_refused() -> None:
    nested = {"type": "and", "checks": [COMMA, {"type": "select", "if": LOWER, "then": ask("q")}]}
    with pytest.raises(ConfigError, match="requirement 'r1' is decided by a judge, and none is configured"):
        score_checklist(GOOD, checklist(COMMA, nested))
    with pytest.raises(ConfigError, match="implicit"):
        score_checklist(GOOD, checklist(COMMA), "implicit")
    assert issubclass(ConfigError, AdhereError)
    assert score_checklist(GOOD, checklist(COMMA)).score == 1.0


def test_implicit_scoring_is_one_question_about_all_requirements() -> None:
    panel = Panel({}, overall=0.6)
    given = (*checklist(COMMA, JUDGE, category="important"), *checklist(LOWER, weight=30))
    found = score_batch([GOOD, "", GOOD, COMMAS], [given, given, given, ()], ["p"] * 4, "implicit", judge=panel)
    assert [v.score for v in found] == [0.6, 0.0, 0.6, None]
    items = (("text 0", 70.0), ("text 1", 70.0), ("text 0", 30.0))
    assert panel.overall_batches == [[OverallQuestion("p", items, GOOD)]]
    down = score_checklist(GOOD, given, "implicit", judge=Panel({}))
    assert (down.score, down.status) == (None, Status.ERROR)


def test_categories_weigh_as_in_rubrics_as_rewards() -> None:
    rows = [
        {"id": c, "text": c, "category": c, "check": JUDGE} for c in ("essential", "important", "optional", "pitfall")
    ]
    panel = Panel({"essential": 1.0, "important": 0.0, "optional": 0.0, "pitfall": 1.0})
    assert score_checklist(GOOD, parse_checklist(rows, "x"), judge=panel).score == pytest.approx(1.9 / 2.9)


def test_the_component_hands_prompt_scope_and_limits_on() -> None:
    hang = {
        "type": "program",
        "code": "def verify_requirement(text):\n    while 'wild' in text: pass\n    return True",
    }
    config = ChecklistComponent.model_validate({"programs": {"timeout": 0.3}})
    rollouts = [
        Rollout("Is it?", f"<think>Hm, {i}</think>{answer}", None, checklist(ask("q"), hang))
        for i, answer in enumerate(("calm", "calm", "wild"))
    ]
    rollouts.append(Rollout("Is it?", "<think>never ends", None, checklist(ask("q"))))
    panel = Panel({"q": 1.0})
    with Engine() as engine:
        found = config.score(rollouts, Context(engine, panel))
    assert [(v.score, v.status) for v in found] == [
        (1.0, Status.OK),
        (1.0, Status.OK),
        (0.5, Status.OK),
        (0.0, Status.OK),
    ]
    assert [(q.prompt, q.response) for q in panel.batches[0]] == [("Is it?", "calm"), ("Is it?", "wild")]
    assert "0.3 s" in found[2].parts[1].detail


def test_requirements_whose_program_is_excluded_are_named_before_training() -> None:
    codes = ("while True: pass", "return len(text) > 3", "return 1 / 0")
    rows = [
        {"type": "program", "code": f"def verify_requirement(text):\n    {codes[0]}"},
        {"type": "program", "code": f"def verify_requirement(text):\n    {codes[1]}"},
        {"type": "judge", "program": f"def verify_requirement(text):\n    {codes[2]}"},
    ]
    with Sandbox(SandboxLimits(timeout=0.2)) as sandbox:
        lines = excluded_programs([("one", checklist(*rows)), ("two", checklist(rows[1]))], sandbox)
    assert [line.partition(":")[0] for line in lines] == [
        "item 'one', requirement 'r0'",
        "item 'one', requirement 'r2'",
    ]
    assert "took longer than 0.2 s" in lines[0] and "ZeroDivisionError" in lines[1]


def test_the_limits_of_programs_are_part_of_the_configuration() -> None:
    config = RewardConfig.model_validate({"components": {"c": {"kind": "checklist", "programs": {"memory_mb": 100}}}})
    component = config.components["c"]
    assert isinstance(component, ChecklistComponent)
    assert (component.programs.limits.memory_mb, component.programs.limits.allow_unisolated) == (100, False)
    with pytest.raises(ValueError, match="memory_mb"):
        RewardConfig.model_validate({"components": {"c": {"kind": "checklist", "programs": {"memory_mb": 1}}}})
