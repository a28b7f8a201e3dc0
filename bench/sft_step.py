"""An SFT step on packed micro-batches against TRL's SFTTrainer: same weights, rows, order and batch, steps in turns.

python bench/sft_step.py [--pairs 20] [--batch 8] [--accumulation 2] [--tokens auto] [--model FOLDER] [--json FILE]

Rows have prompts and targets of log-normal lengths like those of GSM8K under a subword tokenizer (medians 60 and 110
tokens, longest 512), or with ``--gsm8k FILE`` the lengths of its rows under the model's own tokenizer. Without
``--model`` the model is a random Llama of 30 M parameters with a vocabulary of 49,152. Two processes train; only one
runs at any time, for one whole optimizer step, and who goes first changes from step to step. Printed are the median
seconds of a step, and the median of the paired ratios (TRL / adhere: above 1, adhere is faster) with its 95 % interval
(bootstrap over pairs). Losses are compared, so that both are known to train on the same rows.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WARM_UP = 2
"""Steps of each side that are not counted."""

LONGEST = 512


def rows(given: argparse.Namespace, vocabulary: int, count: int) -> list[dict[str, list[int]]]:
    """Return rows of random ids in the lengths of GSM8K."""
    draw = random.Random(0)
    lengths = [
        (round(60 * math.exp(0.35 * draw.gauss(0, 1))), round(110 * math.exp(0.5 * draw.gauss(0, 1))))
        for _ in range(count)
    ]
    if given.gsm8k:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(given.model)
        texts = [json.loads(line) for line in Path(given.gsm8k).read_text(encoding="utf-8").splitlines()]
        chosen = [draw.choice(texts) for _ in range(count)]
        lengths = [tuple(len(tokenizer(row[key])["input_ids"]) for key in ("question", "answer")) for row in chosen]
    found = []
    for before, after in lengths:
        prompt = max(1, min(before, LONGEST // 2))
        target = max(1, min(after, LONGEST - prompt))
        ids = [draw.randrange(vocabulary) for _ in range(prompt + target)]
        found.append({"input_ids": ids, "completion_mask": [0] * prompt + [1] * target})
    return found


def side(kind: str, folder: Path, given: argparse.Namespace) -> None:
    """Train as one of the two: a step for each line of standard input, answered by its seconds and its loss."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints
    import torch
    from datasets import Dataset
    from transformers import (
        AutoModelForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
        TrainerCallback,
    )
    from trl import SFTConfig, SFTTrainer

    from adhere.train.stages.microbatches import Packing
    from adhere.train.stages.trainer import AdhereSFTTrainer

    torch.manual_seed(0)
    if given.model:
        model: Any = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32)
    else:
        size = LlamaConfig(
            vocab_size=49152, hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6,
            num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
        )  # fmt: skip
        model = LlamaForCausalLM(size)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(ROOT / "recipes/assets/tiny_base")
    steps = given.pairs + WARM_UP
    data = rows(given, model.config.vocab_size, (steps + 1) * given.batch * given.accumulation)

    class Turns(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            print(json.dumps({"ready": True}), file=channel, flush=True)
            sys.stdin.readline()
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.began

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                found = {"seconds": self.seconds, "loss": logs["loss"], "peak_gib": peak}
                print(json.dumps(found), file=channel, flush=True)

    arguments = SFTConfig(
        output_dir=str(folder / kind), use_cpu=given.device == "cpu", bf16=given.device == "cuda", max_steps=steps,
        per_device_train_batch_size=given.batch, gradient_accumulation_steps=given.accumulation, learning_rate=1e-5,
        logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
        completion_only_loss=True, max_length=LONGEST, seed=0,
    )  # fmt: skip
    named: dict[str, Any] = {
        "model": model, "args": arguments, "train_dataset": Dataset.from_list(data), "processing_class": tokenizer,
        "callbacks": [Turns()],
    }  # fmt: skip
    if kind == "plain":
        SFTTrainer(**named).train()
    else:
        busy = 2048 if given.device == "cpu" else 16384
        tokens = min(busy, given.batch * LONGEST) if given.tokens == "auto" else int(given.tokens)
        AdhereSFTTrainer(packing=Packing(tokens), **named).train()


class Side:
    """The parent's view of one of the two processes."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.log = folder / f"{kind}.log"
        self.process = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--side", kind, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True,
        )  # fmt: skip
        self.found: list[dict[str, float]] = []
        self.read()

    def read(self) -> dict[str, float]:
        """Return the next line that the process says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended early:\n{self.log.read_text()[-4000:]}")
        figures: dict[str, float] = json.loads(line)
        return figures

    def step(self, *, last: bool) -> None:
        """Let it make one step, and wait until it is ready for the next."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.found.append(self.read())
        if not last:
            self.read()


def main() -> None:
    """Run both in turns, and print and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=20, help="counted steps of each side")
    parser.add_argument("--batch", type=int, default=8, help="rows of a batch")
    parser.add_argument("--accumulation", type=int, default=2, help="batches of an optimizer step")
    parser.add_argument("--tokens", default="auto", help="sft.tokens_per_microbatch")
    parser.add_argument("--model", help="folder of a causal language model")
    parser.add_argument("--gsm8k", help="a file of GSM8K, whose lengths under the tokenizer of --model are taken")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--side", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.gsm8k and not given.model:
        parser.error("--gsm8k takes lengths under the tokenizer of --model; name one")
    if given.side:
        return side(given.side[0], Path(given.side[1]), given)
    with tempfile.TemporaryDirectory() as folder:
        trl, ours = (Side(kind, Path(folder)) for kind in ("plain", "adhere"))
        for n in range(given.pairs + WARM_UP):
            for one in (trl, ours) if n % 2 else (ours, trl):
                one.step(last=n == given.pairs + WARM_UP - 1)
        for one in (trl, ours):
            one.process.kill()
            one.process.wait()
    pairs = list(zip(trl.found[WARM_UP:], ours.found[WARM_UP:], strict=True))
    apart = max(abs(one["loss"] - other["loss"]) / one["loss"] for one, other in pairs)
    if apart > 1e-3:
        raise SystemExit(f"the losses differ by up to {apart:.1%}: the two did not train on the same rows")
    ratios = [one["seconds"] / other["seconds"] for one, other in pairs]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    found = {
        "pairs": given.pairs,
        "trl_seconds": round(statistics.median(one["seconds"] for one, _ in pairs), 4),
        "adhere_seconds": round(statistics.median(other["seconds"] for _, other in pairs), 4),
        "ratio": round(statistics.median(ratios), 3),
        "interval": [round(medians[50], 3), round(medians[1949], 3)],
        "peak_memory_ratio": round(pairs[-1][0]["peak_gib"] / pairs[-1][1]["peak_gib"], 3),
        "losses_apart": apart,
        "batch": given.batch,
        "accumulation": given.accumulation,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
