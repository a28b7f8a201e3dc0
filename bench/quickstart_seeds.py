"""The quickstart on several seeds: one table with intervals, and the paired difference of the two arms on each seed.

    adhere train -m recipe=quickstart seed=0,1,2
    python bench/quickstart_seeds.py runs/quickstart-* > docs/results_quickstart.md

Prints markdown. Every figure is read from the runs' own files; nothing is trained here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from adhere.evaluation.run import compare
from adhere.evaluation.table import cell
from adhere.records.artifact import RESULTS

METRICS = ("accuracy", "hacc", "sacc", "joint")
MODELS = ("base", "sft", "math_only", "composite")


def evaluations(run: Path) -> dict[str, Path]:
    """Return the evaluation folder of each model of a finished quickstart."""
    return {name: run / "stages" / f"evaluate-{name}" for name in MODELS}


def estimates(folder: Path) -> dict[str, Any]:
    """Return the four headline estimates of one model."""
    metrics = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["metrics"]
    return {name: metrics[name] for name in METRICS}


def seconds(run: Path) -> float:
    """Return the wall time of all stages of a run, as their manifests say."""
    return sum(json.loads(path.read_text())["seconds"] for path in (run / "stages").glob("*/manifest.json"))


def main(runs: list[Path]) -> None:
    """Print one block of rows per seed, then means over seeds, then paired differences."""
    by_seed: dict[int, Path] = {}
    for run in runs:
        other = by_seed.setdefault(yaml.safe_load((run / "recipe.yaml").read_text())["seed"], run)
        if other != run:
            sys.exit(f"{run} and {other} are runs of one seed; name the folders of one configuration")
    found = {
        seed: {model: estimates(path) for model, path in evaluations(run).items()}
        for seed, run in sorted(by_seed.items())
    }
    print("| seed | model | accuracy | HAcc | SAcc | joint |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for seed, models in found.items():
        for model, values in models.items():
            print(f"| {seed} | {model} | " + " | ".join(cell(values[m]) for m in METRICS) + " |")
    for model in MODELS:
        means = [100 * mean(models[model][m]["mean"] for models in found.values()) for m in METRICS]
        print(f"| mean | {model} | " + " | ".join(f"{value:.1f}" for value in means) + " |")
    print("\ncomposite minus another model, paired by prompt, in points:\n")
    print("| seed | math_only, joint | math_only, accuracy | sft, accuracy | seconds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for seed, run in sorted(by_seed.items()):
        paths = evaluations(run)
        pairs = [("math_only", "joint"), ("math_only", "accuracy"), ("sft", "accuracy")]
        differences = [compare(paths["composite"], paths[other], metric) for other, metric in pairs]
        cells = [f"{100 * d.mean:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]" for d in differences]
        print(f"| {seed} | " + " | ".join(cells) + f" | {seconds(run):.0f} |")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
