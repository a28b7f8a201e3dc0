"""A small sequence classifier with random weights as a reward, in a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

from adhere.rewards import Rollout, Status
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError

ASSET = Path(__file__).parents[2] / "recipes" / "assets" / "tiny_base"
ROLLOUTS = [
    Rollout("What is 2 + 2?", "It is four.", "4"),
    Rollout("What is 2 + 2?", "<think>two and two</think>It is four.", "4"),
    Rollout("What is 2 + 2?", "<think>it never ends", "4"),
    Rollout("Say something long.", "word " * 200, None),
]


def classifier(folder: Path, labels: list[str]) -> Path:
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(ASSET)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=128, pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        id2label=dict(enumerate(labels)), label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scalar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("scalar"), ["reward"])


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("labelled"), ["rude", "polite", "neither"])


@pytest.fixture
def composite() -> Iterator[Callable[..., Composite]]:
    made: list[Composite] = []

    def make(model: Path, **keys: Any) -> Composite:
        mine = {"kind": "reward_model", "model": str(model), "device": "cpu", "batch_size": 2} | keys
        made.append(Composite(RewardConfig.model_validate({"components": {"mine": mine}}), Engine()))
        return made[-1]

    yield make
    for one in made:
        one.close()


def logits(folder: Path, prompt: str, response: str, *, pair: bool = False) -> torch.Tensor:
    """Return the model's outputs for one text, without a batch and without padding."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    encoded = (
        tokenizer(prompt, response, return_tensors="pt", truncation=True, max_length=128)
        if pair
        else tokenizer(text, add_special_tokens=False, return_tensors="pt", truncation=True, max_length=128)
    )
    with torch.inference_mode():
        return model.float()(**encoded).logits[0]


@pytest.mark.slow
def test_the_one_output_is_mapped_by_the_logistic_function(scalar: Path, composite: Callable[..., Composite]) -> None:
    found = composite(scalar).score(ROLLOUTS).verdicts["mine"]
    raw = logits(scalar, "What is 2 + 2?", "It is four.")[0]
    assert found[0].score == pytest.approx(float(raw.sigmoid()), abs=1e-5)
    assert float(found[0].detail.removeprefix("raw value ")) == pytest.approx(float(raw), abs=1e-4)
    assert found[1].score == pytest.approx(found[0].score), "the reasoning is not scored"
    assert (found[2].score, found[2].detail) == (0.0, "the reasoning block was never closed")
    assert found[3].score is not None, "a text beyond the model's limit is cut, not left out"


@pytest.mark.slow
def test_bounds_map_it_linearly_and_cut_what_lies_beyond(scalar: Path, composite: Callable[..., Composite]) -> None:
    raw = float(logits(scalar, "What is 2 + 2?", "It is four.")[0])
    inside = composite(scalar, bounds=[raw - 1.0, raw + 3.0]).score(ROLLOUTS[:1]).verdicts["mine"][0]
    assert inside.score == pytest.approx(0.25, abs=1e-4)
    beyond = composite(scalar, bounds=[raw + 1.0, raw + 3.0]).score(ROLLOUTS[:1]).verdicts["mine"][0]
    assert beyond.score == 0.0 and beyond.detail.startswith("raw value ")


@pytest.mark.slow
def test_a_label_gives_its_probability_and_a_pair_is_tokenized_as_one(
    labelled: Path, composite: Callable[..., Composite]
) -> None:
    made = composite(labelled, label="polite", input="pair", scope="response")
    found = made.score(ROLLOUTS).verdicts["mine"]
    for rollout, verdict in zip(ROLLOUTS[:3], found, strict=False):
        expected = logits(labelled, rollout.prompt, rollout.response, pair=True).softmax(dim=-1)[1]
        assert verdict.score == pytest.approx(float(expected), abs=1e-5)


def problem(model: str | Path, **keys: Any) -> str:
    component = RewardConfig.model_validate(
        {"components": {"mine": {"kind": "reward_model", "model": str(model)} | keys}}
    ).components["mine"]
    with pytest.raises(ConfigError) as caught:
        component.check("mine")
    return str(caught.value)


def test_what_a_folder_cannot_be_is_named_before_anything_starts(scalar: Path, labelled: Path, tmp_path: Path) -> None:
    assert "mine.model: there is no model at './nowhere'" in problem("./nowhere")
    assert "mine.model: there is no model at" in problem(tmp_path)
    assert "is not a sequence classifier (its architecture: LlamaForCausalLM)" in problem(ASSET)
    assert "mine.label: the model has 3 outputs; name one of rude, polite, neither" in problem(labelled)
    assert "mine.label: the model has no label 'polit' (did you mean 'polite'?)" in problem(labelled, label="polit")
    with pytest.raises(ValueError, match="bounds"):
        problem(labelled, label="polite", bounds=[0, 1])
    with pytest.raises(ValueError, match="bounds"):
        problem(scalar, bounds=[1, 0])


@pytest.mark.slow
def test_what_only_loading_shows_is_named_at_the_first_batch(
    scalar: Path, tmp_path: Path, composite: Callable[..., Composite]
) -> None:
    headless = tmp_path / "headless"
    shutil.copytree(ASSET, headless)
    with pytest.raises(ConfigError, match=r"mine\.model: .* has no trained head .*score\.weight"):
        composite(headless).score(ROLLOUTS)
    silent = tmp_path / "silent"
    shutil.copytree(scalar, silent)
    (silent / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((silent / "tokenizer_config.json").read_text())
    (silent / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if "chat" not in k}))
    with pytest.raises(ConfigError, match=r"mine\.model: the tokenizer of '.*silent' has no chat template; set input"):
        composite(silent).score(ROLLOUTS)


@pytest.mark.slow
def test_the_responses_of_a_batch_that_takes_too_long_are_scored_one_by_one(
    scalar: Path, composite: Callable[..., Composite]
) -> None:
    long = [Rollout("q", "word " * 20, None)] * 1000
    found = composite(scalar, timeout=0.05, batch_size=1).score(long).verdicts["mine"]
    assert all(v.status is Status.OK and v.score == found[0].score for v in found)
