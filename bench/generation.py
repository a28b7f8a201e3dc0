"""Tokens per second of transformers' two ways to generate, on the same prompts in the same process.

python bench/generation.py [MODEL] [PROMPTS] [TOKENS] [ROUNDS]

Both sample at temperature 1 and run to the token limit. Rounds alternate, so that a busy machine slows both, and the
ratio is of their medians. ``cached`` gives continuous batching a small cache of its own; by itself it takes a share of
the memory at each call, as TRL has it do for every generation.
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

TINY = Path(__file__).resolve().parents[1] / "recipes" / "assets" / "tiny_base"
TRL_SHARE = 0.5


def main(model_path: str, prompts: int, tokens: int, rounds: int) -> None:
    """Print tokens/s of each back end, and their ratio to plain transformers."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=dtype).to(device).eval()
    questions = [f"What is {i} + {2 * i}? " * (1 + i % 3) for i in range(prompts)]
    ids = [tokenizer(question)["input_ids"] for question in questions]
    config = GenerationConfig(
        do_sample=True, temperature=1.0, max_new_tokens=tokens, min_new_tokens=tokens, pad_token_id=0, eos_token_id=-1
    )

    def plain() -> int:
        longest = max(map(len, ids))
        padded = torch.tensor([[0] * (longest - len(row)) + row for row in ids], device=device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=device)
        out = model.generate(input_ids=padded, attention_mask=mask, generation_config=config)
        return int(out.shape[0] * (out.shape[1] - longest))

    def continuous(**settings: Any) -> int:
        batching = ContinuousBatchingConfig(**settings)
        out = model.generate_batch(ids, config, continuous_batching_config=batching, progress_bar=False)
        return sum(len(reply.generated_tokens) for reply in out.values())

    blocks = prompts * (2 + (max(map(len, ids)) + tokens) // 32)
    ways: dict[str, Callable[[], int]] = {
        "transformers": plain,
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
    reference = statistics.median(rates["transformers"])
    print(f"{model_path} on {device}, {prompts} prompts, {tokens} tokens each, {rounds} rounds")
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"  {name:<13} {rate:8.0f} tokens/s   {rate / reference:5.2f} of transformers")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0] if given else str(TINY), *(int(v) for v in (given[1:] + ["16", "64", "3"][len(given[1:]) :])))
