"""What the tests of the pipeline share: a model folder to plan with, and a real model of a few hundred weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<think>", "</think>", "adhere", "What", "is", "2"]
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|> {{ m['content'] }} "
    "{% else %}<|assistant|> {{ m['content'] }} <|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder that planning takes for a saved model; it is never loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    return folder


@pytest.fixture
def tokenizer_of() -> Callable[..., PreTrainedTokenizerFast]:
    """Return ``build(template, words, eos)``, which makes a real tokenizer over a handful of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def build(template: str = TEMPLATE, words: list[str] = WORDS, eos: str = "<|end|>") -> PreTrainedTokenizerFast:
        core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<|pad|>"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=eos, pad_token="<|pad|>")
        tokenizer.chat_template = template
        return tokenizer

    return build


@pytest.fixture
def model_that_says() -> Callable[[int], LlamaForCausalLM]:
    """Return ``build(token)``, which makes a real model whose greedy choice is ``token`` at every step."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def build(token: int) -> LlamaForCausalLM:
        config = LlamaConfig(
            vocab_size=len(WORDS),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=1,
        )
        model = LlamaForCausalLM(config)
        head = torch.nn.Linear(8, len(WORDS))
        torch.nn.init.zeros_(head.weight)
        head.bias.data = torch.nn.functional.one_hot(torch.tensor(token), len(WORDS)).float()
        model.lm_head = head
        return model

    return build
