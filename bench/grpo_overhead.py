"""What a GRPO step of adhere costs beyond plain TRL's: same model, data, seed and batch, steps taken in turns.

python bench/grpo_overhead.py [--steps 40] [--composite]

Two processes, TRL's GRPOTrainer with a bare maths reward (``tests/train/plain_trl.py``) and adhere's stage, train the
quickstart's GRPO. Only one runs at any time, for one whole step with all that lies between two steps, and who goes
first changes from step to step, so that a busy minute of the machine is busy for both. Printed are the medians of wall
and processor seconds, the median ratio of paired steps with its 95 % interval (bootstrap), and as noise the middle half
of the ratios. With math alone both train the same weights bit for bit, so that a pair is the same work; ``--composite``
is the default composite, whose rollouts are others from the first update on, so that lengths differ too.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "train")]
WARM_UP = 3
Step = tuple[float, float]


class Turns:
    """A trainer's side: after every step say what it took, and wait to be told to take the next."""

    def __init__(self) -> None:
        self._from: Step | None = None
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def wait(self) -> None:
        now = (time.perf_counter(), time.process_time())
        spent = (0.0, 0.0) if self._from is None else (now[0] - self._from[0], now[1] - self._from[1])
        print(*spent, file=self._out, flush=True)
        sys.stdin.readline()
        self._from = (time.perf_counter(), time.process_time())


def take_turns() -> None:
    """Let every trainer of this process call ``wait`` before each step; no trainer's own code is touched."""
    import transformers.trainer
    from transformers import TrainerCallback

    turns = Turns()

    class Callback(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            turns.wait()

    transformers.trainer.DEFAULT_CALLBACKS.append(Callback)


def side(kind: str, folder: Path) -> None:
    """Train as one of the two, in turns."""
    from adhere.records.artifact import Artifact

    take_turns()
    artifact = Artifact(folder)
    if kind == "plain":
        import plain_trl

        plain_trl.build(folder, folder / "plain").train()
    else:
        from adhere.train.worker import attempt

        attempt(artifact)


class Side:
    """The parent's view of one of the two processes."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--side", kind, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / f"{kind}.log").open("w"), text=True,
            env={"OMP_WAIT_POLICY": "passive", **os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        self.ready()

    def ready(self) -> Step:
        assert self._process.stdout is not None
        wall, processor = self._process.stdout.readline().split()
        return float(wall), float(processor)

    def step(self) -> Step:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.ready()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def report(name: str, plain: list[float], ours: list[float]) -> str:
    """Return one line: medians, the median ratio of paired steps with its 95 % interval, and the noise."""
    ratios = [b / a for a, b in zip(plain, ours, strict=True)]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    quarter = statistics.quantiles(ratios, n=4)
    return (
        f"{name:<10} plain {statistics.median(plain):.4f} s, adhere {statistics.median(ours):.4f} s, "
        f"ratio {statistics.median(ratios):.4f} [{medians[49]:.4f}, {medians[1949]:.4f}]; "
        f"middle half of the ratios {quarter[0]:.4f} to {quarter[2]:.4f}"
    )


def main() -> None:
    """Prepare the stage, run both sides in turns, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--composite", action="store_true", help="the default composite instead of math alone")
    parser.add_argument("--side", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        side(given.side[0], Path(given.side[1]))
        return
    from attempts import prepare

    with tempfile.TemporaryDirectory() as scratch:
        artifact = prepare(
            Path(scratch), "stages=[grpo]", "data.train_size=1000", f"grpo.max_steps={given.steps + WARM_UP + 2}",
            "grpo.per_device_batch_size=64", "grpo.group_size=8", "grpo.max_completion_length=72",
            "grpo.save_steps=100000", *([] if given.composite else ["rewards.components.checklist.weight=0"]),
        )  # fmt: skip
        sides = [Side("adhere", artifact.path), Side("plain", artifact.path)]  # adhere writes the items for both
        taken: list[list[Step]] = [[], []]
        try:
            for step in range(given.steps + WARM_UP):
                for which in (0, 1) if step % 2 else (1, 0):
                    taken[which].append(sides[which].step())
        finally:
            for one in sides:
                one.end()
    ours, plain = (steps[WARM_UP:] for steps in taken)
    print(f"{len(plain)} steps of 64 completions, {'default composite' if given.composite else 'math alone'}, CPU")
    for name, column in (("wall", 0), ("processor", 1)):
        print(report(name, [step[column] for step in plain], [step[column] for step in ours]))


if __name__ == "__main__":
    main()
