"""Prompts as the model sees them, and chat templates that would spoil a training run without a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from adhere.prompts.item import Message
from adhere.rewards.errors import ConfigError
from adhere.train.model.chat import check_template, prompt_ids, prompt_text, target_text

Build = Callable[..., PreTrainedTokenizerFast]
QUESTION = (Message(role="user", content="What is 2"),)
TURNS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|> {{ m['content'] }} "
    "{% else %}<|assistant|> {{ m['content'] }} <|end|>{% endif %}{% endfor %}"
)
OPENS = TURNS + "{% if add_generation_prompt %}<|assistant|> {% endif %}"
THINKS = TURNS + "{% if add_generation_prompt %}<|assistant|> <think>\n{% endif %}"
EMPTY_THOUGHT = TURNS + "{% if add_generation_prompt %}<|assistant|> <think> </think>{% endif %}"


def test_the_prompt_ends_where_the_models_turn_begins(tokenizer_of: Build) -> None:
    tokenizer = tokenizer_of(OPENS)
    assert prompt_text(tokenizer, QUESTION) == "<|user|> What is 2 <|assistant|> "
    assert tokenizer.convert_ids_to_tokens(prompt_ids(tokenizer, QUESTION)) == [
        "<|user|>", "What", "is", "2", "<|assistant|>"
    ]  # fmt: skip


@pytest.mark.parametrize(("template", "prefilled"), [(OPENS, False), (THINKS, True), (EMPTY_THOUGHT, False)])
def test_a_sound_template_passes(template: str, prefilled: bool, tokenizer_of: Build) -> None:
    check_template(tokenizer_of(template), prefilled=prefilled)


@pytest.mark.parametrize(
    ("template", "prefilled", "message"),
    [
        (TURNS, False, r"model\.chat_template: the template ignores add_generation_prompt"),
        (OPENS.replace("<|user|> {{ m['content'] }} ", ""), False, r"model\.chat_template: .*drops the user's message"),
        (OPENS.replace("<|end|>", ""), False, r"a turn ends with ' ', but the tokenizer's end token is '<\|end\|>'"),
        (OPENS.replace("<|end|>", "<|pad|>"), False, r"a turn ends with ' <\|pad\|>'.* set eos_token"),
        (THINKS, False, r"model\.prefilled_reasoning: is False, but the template opens <think>"),
        (OPENS, True, r"model\.prefilled_reasoning: is True, but the template does not open <think>"),
    ],
    ids=["never opens", "drops the user", "no end", "another end", "opens thinking", "opens no thinking"],
)
def test_a_template_that_would_spoil_training_is_refused(
    template: str, prefilled: bool, message: str, tokenizer_of: Build
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_template(tokenizer_of(template), prefilled=prefilled)


@pytest.mark.parametrize(
    ("prompt", "target", "expected"),
    [
        ("<|assistant|> ", "<think>a</think>b", "<think>a</think>b"),
        ("<|assistant|> <think>\n", "<think>\na</think>b", "a</think>b"),
        ("<|assistant|> <think>", "a</think>b", "a</think>b"),
        ("<|assistant|> <think> </think>", "b", "b"),
    ],
)
def test_a_target_does_not_open_reasoning_that_the_template_opened(prompt: str, target: str, expected: str) -> None:
    assert target_text(prompt, target) == expected
