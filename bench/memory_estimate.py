"""Estimated against allocated memory of a training step and of a generation, by live storages on the CPU.

    python bench/memory_estimate.py                  a grid of shapes, batches, lengths and settings (about 10 minutes)
    python bench/memory_estimate.py --only qwen3     the points of one shape

Every point runs TRL's own forward (its fused LM head) or that of GRPO's packed micro-batches, a quarter of whose tokens
are prompts, then backward and AdamW on a model of random weights: two steps, so that the optimizer's state is there in
the second. A dispatch mode sees every storage that torch hands out and when it dies; the peak of their sum is the
measured figure. What a GPU allocates besides is not in it.
"""

from __future__ import annotations

import argparse
import itertools
import warnings
import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adhere.train.plan.activations import WORD, Pass
from adhere.train.plan.architecture import Architecture, architecture_of
from adhere.train.plan.memory import generation_bytes, training_moments
from adhere.train.stages.microbatches import Microbatch, Rows, score_completions

SHAPES: dict[str, dict[str, Any]] = {
    "smollm2": {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    },
    "qwen3": {
        "model_type": "qwen3", "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 8192,
        "tie_word_embeddings": True,
    },
    "qwen2": {
        "model_type": "qwen2", "hidden_size": 192, "intermediate_size": 640, "num_hidden_layers": 8,
        "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 12000, "tie_word_embeddings": False,
    },
}  # fmt: skip

PACKED = [(False, 0, False), (True, 0, False), (False, 16, True), (False, 0, True)]
"""Checkpointing, adapter rank and mixed precision of the packed micro-batches that are measured."""

GENERATED = [("qwen3", False, 0), ("qwen3", True, 0), ("qwen2", True, 16), ("smollm2", False, 0)]
"""Shape, mixed precision and adapter rank of the generations that are measured."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: a shape and the settings of its step."""

    shape: str
    batch: int
    length: int
    checkpointing: bool = False
    rank: int = 0
    mixed: bool = False
    accumulation: int = 1
    packed: bool = False

    @property
    def prompt(self) -> int:
        """Tokens of a row that a packed micro-batch does not score."""
        return self.length // 4 if self.packed else 1

    @property
    def architecture(self) -> Architecture:
        """The shape's sizes."""
        return architecture_of(SHAPES[self.shape])

    def __str__(self) -> str:
        words = [f"{self.batch} × {self.length}", "bf16" if self.mixed else "fp32"]
        words += [f"lora {self.rank}"] if self.rank else ["full"]
        words += ["checkpointing"] if self.checkpointing else []
        words += [f"{self.accumulation} accumulated"] if self.accumulation > 1 else []
        words += ["packed"] if self.packed else []
        return f"{self.shape:<8} {', '.join(words)}"


class LiveStorages(TorchDispatchMode):
    """Bytes of the storages that are alive, and the most there ever were, over the operations run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def count(self, tensor: torch.Tensor) -> None:
        """Count the storage of ``tensor`` until it dies, once."""
        storage = tensor.untyped_storage()
        if storage not in self._known:
            self._known.add(storage)
            weakref.finalize(storage, self._gone, storage.nbytes())
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)

    def _gone(self, size: int) -> None:
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.count(leaf)
        return result


def model_of(point: Point) -> Any:
    """Return a model of random weights as the stages load and adapt it, with TRL's fused LM head."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    values = {key: value for key, value in SHAPES[point.shape].items() if key != "model_type"}
    config = AutoConfig.for_model(SHAPES[point.shape]["model_type"], **values)
    frozen = torch.bfloat16 if point.mixed and point.rank else torch.float32
    model: Any = AutoModelForCausalLM.from_config(config, dtype=frozen)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    if point.rank:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=point.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    if point.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if point.rank:
            model.enable_input_require_grads()
    return model.train()


def autocast(point: Point) -> AbstractContextManager[Any]:
    """Return the arithmetic of the step."""
    return torch.autocast("cpu", torch.bfloat16) if point.mixed else nullcontext()


