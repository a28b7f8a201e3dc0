"""Tokens per second of transformers' two ways to generate and of adhere's loop, on the same prompts in one process.

python bench/generation.py [MODEL] [PROMPTS] [TOKENS] [ROUNDS] [GROUP]

All sample at temperature 1. With a GROUP of 1 every row runs to the token limit; with more, each prompt has as many
rows, as in GRPO, and rows end where the model ends them (a model after SFT: one that never ends shows nothing). Rounds
alternate, so that a busy machine slows all, and the ratio is the median of the rounds' ratios. ``cached`` gives
continuous batching a small cache of its own; by itself it takes a share of the memory at each call, as TRL has it do
for every generation.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.generation import ContinuousBatchingConfig

from adhere.evaluation.backends.decoding import Decoding, decode

TINY = Path(__file__).resolve().parents[1] / "recipes" / "assets" / "tiny_base"
TRL_SHARE = 0.5


def main(model_path: str, prompts: int, tokens: int, rounds: int, group: int) -> None:
    """Print tokens/s of each back end, and their ratio to plain transformers."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=dtype).to(device).eval()
    ids: list[list[int]] = []
    for i in range(prompts):
        # As chats, and of different lengths.
        question = [
            {"role": "user", "content": f"What is {1 + i % 9} + {1 + i % 7} + {1 + i % 5}?" + "\n- Be brief." * (i % 3)}
        ]
        text = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
        ids += [tokenizer(text, add_special_tokens=False)["input_ids"]] * group
    end = -1 if group == 1 else tokenizer.eos_token_id
    config = GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, max_new_tokens=tokens, pad_token_id=0, eos_token_id=end
    )
    seeds = iter(range(10**9))

    def plain() -> int:
        longest = max(map(len, ids))
        padded = torch.tensor([[0] * (longest - len(row)) + row for row in ids], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=device)
        out = model.generate(input_ids=padded, attention_mask=mask, generation_config=config)
        return sum(row.index(end) + 1 if end in row else len(row) for row in out[:, longest:].tolist())

    def loop() -> int:
        rows = decode(model, ids, [next(seeds) for _ in ids], Decoding(tokens, (end,)))
        return sum(map(len, rows))

    def continuous(**settings: Any) -> int:
        batching = ContinuousBatchingConfig(**settings)
        out = model.generate_batch(ids, config, continuous_batching_config=batching, progress_bar=False)
        return sum(len(reply.generated_tokens) for reply in out.values())

    blocks = len(ids) * (2 + (max(map(len, ids)) + tokens) // 32)
    ways: dict[str, Callable[[], int]] = {
        "transformers": plain,
        "loop": loop,
        "continuous": lambda: continuous(max_memory_percent=TRL_SHARE),
        "cached": lambda: continuous(page_size=32, num_blocks=blocks, max_batch_tokens=2048),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for turn in range(rounds + 1):
            for name, way in ways.items():
                started = time.perf_counter()
                made = way()
                if turn:  # the first round warms up
                    rates[name].append(made / (time.perf_counter() - started))
    print(f"{model_path} on {device}, {prompts} prompts in groups of {group}, at most {tokens} tokens, {rounds} rounds")
    for name, found in rates.items():
        ratio = statistics.median(own / plain for own, plain in zip(found, rates["transformers"], strict=True))
        print(f"  {name:<13} {statistics.median(found):8.0f} tokens/s   {ratio:5.2f} of transformers")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0] if given else str(TINY), *(int(v) for v in (given[1:] + ["16", "64", "3", "1"][len(given[1:]) :])))
