"""Make the untrained start of the tiny model: a tokenizer learned on the recipes' own prompts, random weights, facts.

    python recipes/assets/make_tiny_init.py runs/tiny_init
    adhere train recipe=tiny_base
    cp -r runs/latest/stages/sft/model/. recipes/assets/tiny_base/

A Llama decoder of 1.2 M parameters. Digits are single tokens, so that arithmetic is the same in every dress. The facts
are all single sums that can be a step of the quickstart's problems; the base learns those, and nothing of two steps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from adhere.prompts.build import build
from adhere.train.config.compose import compose_recipe

VOCABULARY = 640
COPIES = 20
TURN, END, PAD = "<|user|>", "<|end|>", "<|pad|>"
ANSWER = "<|assistant|>"
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}"
    "{% else %}<|assistant|>{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_facts(path: Path) -> None:
    """Write every sum of a number up to 20 and one up to 10, often enough to meet many constraints each."""
    with path.open("w", encoding="utf-8") as out:
        for copy in range(COPIES):
            for first in range(21):
                for second in range(11):
                    fact, total = f"{first} + {second}", str(first + second)
                    row = {"id": f"{fact}#{copy}", "question": f"Calculate {fact}.", "answer": total}
                    out.write(json.dumps(row | {"solution": f"{fact} = {total}."}) + "\n")


def texts(folder: Path) -> list[str]:
    """Return prompts and targets of the base's and the quickstart's training items."""
    found = []
    for recipe in ("tiny_base", "quickstart"):
        data = compose_recipe([f"recipe={recipe}", f"model.path={folder}", "~arms"]).data
        built = build(data.model_copy(update={"max_prompt_tokens": None}), "train", with_targets=True)
        found += [item.messages[-1]["content"] + "\n" + (item.target or "") for item in built.items]
    return found


def tokenizer_of(corpus: list[str]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE in which a digit, a space and a newline are tokens of their own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d|\n| ?[A-Za-z]+|[^\sA-Za-z\d]| "), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, TURN, ANSWER],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_tokens(["<think>", "</think>"])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, additional_special_tokens=[TURN, ANSWER]
    )
    fast.chat_template = TEMPLATE
    return fast


def main(folder: Path) -> None:
    """Write tokenizer, weights and facts into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_facts(folder / "facts.jsonl")
    tokenizer = tokenizer_of(texts(folder))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{folder}: {model.num_parameters() / 1e6:.2f} M parameters, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
