"""Prompts as the model sees them, and the checks that a chat template has to pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adhere.rewards.errors import ConfigError
from adhere.rewards.segments import THINK_CLOSE, THINK_OPEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adhere.prompts.item import Message

PROBE = "adhere"


def prompt_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Return the prompt up to where the model's turn begins."""
    return _render(tokenizer, messages, open_turn=True)


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, open_turn: bool) -> str:
    turns = [{"role": message["role"], "content": message["content"]} for message in messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=open_turn)
    assert isinstance(text, str)
    return text


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Return the prompt's token ids; special tokens come from the template alone."""
    return list(tokenizer(prompt_text(tokenizer, messages), add_special_tokens=False)["input_ids"])


def target_text(prompt: str, target: str) -> str:
    """Return what follows ``prompt`` in the response ``target``: without ``<think>`` where the template opened it."""
    if prompt.rstrip().endswith(THINK_OPEN) and target.startswith(THINK_OPEN):
        return target.removeprefix(THINK_OPEN).lstrip()
    return target


def check_template(tokenizer: PreTrainedTokenizerBase, *, prefilled: bool) -> None:
    """Check that the template opens the model's turn, ends it with the end token, and agrees with ``prefilled``.

    Raises:
        ConfigError: says which of these does not hold and what to change.
    """
    question: Message = {"role": "user", "content": PROBE}
    response: Message = {"role": "assistant", "content": PROBE}
    opened = prompt_text(tokenizer, [question])
    bare = _render(tokenizer, [question], open_turn=False)
    whole = _render(tokenizer, [question, response], open_turn=False)
    if PROBE not in opened:
        raise ConfigError("model.chat_template: the template drops the user's message")
    if opened == bare:
        raise ConfigError(
            "model.chat_template: the template ignores add_generation_prompt, so the model's turn never opens"
        )
    ending = whole[whole.rindex(PROBE) + len(PROBE) :]
    eos = str(tokenizer.eos_token)
    if not ending.lstrip().startswith(eos):
        raise ConfigError(
            f"model.chat_template: a turn ends with {ending!r}, but the tokenizer's end token is {eos!r}; "
            f"set eos_token to what ends a turn, or use the template that belongs to this model"
        )
    if prefilled is not (THINK_OPEN in opened and THINK_CLOSE not in opened):
        raise ConfigError(
            f"model.prefilled_reasoning: is {prefilled}, but the template "
            f"{'does not open' if prefilled else 'opens'} {THINK_OPEN} in the prompt"
        )