def measured(point: Point) -> int:
    """Return the peak in bytes of the second of two optimizer steps."""
    model, tracker = model_of(point), LiveStorages()
    for tensor in [*model.parameters(), *model.buffers()]:
        tracker.count(tensor.data)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    ids = torch.randint(0, SHAPES[point.shape]["vocab_size"], (point.batch, point.length))
    mask = torch.ones_like(ids)
    mask[0, : point.length // 8] = 0
    completions = [point.length - point.prompt] * point.batch
    live = torch.ones(point.batch)
    rows = Rows([*ids], [point.prompt] * point.batch, completions, [], live, ~live.bool())
    backbone = (model.get_base_model() if point.rank else model).base_model
    with tracker:
        for _ in range(2):
            tracker.peak = 0
            for _ in range(point.accumulation):
                with autocast(point):
                    if point.packed:
                        loss = score_completions(
                            model, backbone, Microbatch.of(rows, [*range(point.batch)], rows.advantages)
                        ).log_probs.sum()
                    else:
                        loss = model(input_ids=ids, attention_mask=mask, labels=ids, fused_lm_head=True).loss
                loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    return tracker.peak


def estimated(point: Point) -> float:
    """Return the estimate for the same step."""
    a, width = point.architecture, 2 if point.mixed else WORD
    micro = Pass(
        architecture=a, sequences=point.batch, tokens=point.length, scored=point.length - point.prompt,
        width=width, rank=point.rank, checkpointing=point.checkpointing, triton=False, masked=not point.packed,
    )  # fmt: skip
    trained = a.adapters(point.rank) if point.rank else a.parameters
    frozen = a.parameters * width if point.rank else 0
    fixed = {"weights": float(frozen + trained * WORD), "optimizer": 2.0 * trained * WORD}
    moments = training_moments(micro, fixed, float(trained * WORD), accumulated=point.accumulation > 1)
    return max(moment.total for moment in moments)


def measured_cache(point: Point) -> int:
    """Return the peak in bytes that generation needs beside the weights: ``length`` tokens, half of them a prompt."""
    model, tracker = model_of(point).eval(), LiveStorages()
    for tensor in [*model.parameters(), *model.buffers()]:
        tracker.count(tensor.data)
    weights = tracker.live
    prompt = torch.randint(0, SHAPES[point.shape]["vocab_size"], (point.batch, point.length // 2))
    with tracker, torch.no_grad(), autocast(point):
        model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=point.length - point.length // 2,
            min_new_tokens=point.length - point.length // 2, do_sample=True, pad_token_id=0,
        )  # fmt: skip
    return tracker.peak - weights


def estimated_cache(point: Point) -> float:
    """Return the estimate for the same generation."""
    width = 2 if point.mixed else WORD
    needed = generation_bytes(point.architecture, point.batch, point.length // 2, point.length, width, rank=point.rank)
    return sum(needed.values())


def grid(only: str | None) -> list[Point]:
    """Return the points of the table."""
    settings = itertools.product((False, True), (0, 16))
    small = [
        Point(shape, b, t, c, r) for c, r in settings for shape in ("qwen3", "qwen2") for b, t in ((2, 64), (8, 256))
    ]
    small += [Point(s, 4, 192, c, r, mixed=True) for s in ("qwen3", "qwen2") for c in (False, True) for r in (0, 16)]
    small += [Point("qwen3", 4, 192, accumulation=2), Point("qwen2", 1, 1024, checkpointing=True)]
    small += [Point(s, 4, 192, c, r, m, packed=True) for s in ("qwen3", "qwen2") for c, r, m in PACKED]
    large = [Point("smollm2", b, t, c, r) for b, t in ((1, 64), (4, 256)) for c in (False, True) for r in (0, 16)]
    return [point for point in [*small, *large] if only in (None, point.shape)]


def row(what: str, found: float, estimate: float) -> float:
    """Print a row of the table and return estimated over measured."""
    print(
        f"{what:<64} measured {found / 1e6:8.1f} MB  estimated {estimate / 1e6:8.1f}  {estimate / found:.3f}",
        flush=True,
    )
    return estimate / found


def main() -> None:
    """Print the table, and the worst ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=[*SHAPES], default=None)
    only = parser.parse_args().only
    warnings.filterwarnings("ignore")
    ratios = []
    for point in grid(only):
        ratios.append(row(str(point), measured(point), estimated(point)))
    for point in (Point(s, 8, 256, rank=r, mixed=m) for s, m, r in GENERATED if only in (None, s)):
        ratios.append(row(f"generation {point}", measured_cache(point), estimated_cache(point)))
    print(f"{len(ratios)} points, ratios from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
