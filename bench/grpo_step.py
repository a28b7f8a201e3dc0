"""A GRPO step of adhere against plain TRL's GRPOTrainer: same model, prompts, rewards and seed, steps in turns.

python bench/grpo_step.py --shape quickstart|math_only|mixed|smollm2|random_0_6b|random_1_7b [--pairs 30] [--json FILE]

Two processes train the same GRPO stage: adhere's worker, and TRL's trainer with adhere's reward functions as its own
(``tests/train/plain_trl.py``). Only one runs at any time, for one whole step with all that lies between two steps, and
who goes first changes from step to step, so that a busy minute of the machine is busy for both. Printed are the median
seconds of a step, the median of the paired ratios (TRL / adhere: above 1, adhere is faster) with its 95 % interval
(bootstrap over pairs), tokens and completions a second, where a step goes, the peak memory of each side, and the share
of the machine's own speed at matrix products that the arithmetic of a step needs (MFU).

Shapes (the first three start from an SFT of adhere's, trained once below ``--root`` and found again by its key):
    quickstart   64 completions of the quickstart's sums of three, default composite
    math_only    the same, maths alone
    mixed        sums of two to nine numbers, maths alone: lengths within a batch differ much
    smollm2      24 completions of SmolLM2-135M-Instruct on word problems; --model names its folder (docs/recipes.md)
    random_0_6b, random_1_7b   a Qwen3 of that size with random weights in bfloat16 arithmetic; for a GPU

Words after ``--`` are overrides of the recipe: ``-- grpo.group_size=16 grpo.max_completion_length=256`` shows growth.
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
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "train")]
WARM_UP = 3
"""Steps of each side that are not counted."""

SUMS = (
    "{generator: basic_arithmetic, size: %d, seed: %d, params: {min_terms: 2, max_terms: 9, min_digits: 1, "
    "max_digits: 1, operators: ['+'], allow_parentheses: false, allow_negation: false}}"
)
WORDS = "{generator: gsm_symbolic, size: %d, seed: %d}"
BATCH = ["grpo.per_device_batch_size=64", "grpo.group_size=8"]
MATH_ONLY = "rewards.components.checklist.weight=0"
QUICKSTART = ["recipe=quickstart", "~arms", *BATCH, "grpo.max_completion_length=72"]
SMOLLM2 = ["recipe=smollm2_gsm8k", "~arms", f"data.train=[{WORDS % (400, 1)}]", f"data.evaluation=[{WORDS % (8, 2)}]"]
RANDOM = [*SMOLLM2, *BATCH, "grpo.max_completion_length=512", "model.context=1024", "launcher.device=cuda"]
SHAPES: dict[str, list[str]] = {
    "quickstart": QUICKSTART,
    "math_only": [*QUICKSTART, MATH_ONLY],
    "mixed": [
        *QUICKSTART, MATH_ONLY, f"data.train=[{SUMS % (2400, 1)}]", f"data.evaluation=[{SUMS % (8, 2)}]",
        "grpo.max_completion_length=168", "sft.max_length=320", "model.context=320",
    ],
    "smollm2": [*SMOLLM2, "grpo.per_device_batch_size=24", "grpo.group_size=8", "grpo.max_completion_length=128"],
    "random_0_6b": RANDOM,
    "random_1_7b": RANDOM,
}  # fmt: skip
QWEN3 = {"random_0_6b": (1024, 3072), "random_1_7b": (2048, 6144)}
"""Hidden and feed-forward sizes; both have 28 layers, 16 heads of 128, 8 of them for keys and values."""

PHASES = {
    "generation": "_generate_single_turn",
    "rewards": "_calculate_rewards",
    "forward": "_compute_loss",
    "backward": "backward",
}
"""Methods of the trainer (``backward``: of accelerate) whose time is a phase."""


class Turns:
    """A trainer's side of the alternation: after every step, print what it took as JSON, and wait for the next turn."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # nothing else may write to the parent's pipe
        self.phases: Counter[str] = Counter()
        self.logs: dict[str, float] = {}
        self._start: float | None = None

    def wait(self) -> None:
        import torch

        if cuda := torch.cuda.is_available():
            torch.cuda.synchronize()
        figures: dict[str, Any] = {"seconds": 0.0 if self._start is None else time.perf_counter() - self._start}
        figures["phases"] = dict(self.phases)
        figures["tokens"] = self.logs.get("completions/mean_length")
        figures["longest"] = self.logs.get("completions/max_length")
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        figures["peak_bytes"] = torch.cuda.max_memory_allocated() if cuda else resident
        print(json.dumps(figures), file=self._out, flush=True)
        sys.stdin.readline()
        self.phases.clear()
        self._start = time.perf_counter()

    def time_phases(self, trainer: type) -> None:
        """Time the calls of the methods that ``PHASES`` names, on the class that defines each."""
        import torch
        from accelerate import Accelerator

        for phase, name in PHASES.items():
            owner = next(base for base in (*trainer.__mro__, Accelerator) if name in vars(base))
            inner = getattr(owner, name)

            def timed(*given: Any, _inner: Any = inner, _phase: str = phase, **named: Any) -> Any:
                began = time.perf_counter()
                try:
                    return _inner(*given, **named)
                finally:
                    if torch.cuda.is_available():
                        torch.cuda.synchronize()
                    self.phases[_phase] += time.perf_counter() - began

            setattr(owner, name, timed)


