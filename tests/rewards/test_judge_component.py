"""The judge as a part of the composite reward: configuration, values, what an outage leaves, what the data asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from judge_server import ScriptedServer
from pydantic import ValidationError

from adhere.rewards.checklist.requirement import parse_checklist
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.functions import RewardFunctions
from adhere.rewards.judge.needs import check_judged
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

NO_COMMA = {"type": "rule", "constraint": "punctuation:no_comma"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda message, body: re.search(r"worth (\d+)", message)[1]) as running:
        yield running


def rewards(server: ScriptedServer, **changes: Any) -> RewardConfig:
    judge = {"base_url": server.url, "model": "m", "backoff": 0.01, "retries": 1} | changes
    return RewardConfig.model_validate({"components": {"rating": {"kind": "judge", "judge": judge}}})


def rollout(response: str) -> Rollout:
    return Rollout("Say what you are worth.", response, None)


def test_the_judge_rates_the_answer_and_reports_what_it_did(server: ScriptedServer) -> None:
    composite = Composite(rewards(server), Engine())
    texts = ["<think>worth 1</think>I am worth 80.", "worth 30", "", "<think>worth 99", "I am worth 80."]
    scores = composite.score([rollout(text) for text in texts])
    assert scores.values["rating"] == [0.8, 0.3, 0.0, 0.0, 0.8]
    assert "never closed" in scores.verdicts["rating"][3].detail
    assert scores.usage is not None and (scores.usage.calls, scores.usage.cache_hits) == (2, 1)
    again = composite.score([rollout("worth 30")])
    assert again.usage is not None and (again.usage.calls, again.usage.cache_hits) == (0, 1)
    assert again.outage is None


def test_a_dead_judge_leaves_no_value_and_says_so_until_it_is_back(server: ScriptedServer) -> None:
    functions = RewardFunctions(Composite(rewards(server), Engine()))
    (rating,) = functions.as_list()
    batch = {"prompts": ["q"], "completions": ["worth 30"], "completion_ids": [[1]]}
    server.stop()
    assert rating(**batch) == [None]
    assert functions.scores is not None and functions.scores.verdicts["rating"][0].status is Status.ERROR
    assert functions.scores.outage is not None and "ConnectError" in functions.scores.outage
    server.start()
    assert rating(**batch) == [0.3], "a function that is called again has the next batch, though it is equal"
    assert functions.scores.outage is None


def test_components_with_one_configuration_share_a_judge_and_its_cache(server: ScriptedServer) -> None:
    one = rewards(server).components["rating"].model_dump()
    both = {"a": one, "b": one | {"weight": 0.0, "scope": "response"}}
    composite = Composite(RewardConfig.model_validate({"components": both}), Engine())
    assert len(composite.judges) == 1
    composite.score([rollout("worth 30")])
    assert len(server.requests) == 1


def test_a_reward_without_judges_has_none() -> None:
    composite = Composite(RewardConfig(), Engine())
    assert not composite.judges and composite.services.patience == 0.0
    assert composite.score([rollout("4")]).usage is None


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "http://me:secret@host/v1"}, "base_url"),
        ({"samples": 5}, "temperature: 5 samples at 0 are one sample"),
        ({"scoring": "logprobs", "items_per_call": 2}, "items_per_call: log-probabilities"),
        ({"scoring": "logprobs", "samples": 5, "temperature": 1.0}, "samples: log-probabilities need one sample"),
        ({"api_key": "sk-1"}, "api_key"),
        ({"deadline": 3600.0}, "deadline"),
        ({"extra": {"messages": []}}, "extra.messages: the judge sets it itself"),
        ({"extra": {"temperature": 1.5}}, "extra.temperature: .*set judge.temperature"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(
    server: ScriptedServer, judge: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        rewards(server, **judge)


def test_a_missing_key_fails_when_the_reward_is_built(server: ScriptedServer) -> None:
    with pytest.raises(ConfigError, match="the environment has no NO_SUCH_KEY"):
        Composite(rewards(server, api_key_env="NO_SUCH_KEY"), Engine())


@pytest.mark.parametrize("row", [{"type": "judge"}, {"type": "and", "checks": [NO_COMMA, {"type": "judge"}]}])
def test_data_that_needs_a_judge_is_refused_when_there_is_none(server: ScriptedServer, row: dict[str, Any]) -> None:
    asked = parse_checklist([{"id": "polite", "text": "Is it polite?", "check": row}], "here")
    message = (
        r"item 3: requirement 'polite' is decided by a judge, and rewards\.components\.checklist\.judge is not set"
    )
    with pytest.raises(DataError, match=message):
        check_judged(RewardConfig(), [("item 2", ()), ("item 3", asked)])
    judge = {"base_url": server.url, "model": "m"}
    given = RewardConfig.model_validate({"components": {"checklist": {"kind": "checklist", "judge": judge}}})
    check_judged(given, [("item 3", asked)])
    rule = parse_checklist([{"id": "r", "text": "r", "check": NO_COMMA}], "here")
    check_judged(RewardConfig(), [("item 3", rule)])
    implicit = RewardConfig.model_validate({"components": {"checklist": {"kind": "checklist", "scoring": "implicit"}}})
    with pytest.raises(DataError, match="item 3: requirement 'r' is decided by a judge"):
        check_judged(implicit, [("item 3", rule)])


def gated(server: ScriptedServer, **rating: Any) -> RewardConfig:
    judge = {"base_url": server.url, "model": "m", "backoff": 0.01, "retries": 1}
    components = {"rating": {"kind": "judge", "judge": judge, "gate": "math"} | rating, "math": {"kind": "math"}}
    return RewardConfig.model_validate({"components": components})


def answered(number: int, answer: str | None = "4") -> Rollout:
    return Rollout("Say what you are worth.", f"\\boxed{{{number}}}, worth {number}0", answer)


def test_a_gated_judge_is_asked_only_where_its_score_can_count(server: ScriptedServer) -> None:
    scores = Composite(gated(server), Engine()).score([answered(4), answered(5), answered(6, None)])
    right, wrong, open_ended = scores.verdicts["rating"]
    assert (right.score, open_ended.score) == (0.4, 0.6)
    assert wrong.score is None and wrong.status is Status.NOT_APPLICABLE
    assert wrong.detail == "not asked: 'math' did not pass"
    assert scores.values["rating"] == [0.4, 0.0, 0.6] and scores.decided == [True, True, True]
    assert len(server.requests) == 2
    assert list(scores.verdicts) == ["rating", "math"]


def test_a_gated_judge_of_weight_0_is_a_metric_of_all_responses(server: ScriptedServer) -> None:
    scores = Composite(gated(server, weight=0.0), Engine()).score([answered(4), answered(5)])
    assert [verdict.score for verdict in scores.verdicts["rating"]] == [0.4, 0.5]
    assert scores.values["rating"] == [0.4, 0.0]


def test_rules_are_decided_where_a_gated_judge_is_not_asked(server: ScriptedServer) -> None:
    rows = [{"id": "comma", "text": "No comma.", "check": NO_COMMA}]
    asked = [*rows, {"id": "worth", "text": "Is it worth it?", "check": {"type": "judge"}}]
    config = gated(server, kind="checklist")
    wrong = answered(5)
    rollouts = [
        Rollout(wrong.prompt, wrong.response, "4", parse_checklist(checklist, "here"))
        for checklist in (rows, asked, [])
    ]
    scores = Composite(config, Engine()).score(rollouts)
    ruled, judged, nothing = scores.verdicts["rating"]
    assert ruled.score == 0.0 and nothing.detail == "no requirement"
    assert judged.score is None and judged.detail == "not asked: 'math' did not pass"
    assert [(part.score, part.status) for part in judged.parts] == [(0.0, Status.OK), (None, Status.NOT_APPLICABLE)]
    assert scores.values["rating"] == [0.0, 0.0, None] and not server.requests


def test_the_judge_is_not_asked_where_the_gate_was_not_decided(server: ScriptedServer) -> None:
    judge = {"base_url": server.url, "model": "m", "backoff": 0.01, "retries": 0}
    gate = {"kind": "judge", "judge": judge | {"base_url": "http://127.0.0.1:1/v1"}}
    rated = {"rating": {"kind": "judge", "judge": judge, "gate": "first"}, "first": gate}
    scores = Composite(RewardConfig.model_validate({"components": rated}), Engine()).score([answered(4)])
    assert scores.values["rating"] == [None] and scores.decided == [False]
    assert not server.requests
