"""What a rehearsal predicts against what the first steps of training then show, for the quickstart's two arms.

python bench/rehearsal.py [--steps 20] [--groups 64] [override ...]

The policy changes while it is trained and the rehearsal's does not, so that the two part the sooner the faster it
learns: the first ten steps are shown apart. Finished stages are kept below ``runs/bench``. About 5 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def adhere(*words: str) -> None:
    """Run one command as a user does."""
    subprocess.run([sys.executable, "-m", "adhere.train.cli", *words], cwd=ROOT, check=True)


def seen(artifact: Path, first: int, last: int) -> dict[str, float]:
    """Return the figures of the steps from ``first`` up to ``last``, of a trained GRPO stage."""
    steps = [json.loads(line) for line in (artifact / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in steps if "reward" in row][first:last]
    live = [json.loads(line)["live_groups"] for line in (artifact / "monitors.jsonl").read_text().splitlines()]
    shares = [key for key in steps[0] if key.endswith("/advantage_share")]
    found = {
        "live groups a step": statistics.fmean(live[first:last]),
        "steps without gradient, %": 100 * statistics.fmean(row["grad_norm"] == 0.0 for row in steps),
        "tokens": statistics.fmean(row["completions/mean_length"] for row in steps),
        "accuracy, %": 100 * statistics.fmean(row["rates/accuracy"] for row in steps),
        "HAcc, %": 100 * statistics.fmean(row["rates/hacc"] for row in steps),
    }
    for key in shares:
        values = [row[key] for row in steps if row.get(key) is not None]
        found[f"share of {key.split('/')[1]}, %"] = 100 * statistics.fmean(values)
    return found


def predicted(file: Path) -> dict[str, float]:
    """Return the same figures of a rehearsal."""
    found: dict[str, Any] = json.loads(file.read_text())
    return {
        "live groups a step": found["live_groups_a_step"],
        "steps without gradient, %": 100 * found["zero_gradient_share"],
        "tokens": found["tokens"]["mean"],
        "accuracy, %": 100 * found["rates"]["accuracy"],
        "HAcc, %": 100 * found["rates"]["hacc"],
        **{f"share of {n}, %": 100 * figure["advantage_share"] for n, figure in found["components"].items()},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Rehearse, train, and print both beside each other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--groups", type=int, default=64)
    parser.add_argument("overrides", nargs="*")
    given = parser.parse_args(argv)
    words = ["recipe=quickstart", "run.root=runs/bench", "tracking.wandb=off", f"grpo.max_steps={given.steps}"]
    words += [f"rehearse.groups={given.groups}", "stages=[sft,grpo]", *given.overrides]
    adhere("rehearse", *words)
    adhere("train", *words)
    stages = ROOT / "runs/bench/latest/stages"
    (rehearsed,) = sorted((ROOT / "runs/bench").glob("quickstart-rehearsal-*/"), key=lambda p: p.stat().st_mtime)[-1:]
    for arm in ("math_only", "composite"):
        before = predicted(rehearsed / "stages" / f"rehearse-{arm}" / "rehearsal.json")
        trained = stages / f"grpo-{arm}"
        columns = [before, seen(trained, 0, 10), seen(trained, 0, given.steps)]
        print(f"\n{arm:<28} rehearsed  steps 0-9  steps 0-{given.steps - 1}")
        for name in before:
            print(f"{name:<28} {columns[0][name]:9.2f}  {columns[1][name]:9.2f}  {columns[2][name]:9.2f}")


if __name__ == "__main__":
    main()