def side(kind: str, folder: Path) -> None:
    """Train as one of the two, in turns; no trainer's own code is changed."""
    turns = Turns()
    import transformers.trainer
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.wait()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            turns.logs.update(logs)

    transformers.trainer.DEFAULT_CALLBACKS.append(Callback)
    if kind == "plain":
        import plain_trl
        from trl import GRPOTrainer

        turns.time_phases(GRPOTrainer)
        plain_trl.build(folder, folder / "plain", composite=True).train()
    else:
        from adhere.records.artifact import Artifact
        from adhere.train.stages.grpo_trainer import AdhereGRPOTrainer
        from adhere.train.worker import attempt

        turns.time_phases(AdhereGRPOTrainer)
        attempt(Artifact(folder))


class Side:
    """The parent's view of one of the two processes."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.log = kind, folder / f"{kind}.log"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--side", kind, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True,
            env={"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", **os.environ},
        )  # fmt: skip
        self.steps = [self.read()]

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.kind} ended early:\n" + self.log.read_text()[-4000:])
        figures: dict[str, Any] = json.loads(line)
        return figures

    def step(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.steps.append(self.read())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def median(self, figure: str) -> float:
        return statistics.median(step[figure] for step in self.steps[WARM_UP + 1 :])

    def seconds(self) -> list[float]:
        return [step["seconds"] for step in self.steps[WARM_UP + 1 :]]

    def phases(self) -> dict[str, float]:
        """Return the share of the counted steps' time that each phase takes; the rest is ``other``."""
        counted = self.steps[WARM_UP + 1 :]
        total = sum(step["seconds"] for step in counted)
        shares = {p: round(sum(step["phases"].get(p, 0.0) for step in counted) / total, 3) for p in PHASES}
        return shares | {"other": round(1.0 - sum(shares.values()), 3)}


def start_model(shape: str, given: argparse.Namespace) -> Path | None:
    """Return the folder that GRPO starts from: an SFT of adhere's, a random model, or none for the recipe's own."""
    if shape in ("quickstart", "math_only", "mixed"):
        words = [*SHAPES[shape], f"run.root={given.root}", "tracking.wandb=off", f"launcher.device={given.device}"]
        words += ["stages=[sft]", *given.overrides]
        subprocess.run([sys.executable, "-m", "adhere.train.cli", "train", *words], cwd=ROOT, check=True)
        return Path(given.root) / "latest" / "stages" / "sft"
    if shape in QWEN3:
        import torch
        from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

        hidden, inner = QWEN3[shape]
        config = Qwen3Config(
            hidden_size=hidden, intermediate_size=inner, num_hidden_layers=28, num_attention_heads=16,
            num_key_value_heads=8, head_dim=128, vocab_size=151936, tie_word_embeddings=True,
        )  # fmt: skip
        folder = Path(given.root) / shape / "model"
        if not folder.exists():
            torch.manual_seed(0)
            tokenizer = AutoTokenizer.from_pretrained(ROOT / "recipes" / "assets" / "tiny_base")
            config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
            Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        return folder.parent
    return None


