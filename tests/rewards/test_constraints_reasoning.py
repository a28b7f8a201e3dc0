"""Constraints on the reasoning: decided on the reasoning block alone, by every part that scores a response."""

from __future__ import annotations

from typing import Any

import pytest

from adhere.evaluation.floors import template_response
from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import score_response
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Requirement, score_checklist
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.components import ChecklistComponent, Context
from adhere.rewards.constraints import by_scope, check, check_scoped, comply, conflicts, describe, paraphrases, registry
from adhere.rewards.engine import Engine
from adhere.rewards.rollout import Rollout

NO_COMMA, CAPITAL, JSON = "reasoning:no_comma", "reasoning:english_capital", "reasoning:json_format"
WORDS, DISCLAIMER, LANGUAGE = "reasoning:number_words", "reasoning:end_checker", "reasoning:language"
REASONING = [key for key, constraint in registry().items() if constraint.scope == "reasoning"]

CASES: list[tuple[str, dict[str, Any], str, bool]] = [
    (NO_COMMA, {}, "First we add the two and then we stop.", True),
    (NO_COMMA, {}, "First, we add.", False),
    (CAPITAL, {}, "WE ADD THE TWO AND THEN WE STOP.", True),
    (CAPITAL, {}, "We add the two.", False),
    (JSON, {}, '{"step": "we add"}', True),
    (JSON, {}, '{"step": "we add"} so it is 4', False),
    (WORDS, {"num_words": 5}, "two and two", True),
    (WORDS, {"num_words": 5}, "we add the two and stop", False),
    (DISCLAIMER, {"end_phrase": "A machine thought this."}, "It is 4. A machine thought this.", True),
    (DISCLAIMER, {"end_phrase": "A machine thought this."}, "A machine thought this. It is 4.", False),
    (LANGUAGE, {"language": "de"}, "Zuerst schreiben wir auf was gegeben ist und dann addieren wir die Mengen.", True),
    (LANGUAGE, {"language": "de"}, "First we write down what is given and then we add the amounts.", False),
    (LANGUAGE, {"language": "de"}, "2 + 2 = 4", False),
]


def requirement(key: str, kwargs: dict[str, Any]) -> Requirement:
    return Requirement(key, describe(key, kwargs), RuleCheck(key, kwargs))


@pytest.mark.parametrize(("key", "kwargs", "reasoning", "expected"), CASES)
def test_the_reasoning_decides_and_the_answer_does_not(
    key: str, kwargs: dict[str, Any], reasoning: str, expected: bool
) -> None:
    for answer in ("It is 4, well, yes.", "IT IS 4", '{"a": 4}'):
        verdict = check_scoped(key, answer, reasoning, kwargs)
        assert verdict.passed is expected, verdict.detail


def test_every_constraint_is_shown_to_pass_and_to_fail() -> None:
    assert {(key, expected) for key, _, _, expected in CASES} == {(k, e) for k in REASONING for e in (True, False)}
    assert len(REASONING) == 6


@pytest.mark.parametrize("key", REASONING)
def test_every_wording_speaks_of_the_reasoning(key: str) -> None:
    kwargs = next(kwargs for name, kwargs, _, _ in CASES if name == key)
    for variant in range(paraphrases(key)):
        text = describe(key, kwargs, variant).lower()
        assert "reason" in text or "think" in text


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        ("It is 4.", "no finished reasoning block"),
        ("<think></think>It is 4.", "the text is empty"),
        ("<think>It is 4", "the reasoning block was never closed"),
    ],
)
def test_without_finished_reasoning_a_demand_on_it_is_not_met(response: str, detail: str) -> None:
    rollout = Rollout("q", response, None, (requirement(NO_COMMA, {}),))
    with Engine(deadline=2.0) as engine:
        (verdict,) = ChecklistComponent().score([rollout], Context(engine))
    assert verdict.score == 0.0
    assert [part.detail for part in verdict.parts] == [detail]


def test_one_checklist_asks_for_both_parts() -> None:
    checklist = (requirement(NO_COMMA, {}), requirement("change_case:english_lowercase", {}))
    response = "<think>WE ADD.</think>it is the sum, so 4"
    for scope in ("answer", "response"):
        rollout = Rollout("q", response, None, checklist)
        with Engine(deadline=2.0) as engine:
            (verdict,) = ChecklistComponent(scope=scope).score([rollout], Context(engine))  # type: ignore[arg-type]
        assert verdict.parts[0].passed
        assert verdict.parts[1].passed is (scope == "answer")
    item = PromptItem("i", ({"role": "user", "content": "q"},), None, checklist, "test", "q")
    assert [v.passed for v in score_response(item, Generation(response, None, True)).verdicts] == [True, True]
    assert [v.passed for v in score_response(item, Generation("it is 4", None, True)).verdicts] == [False, True]


def test_a_checklist_without_reasoning_at_hand_fails_the_demand_on_it() -> None:
    assert score_checklist("it is 4", (requirement(NO_COMMA, {}),)).parts[0].detail == "no finished reasoning block"


def test_the_parts_of_a_response_do_not_contradict_each_other() -> None:
    upper = ("change_case:english_capital", {})
    assert conflicts((CAPITAL, {}), (LANGUAGE, {"language": "de"}))
    assert conflicts((JSON, {}), (DISCLAIMER, {"end_phrase": "Made by a machine."}))
    assert not conflicts(upper, (LANGUAGE, {"language": "de"}))
    assert not conflicts((JSON, {}), ("startend:quotation", {}))
    assert by_scope([upper, (JSON, {})]) == ([upper], [(JSON, {})])


def test_demands_on_the_reasoning_can_be_met_together() -> None:
    wishes = [(NO_COMMA, {}), (WORDS, {"num_words": 40}), (CAPITAL, {}), (DISCLAIMER, {"end_phrase": "By a machine."})]
    done = comply("First, we add 2 and 2, which is 4.", wishes)
    assert done is not None
    assert all(check(key, done, kwargs, mode).passed for key, kwargs in wishes for mode in ("compat", "hardened"))


def test_the_floor_that_only_obeys_obeys_in_its_reasoning_too() -> None:
    checklist = (requirement(CAPITAL, {}), requirement("change_case:english_lowercase", {}))
    item = PromptItem("i", ({"role": "user", "content": "q"},), None, checklist, "test", "q")
    scored = score_response(item, Generation(template_response(item), None, True))
    assert scored.hacc == 1.0
