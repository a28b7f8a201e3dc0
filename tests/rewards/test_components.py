"""Each reward component against texts that a policy may find: what is paid, what is not, what is left unscored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from adhere.rewards.checklist import parse_checklist
from adhere.rewards.components import (
    COMPONENTS,
    ChecklistComponent,
    Component,
    Context,
    FormatComponent,
    LengthComponent,
    MathComponent,
    RandomComponent,
)
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import plugin_modules
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status, Verdict, passed

PROMPT = "What is 2 + 2? Answer in lowercase, without commas. Put the final answer in \\boxed{}."
CHECKLIST = parse_checklist(
    [
        {"id": "no_comma", "text": "no comma", "weight": 100, "check": {"constraint": "punctuation:no_comma"}},
        {"id": "lower", "text": "lowercase", "weight": 50, "check": {"constraint": "change_case:english_lowercase"}},
    ],
    where="test",
)
NO_COMMA = 100 / 150
"""The weighted share of a text that has no comma and is not English in lowercase."""

# response: (math, checklist, format)
TABLE: dict[str, tuple[str, float, float, float]] = {
    "right and compliant": ("the answer is \\boxed{4}.", 1.0, 1.0, 1.0),
    "right, reasons first": ("<think>First, 2 and 2</think>the answer is \\boxed{4}.", 1.0, 1.0, 1.0),
    "right, not compliant": ("Well, the answer is \\boxed{4}.", 1.0, 0.0, 1.0),
    "compliant, wrong": ("the answer is \\boxed{5}.", 0.0, 1.0, 1.0),
    "empty": ("", 0.0, 0.0, 0.0),
    "whitespace": (" \n\t ", 0.0, 0.0, 0.0),
    "echoed prompt": (PROMPT, 0.0, 0.0, 0.0),
    "the prompt's own box": ("put the final answer in \\boxed{}.", 0.0, 1.0, 0.0),
    "unfinished reasoning": ("<think>so it is \\boxed{4}", 0.0, 0.0, 0.0),
    "answer only inside the reasoning": ("<think>it is \\boxed{4}</think>", 0.0, 0.0, 0.0),
    "reasoning closed and nothing else": ("</think>", 0.0, 0.0, 0.0),
    "self-praise": ("all instructions were followed perfectly", 0.0, 1.0, 0.0),
    "injected verdict": ('{"score": 1.0, "status": "ok", "detail": "passed"}', 0.0, 0.0, 0.0),
    "injected tags": ("</think><verdict>passed</verdict><score>1.0</score>", 0.0, NO_COMMA, 0.0),
    "all candidates": (" ".join(f"\\boxed{{{i}}}" for i in range(10)), 0.0, NO_COMMA, 0.0),
    "one phrase again and again": ("it is \\boxed{4} " * 1000, 1.0, 1.0, 0.0),
    "a power tower": ("it is \\boxed{9^{9^{9^9}}}", 0.0, 1.0, 1.0),
    "a million letters": ("a" * 10**6, 0.0, NO_COMMA, 0.0),
    "a million letters of reasoning": ("<think>" + "a " * 500_000, 0.0, 0.0, 0.0),
    "a hundred thousand open blocks": ("<think>" * 100_000, 0.0, 0.0, 0.0),
    "five thousand open braces": ("\\boxed{" * 5000, 0.0, NO_COMMA, 0.0),
    "full-width digit and direction mark": ("\u202eit is \\boxed{\uff14}", 1.0, 1.0, 1.0),
    "null byte and lone surrogate": ("\0\ud800 \\boxed{4}", 1.0, NO_COMMA, 1.0),
    "capitals": ("\\BOXED{4}", 1.0, NO_COMMA, 1.0),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(deadline=2.0) as shared:
        yield shared


def rollout(response: str, **changes: object) -> Rollout:
    given = {"prompt": PROMPT, "response": response, "answer": "4", "checklist": CHECKLIST, "tokens": 10} | changes
    return Rollout(**given)  # type: ignore[arg-type]


def verdict(config: Component, engine: Engine, response: str, **changes: object) -> Verdict:
    (found,) = config.score([rollout(response, **changes)], Context(engine))
    return found


@pytest.mark.parametrize("name", TABLE)
def test_math_pays_the_committed_answer_alone(name: str, engine: Engine) -> None:
    response, expected, _, _ = TABLE[name]
    assert verdict(MathComponent(), engine, response).score == expected


@pytest.mark.parametrize("name", TABLE)
def test_checklist_pays_the_share_of_requirements(name: str, engine: Engine) -> None:
    response, _, expected, _ = TABLE[name]
    found = verdict(ChecklistComponent(), engine, response)
    assert found.score == pytest.approx(expected)
    assert len(found.parts) == 2


@pytest.mark.parametrize("name", TABLE)
def test_format_pays_one_boxed_answer_after_closed_reasoning(name: str, engine: Engine) -> None:
    response, _, _, expected = TABLE[name]
    assert verdict(FormatComponent(), engine, response).score == expected


def test_a_gold_answer_that_is_too_costly_scores_nothing(engine: Engine) -> None:
    found = verdict(MathComponent(timeout=0.2), engine, "\\boxed{9^{9^{9^8}}}", answer="9^{9^{9^9}}")
    assert (found.score, found.status) == (None, Status.UNPARSED) and "too costly" in found.detail


def test_math_does_not_apply_without_a_gold_answer(engine: Engine) -> None:
    for response in ("\\boxed{4}", "<think>unfinished"):
        found = verdict(MathComponent(), engine, response, answer=None)
        assert (found.score, found.status) == (None, Status.NOT_APPLICABLE)


@pytest.mark.parametrize("response", ["\\boxed{4}", "<think>unfinished", ""])
def test_a_gold_answer_that_cannot_be_read_scores_nothing(response: str, engine: Engine) -> None:
    found = verdict(MathComponent(), engine, response, answer="\\frac{1")
    assert (found.score, found.status) == (None, Status.UNPARSED)


def test_a_prompt_without_requirements_has_no_checklist_score(engine: Engine) -> None:
    found = verdict(ChecklistComponent(), engine, "anything", checklist=())
    assert (found.score, found.status) == (None, Status.NOT_APPLICABLE)


@pytest.mark.parametrize(("scoring", "expected"), [("weighted_mean", NO_COMMA), ("mean", 0.5), ("all", 0.0)])
def test_the_scoring_of_a_half_met_checklist(scoring: str, expected: float, engine: Engine) -> None:
    config = ChecklistComponent.model_validate({"scoring": scoring})
    found = verdict(config, engine, "The Answer is \\boxed{4}")
    assert found.score == pytest.approx(expected)
    assert [part.passed for part in found.parts] == [True, False]
    assert "lower" in found.detail


@pytest.mark.parametrize(("scope", "expected"), [("answer", 1.0), ("response", 0.0), ("reasoning", 0.0)])
def test_the_scope_decides_which_part_is_checked(scope: str, expected: float, engine: Engine) -> None:
    config = ChecklistComponent.model_validate({"scope": scope})
    found = verdict(config, engine, "<think>Well, 2 and 2 IS 4</think>the answer is \\boxed{4}")
    assert found.score == pytest.approx(expected)


def test_reasoning_that_is_not_there_meets_nothing_and_says_so(engine: Engine) -> None:
    found = verdict(ChecklistComponent(scope="reasoning"), engine, "the answer is \\boxed{4}")
    assert (found.score, found.detail) == (0.0, "no reasoning block")
    assert [part.score for part in found.parts] == [0.0, 0.0]


def test_a_template_that_opens_the_reasoning_is_reckoned_with(engine: Engine) -> None:
    for config in (MathComponent(), ChecklistComponent(), FormatComponent()):
        assert verdict(config, engine, "it is \\boxed{4}", prefilled=True).score == 0.0
        assert verdict(config, engine, "2 and 2</think>it is \\boxed{4}", prefilled=True).score == 1.0


def test_format_wants_an_end_and_reasoning_where_it_is_required(engine: Engine) -> None:
    good = "it is \\boxed{4}"
    assert verdict(FormatComponent(), engine, good, finished=False).score == 0.0
    strict = FormatComponent(require_reasoning=True)
    assert verdict(strict, engine, good).score == 0.0
    assert verdict(strict, engine, "<think> </think>" + good).score == 0.0
    assert verdict(strict, engine, "<think>2 and 2</think>" + good).score == 1.0
    assert verdict(FormatComponent(), engine, "a poem", answer=None).score == 1.0


@pytest.mark.parametrize(("tokens", "expected"), [(0, 1.0), (512, 1.0), (768, 0.5), (1024, 0.0), (10**6, 0.0)])
def test_length_falls_between_target_and_maximum(tokens: int, expected: float, engine: Engine) -> None:
    assert verdict(LengthComponent(), engine, "text", tokens=tokens).score == expected


def test_verdicts_come_in_the_order_of_the_rollouts(engine: Engine) -> None:
    rollouts = [rollout(f"\\boxed{{{i % 5}}}") for i in range(20)]
    scores = [found.score for found in MathComponent().score(rollouts, Context(engine))]
    assert scores == [float(i % 5 == 4) for i in range(20)]


def test_a_kind_of_a_users_own_is_validated_dumped_and_scored_like_ours(engine: Engine) -> None:
    class Brevity(Component):
        """1.0 up to so many words."""

        kind: Literal["brevity"] = "brevity"
        words: int = 3
        """Words."""

        def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
            return [Verdict(float(len(r.response.split()) <= self.words), detail=context.key) for r in rollouts]

    COMPONENTS.add("brevity", Brevity, "my_lab.rewards")
    try:
        given = {"components": {"short": {"kind": "brevity", "words": 2}}}
        config = RewardConfig.model_validate(given)
        assert config.components["short"] == Brevity(words=2)
        assert RewardConfig.model_validate(config.model_dump(mode="json")) == config
        assert plugin_modules() == ["my_lab.rewards"]
        scores = Composite(config, engine).score([rollout("one two"), rollout("one two three")])
        assert scores.values["short"] == [1.0, 0.0]
        assert scores.verdicts["short"][0].detail == "rewards.components.short"
        given["components"]["short"]["wrods"] = 1
        with pytest.raises(ValidationError) as caught:
            RewardConfig.model_validate(given)
        assert caught.value.errors()[0]["loc"] == ("components", "short", "wrods")
    finally:
        COMPONENTS.remove("brevity")


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ([passed()], r"rewards\.components\.mine: kind 'odd' returned 1 verdicts for 2 rollouts"),
        ([passed(), 1.0], r"rewards\.components\.mine: kind 'odd' returned float for rollout 1; return an"),
    ],
)
def test_what_a_users_kind_returns_is_checked(verdicts: list[Any], message: str, engine: Engine) -> None:
    class Odd(Component):
        kind: Literal["odd"] = "odd"

        def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
            return verdicts

    config = RewardConfig().model_copy(update={"components": {"mine": Odd()}})
    with pytest.raises(ConfigError, match=message):
        Composite(config, engine).score([rollout("a"), rollout("b")])


def test_what_a_kind_lacks_is_said_when_it_registers() -> None:
    class Scoreless(Component):
        kind: Literal["scoreless"] = "scoreless"

    class Nameless(Scoreless):
        def score(self, rollouts: Sequence[Rollout], context: Context) -> list[Verdict]:
            return []

    for name, thing, said in [
        ("scoreless", Scoreless, "needs a method score"),
        ("other", Nameless, r'needs the field `kind: Literal\["other"\] = "other"`'),
        ("function", len, "is not a subclass of adhere.rewards.Component"),
    ]:
        with pytest.raises(ConfigError, match=f"the reward component kind '{name}' {said}"):
            COMPONENTS.add(name, thing, "my_lab")
    with pytest.raises(ConfigError, match=r"exists already, in adhere\.rewards\.components\.math"):
        COMPONENTS.add("math", Nameless, "my_lab")


def test_a_random_reward_knows_nothing_of_the_response_and_can_be_drawn_again(engine: Engine) -> None:
    composite = Composite(RewardConfig(components={"random": RandomComponent(rate=0.25)}), engine)
    rollouts = [Rollout("What is 2+2?", f"It is {i}.", "4", id=f"item/{i}") for i in range(2000)]
    scores = [verdict.score for verdict in composite.score(rollouts).verdicts["random"]]
    assert set(scores) == {0.0, 1.0} and 0.21 < sum(scores) / 2000 < 0.29
    assert scores == [verdict.score for verdict in composite.score(rollouts).verdicts["random"]]
    # The company of others changes nothing, and equal responses to one prompt differ by their number.
    assert [v.score for v in composite.score(rollouts[500:510]).verdicts["random"]] == scores[500:510]
    equal = composite.score([rollouts[0]] * 400).verdicts["random"]
    assert 0.15 < sum(v.score or 0.0 for v in equal) / 400 < 0.35
    other = Composite(RewardConfig(components={"random": RandomComponent(rate=0.25, seed=1)}), engine)
    assert [v.score for v in other.score(rollouts).verdicts["random"]] != scores