def ceiling(device: str) -> float:
    """Return the operations a second of large matrix products: bfloat16 on a GPU, float32 on one core."""
    import torch

    size, dtype = (8192, torch.bfloat16) if device == "cuda" else (1024, torch.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    for _ in range(8):
        began = time.perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    torch.set_num_threads(threads)
    return best


def weights_of(model: Path) -> int:
    """Return the number of weights in the folder ``model``."""
    from safetensors import safe_open

    total = 0
    for file in model.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total


def main() -> None:
    """Prepare the stage, run both sides in turns, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="quickstart")
    parser.add_argument("--pairs", type=int, default=30, help="counted steps of each side")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--model", help="folder of the model, for the shape smollm2")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--root", default="runs/bench", help="where the shapes' starting models are kept")
    parser.add_argument("--side", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args()
    if given.side:
        side(given.side[0], Path(given.side[1]))
        return
    if given.shape == "smollm2" and given.model is None:
        raise SystemExit("--model: name the folder of SmolLM2-135M-Instruct; `adhere import-gguf` makes one")
    from adhere.records.artifact import Artifact
    from adhere.records.objects import write_yaml
    from adhere.train.config.stage import StageSpec
    from adhere.train.run.graph import order
    from adhere.train.run.run import plan_run

    start = start_model(given.shape, given)
    words = [
        *SHAPES[given.shape],
        f"launcher.device={given.device}",
        "grpo.save_steps=100000",
        "grpo.logging_steps=1",
        *given.overrides,
    ]
    if given.shape in QWEN3:
        words.append(f"model.path={start}/model")
        start = None
    elif given.model:
        words.append(f"model.path={given.model}")
    with tempfile.TemporaryDirectory() as scratch:
        words += ["stages=[grpo]", f"run.root={scratch}", "tracking.wandb=off"]
        run = plan_run([*words, f"grpo.max_steps={given.pairs + WARM_UP + 2}"])
        (stage,) = order(run.graph)
        artifact = Artifact(Path(scratch) / "grpo")
        spec = StageSpec(
            kind="grpo", label="grpo", key=stage.key, artifact=artifact.path,
            inputs={"model": start} if start else {}, recipe=run.recipe,
        )  # fmt: skip
        write_yaml(artifact.spec, spec.model_dump(mode="json"))
        weights = weights_of(start / "model" if start else Path(run.recipe.model.path))
        ours = Side("adhere", artifact.path)  # first: it writes the items that both train on
        sides = (ours, theirs) = (ours, Side("plain", artifact.path))
        try:
            for step in range(given.pairs + WARM_UP):
                for which in sides if step % 2 else sides[::-1]:
                    which.step()
        finally:
            for which in sides:
                which.end()
    size = run.recipe.completions_per_step

    ratios = [plain / own for plain, own in zip(theirs.seconds(), ours.seconds(), strict=True)]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    peak = ceiling(given.device)
    result: dict[str, Any] = {
        "shape": given.shape,
        "device": given.device,
        "pairs": given.pairs,
        "batch": size,
        "trl_seconds": round(statistics.median(theirs.seconds()), 4),
        "adhere_seconds": round(statistics.median(ours.seconds()), 4),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_95": [round(medians[49], 4), round(medians[1949], 4)],
        "peak_memory_ratio": round(ours.steps[-1]["peak_bytes"] / theirs.steps[-1]["peak_bytes"], 4),
    }
    for name, which in (("adhere", ours), ("trl", theirs)):
        mean, seconds = which.median("tokens"), statistics.median(which.seconds())
        result[name] = {
            "phases": which.phases(),
            "mean_tokens": round(mean, 1),
            "longest": max(step["longest"] for step in which.steps[WARM_UP + 1 :]),
            "tokens_per_second": round(mean * size / seconds, 1),
            "completions_per_second": round(size / seconds, 2),
            "peak_gib": round(which.steps[-1]["peak_bytes"] / 2**30, 3),
            # 2 operations a weight for each generated token, 6 to train on it; prompts and attention are left out.
            "mfu": round(8 * weights * mean * size / seconds / peak, 4),
        }
    result["machine"] = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "ceiling": peak}
    result["versions"] = {name: version(name) for name in ("torch", "transformers", "trl")}
    print(json.dumps(result, indent=2))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
