"""Token credit: its formula, what it leaves alone, and an exact resume."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from attempts import differences, prepare, step_by_step, whole

from adhere.prompts.attach import with_constraints
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.errors import ConfigError
from adhere.train.config.compose import compose_recipe
from adhere.train.config.schema import TokenCreditConfig
from adhere.train.stages.token_credit import contrast_messages, credit_weights, ramp

LEARNS = ["stages=[grpo]", "grpo.learning_rate=1e-3", "rewards.components.checklist.gate=null", "grpo.temperature=2"]
COMMA = {"id": "c", "text": "Use no comma.", "weight": 100, "check": {"constraint": "punctuation:no_comma"}}


def test_the_weights_are_those_of_the_formula_and_have_mean_one() -> None:
    config = TokenCreditConfig(strength=1.0, temperature=5.0, offset=0.1)
    delta = torch.tensor([0.0, 2.0, -1.0, 0.3, math.nan, math.nan])
    rows = torch.tensor([0, 0, 0, 1, 2, 2])
    raw = [1 + 0.5 * (1 / (1 + math.exp(-5.0 * (d - 0.1))) - 0.5) for d in (0.0, 2.0, -1.0)]
    expected = [3 * w / sum(raw) for w in raw]
    found = credit_weights(config, 0.5, delta, rows)
    assert found[:3].tolist() == pytest.approx(expected)
    assert found[3:].tolist() == [1.0, 1.0, 1.0], "one token has the mean; a prompt without requirements has no credit"
    assert found[1] > found[0] > found[2] > 0.0
    assert credit_weights(config, 0.0, delta, rows).tolist() == [1.0] * 6


@pytest.mark.parametrize(
    ("progress", "level"),
    [(0.0, 0.0), (0.19, 0.0), (0.3, 3 * 0.25**2 - 2 * 0.25**3), (0.4, 0.5), (0.6, 1.0), (1.0, 1.0)],
)
def test_the_strength_rises_smoothly_after_the_warm_up(progress: float, level: float) -> None:
    assert ramp(TokenCreditConfig(warmup=0.2, ramp=0.4), progress) == pytest.approx(level)


def test_a_ramp_of_nothing_is_a_step() -> None:
    config = TokenCreditConfig(warmup=0.5, ramp=0.0)
    assert [ramp(config, p) for p in (0.0, 0.49, 0.5, 1.0)] == [0.0, 0.0, 1.0, 1.0]


def test_the_other_prompt_lacks_the_requirements_or_says_as_many_irrelevant_words() -> None:
    bare = PromptItem("i", ({"role": "user", "content": "What is 2+3?"},), "5")
    item = with_constraints(bare, parse_checklist([COMMA], where="test"))
    assert "no comma" in item.messages[-1]["content"]
    (plain,) = contrast_messages(item, "without") or []
    assert plain["content"] == "What is 2+3?"
    (placebo,) = contrast_messages(item, "placebo") or []
    assert placebo["content"].startswith("What is 2+3? ") and "comma" not in placebo["content"]
    assert len(placebo["content"].split()) == len(item.messages[-1]["content"].split())
    assert contrast_messages(bare, "without") is None


@pytest.mark.slow
@pytest.mark.parametrize("against", ["without", "placebo"])
def test_without_its_strength_training_is_as_without_it_and_with_it_another(tmp_path: Path, against: str) -> None:
    keys = [f"grpo.token_credit.{key}" for key in ("strength=1.0", f"against={against}", "ramp=0.0")]
    plain = prepare(tmp_path / "plain", *LEARNS)
    waiting = prepare(tmp_path / "waiting", *LEARNS, *keys, "grpo.token_credit.warmup=1.0")
    credited = prepare(tmp_path / "credited", *LEARNS, *keys, "grpo.token_credit.warmup=0.0")
    for artifact in (plain, waiting, credited):
        whole(artifact)
    found = [text for text in differences(plain, waiting) if "token_credit" not in text]
    assert found == [], "the second pass changes neither random numbers nor weights"
    assert any(text.startswith("weights") for text in differences(plain, credited))
    rows = [json.loads(line) for line in (credited.path / "metrics.jsonl").read_text().splitlines()]
    spreads = [row["token_credit/spread"] for row in rows if "token_credit/spread" in row]
    assert spreads and max(spreads) > 0.0


@pytest.mark.slow
def test_stopped_at_every_step_it_ends_the_same(tmp_path: Path) -> None:
    keys = ["grpo.token_credit.strength=1.0", "grpo.token_credit.ramp=0.5", "grpo.max_steps=4"]
    several = ["grpo.gradient_accumulation=2", "+grpo.trl.num_iterations=2"]
    one, other = (prepare(tmp_path / name, *LEARNS, *keys, *several) for name in ("whole", "steps"))
    whole(one)
    assert step_by_step(other) == [1, 2, 3]
    assert differences(one, other) == []


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("grpo.token_credit.strength=2", "grpo.token_credit.strength"),
        ("grpo.token_credit.against=nothing", "grpo.token_credit.against"),
        ("grpo.exact_trl=true", "grpo.token_credit.strength: needs adhere's own updates"),
    ],
)
def test_what_cannot_work_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_recipe(["recipe=quickstart", "~arms", "grpo.token_credit.strength=1", word])
