"""The check between SFT and GRPO, on real tokenizers and a real model of a few hundred weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.schema import AdapterConfig
from adhere.train.model import handoff
from adhere.train.model.handoff import adapter_mode, check_tokenizers, eos_ids, greedy_stops

Tokenizers = Callable[..., PreTrainedTokenizerFast]
Models = Callable[[int], LlamaForCausalLM]
END, PAD, WORD = 0, 1, 9
WORDS = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "What", "is"]
ITEMS = [PromptItem(f"i{i}", ({"role": "user", "content": "What is 2"},), "2") for i in range(3)]


def test_the_same_tokenizer_passes(tokenizer_of: Tokenizers) -> None:
    check_tokenizers(tokenizer_of(), tokenizer_of())


def test_a_changed_vocabulary_is_refused(tokenizer_of: Tokenizers) -> None:
    after = tokenizer_of()
    after.add_tokens(["<new>"])
    with pytest.raises(StageError, match=r"hand-off: .*vocabulary"):
        check_tokenizers(tokenizer_of(), after)
    with pytest.raises(StageError, match=r"hand-off: .*vocabulary"):
        check_tokenizers(tokenizer_of(words=WORDS), tokenizer_of(words=WORDS[::-1]))


def test_another_chat_template_is_refused(tokenizer_of: Tokenizers) -> None:
    with pytest.raises(StageError, match=r"hand-off: .*another chat template; set model\.chat_template"):
        check_tokenizers(tokenizer_of(), tokenizer_of(template="{{ messages }}"))


def test_another_end_token_is_refused(tokenizer_of: Tokenizers) -> None:
    with pytest.raises(StageError, match=r"the end token changed from '<\|end\|>' to '<\|pad\|>'"):
        check_tokenizers(tokenizer_of(), tokenizer_of(eos="<|pad|>"))


@pytest.mark.parametrize(
    ("configured", "expected"), [(END, [END]), ([END, WORD], [END, WORD]), (None, [END])], ids=["one", "two", "none"]
)
def test_the_ends_of_a_response(
    configured: int | list[int] | None, expected: list[int], tokenizer_of: Tokenizers, model_that_says: Models
) -> None:
    model = model_that_says(END)
    model.generation_config = GenerationConfig(eos_token_id=configured)
    assert eos_ids(model, tokenizer_of()) == expected


@pytest.mark.parametrize("configured", [PAD, [PAD, WORD]])
def test_a_generation_config_that_stops_elsewhere_is_refused(
    configured: int | list[int], tokenizer_of: Tokenizers, model_that_says: Models
) -> None:
    model = model_that_says(END)
    model.generation_config = GenerationConfig(eos_token_id=configured)
    with pytest.raises(StageError, match=r"put 0 into the model's generation_config\.json"):
        eos_ids(model, tokenizer_of())


def test_a_model_that_ends_its_responses_passes(tokenizer_of: Tokenizers, model_that_says: Models) -> None:
    model = model_that_says(END).train()
    assert greedy_stops(model, tokenizer_of(), ITEMS, limit=4) == 1.0
    assert model.training


def test_a_model_that_never_ends_is_refused_with_what_to_do(tokenizer_of: Tokenizers, model_that_says: Models) -> None:
    with pytest.raises(StageError, match=r"none of 3 greedy samples ended within 4 tokens; train SFT\s+longer"):
        greedy_stops(model_that_says(WORD), tokenizer_of(), ITEMS, limit=4)


def test_prompts_of_any_length_are_sampled_in_one_batch_of_the_compute_type(
    tokenizer_of: Tokenizers, model_that_says: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, shapes, types = model_that_says(END), [], []
    inner = model.generate

    def seen(ids: torch.Tensor, **given: Any) -> torch.Tensor:
        shapes.append((tuple(ids.shape), given["attention_mask"].sum(1).tolist()))
        types.append(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
        return inner(ids, **given)

    monkeypatch.setattr(model, "generate", seen)
    items = [PromptItem(f"i{n}", ({"role": "user", "content": "What " * n},), "2") for n in (1, 4, 2)]
    assert greedy_stops(model, tokenizer_of(), items, limit=4) == 1.0
    assert greedy_stops(model, tokenizer_of(), items, limit=4, dtype=torch.bfloat16) == 1.0
    assert shapes == [((3, 6), [3, 6, 4])] * 2 and types == [torch.float32, torch.bfloat16]


def test_samples_shorter_than_training_allows_refuse_nothing(
    tokenizer_of: Tokenizers, model_that_says: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that thinks for long may still end within the limit of training."""
    monkeypatch.setattr(handoff, "SAMPLE_TOKENS", 4)
    assert greedy_stops(model_that_says(WORD), tokenizer_of(), ITEMS, limit=5) == 0.0
    with pytest.raises(StageError, match=r"none of 3 greedy samples ended within 4 tokens"):
        greedy_stops(model_that_says(WORD), tokenizer_of(), ITEMS, limit=4)


def test_what_happens_to_an_adapter_is_said_in_one_word(tmp_path: Path) -> None:
    def mode(kind: str, handoff: str = "continue", strategy: str = "ddp", *, staged: bool = True) -> str:
        return adapter_mode(tmp_path, AdapterConfig(kind=kind, handoff=handoff), strategy, staged=staged)

    assert mode("none", staged=False) == mode("none") == "none"
    assert mode("lora", staged=False) == "new"
    # On whole weights that another stage trained, an adapter alone would be read on the recipe's model.
    assert mode("lora") == "merge"
    with pytest.raises(ConfigError, match=r"model\.adapter\.kind: .*zero3"):
        mode("lora", strategy="zero3")
    with pytest.raises(ConfigError, match=r"model\.adapter\.kind: .*4-bit"):
        mode("qlora")
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert mode("lora") == mode("lora", strategy="zero3") == "continue"
    assert mode("lora", "merge") == "merge"
    assert mode("none") == "whole"
