"""Checks that may take long: in workers, under a deadline, once for each text, and never a zero by the clock."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adhere.rewards.checklist import parse_checklist
from adhere.rewards.components import ChecklistComponent, Context
from adhere.rewards.constraints import (
    CONSTRAINTS,
    Mode,
    RuleCall,
    check,
    check_batch,
    costly_call,
    prepare,
    register,
    registry,
    sample,
)
from adhere.rewards.constraints.core.batch import LONG_CHARS
from adhere.rewards.engine import Engine, EngineError
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

CATASTROPHE = "(a+)+$"
VICTIM = "a" * 40 + "!"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(workers=1) as shared:
        yield shared


def keyword_rollout(keyword: str, response: str) -> Rollout:
    rule = {"constraint": "keywords:existence", "kwargs": {"keywords": [keyword]}}
    checklist = parse_checklist([{"id": "word", "text": "say it", "check": rule}], where="test")
    return Rollout("Say it.", response, None, checklist=checklist)


@pytest.mark.slow
def test_a_text_on_which_a_pattern_backtracks_for_ever_does_not_meet_it_and_costs_no_other_text() -> None:
    texts = [VICTIM, "aaa", f"{VICTIM}{VICTIM}", "b", VICTIM[1:], "abbbc"]
    rules = [CATASTROPHE] * 5 + ["b+c"]
    calls = [
        RuleCall("keywords:existence", json.dumps({"keywords": [rule]}), "compat", text)
        for rule, text in zip(rules, texts, strict=True)
    ]
    with Engine(workers=2) as engine:
        for order in (range(6), [5, 4, 3, 2, 1, 0], [1, 0, 3, 2, 5, 4]):
            found = check_batch([calls[i] for i in order], engine, deadline=0.5)
            assert [found[call].score for call in calls] == [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            assert "processor time" in found[calls[0]].detail


def test_a_pattern_that_backtracks_for_ever_on_ordinary_texts_decides_no_response(engine: Engine) -> None:
    pattern = r"(\w+\s?)+(\w+\s?)+#"
    calls = [RuleCall("keywords:existence", json.dumps({"keywords": [pattern]}), "compat", t) for t in ("a", "12345")]
    for batch in (calls, calls[1:], calls[::-1]):
        found = check_batch(batch, engine, deadline=0.5)
        assert {(v.score, v.status) for v in found.values()} == {(None, Status.TIMEOUT)}


def test_plain_words_and_hardened_checks_need_no_worker() -> None:
    with Engine() as engine:
        for keyword, mode in (("plain words", "compat"), ("don't", "compat"), (CATASTROPHE, "hardened")):
            ChecklistComponent(mode=mode).score([keyword_rollout(keyword, VICTIM)], Context(engine))
        assert engine.worker_pids() == []


def test_a_worker_says_what_the_check_says_here(engine: Engine) -> None:
    texts = [
        "Ich rechne das jetzt in kleinen Schritten aus und zeige jeden davon.",
        "We go step by step, all in English.",
    ]
    for constraint in registry():
        kwargs = sample(constraint, random.Random(1), question="What is 2 + 2?")
        calls = [RuleCall(constraint, json.dumps(kwargs), "compat", text) for text in texts]
        found = check_batch(calls, engine, deadline=60.0)
        assert [found[c].score for c in calls] == [check(constraint, text, kwargs, "compat").score for text in texts]


def test_a_very_long_text_is_for_a_worker() -> None:
    assert costly_call(prepare("punctuation:no_comma"), "a" * LONG_CHARS, "hardened") is None
    assert costly_call(prepare("punctuation:no_comma"), "a" * (LONG_CHARS + 1), "hardened") is not None


@pytest.mark.parametrize(
    ("constraint", "arguments"),
    [
        ("keywords:existence", lambda word: {"keywords": [word]}),
        ("keywords:frequency", lambda word: {"keyword": word, "frequency": 1, "relation": "at least"}),
        ("keywords:forbidden_words", lambda word: {"forbidden_words": [word]}),
        ("keywords:word_once", lambda word: {"keyword": word}),
        (
            "keywords:word_count_different_numbers",
            lambda word: {"keyword": word, "frequency": 1, "relation": "at least"},
        ),
        ("count:count_increment_word", lambda word: {"keyword1": "plain", "keyword2": word}),
        ("detectable_content:postscript", lambda word: {"postscript_marker": word}),
    ],
)
def test_a_pattern_from_the_data_is_for_a_worker(constraint: str, arguments: Callable[[str], dict[str, Any]]) -> None:
    assert costly_call(prepare(constraint, arguments(CATASTROPHE)), VICTIM, "compat") is not None
    assert costly_call(prepare(constraint, arguments(CATASTROPHE)), VICTIM, "hardened") is None
    assert costly_call(prepare(constraint, arguments("plain")), VICTIM, "compat") is None


def test_a_module_that_workers_cannot_import_is_named(engine: Engine) -> None:
    class Elsewhere(type(registry()["punctuation:no_comma"])):  # type: ignore[misc]
        """Made in this process alone."""

        id = "elsewhere:no_comma"

    Elsewhere.__module__ = "made_in_one_process"
    register(Elsewhere)
    try:
        call = costly_call(prepare("elsewhere:no_comma"), "a" * (LONG_CHARS + 1), "hardened")
        assert call is not None
        with pytest.raises(EngineError, match="made_in_one_process"):
            check_batch([call], engine)
    finally:
        del CONSTRAINTS._things["elsewhere:no_comma"], CONSTRAINTS._modules["elsewhere:no_comma"]


@pytest.mark.parametrize("mode", ["compat", "hardened"])
@pytest.mark.parametrize(
    "unit", ["a", "a ", "A", "* ", "\n", "**", "$", "\\", "{", "SECTION ", '"', "<", "[x", ". ", "-", "é"]
)
def test_every_check_of_a_long_text_is_linear(mode: Mode, unit: str) -> None:
    text = unit * (100_000 // len(unit))
    for constraint in registry():
        kwargs = sample(constraint, random.Random(2), question="What is 2 + 2?")
        start = time.process_time()
        check(constraint, text, kwargs, mode)
        assert time.process_time() - start < 4, f"{constraint}: quadratic work on {unit!r} would take minutes"
