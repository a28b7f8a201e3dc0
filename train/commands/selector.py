"""``adhere selector``: learn from two evaluations on which prompts a model is to reason. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def selector(
    think: Path,
    direct: Path,
    /,
    *,
    to: Path = Path("selector.json"),
    metric: Literal["joint", "hacc", "sacc", "accuracy"] = "joint",
) -> int:
    """Train the classifier of the remedy classifier_selective, and print how it does beside the oracle.

    Args:
        think: Folder of an evaluation of the model as it is.
        direct: Folder of one under remedy=direct, on the same prompts.
        to: File of the selector.
        metric: What reasoning has to be at least as good in.
    """
    from adhere.evaluation.remedies.classifier import train_selector, write_selector

    found = train_selector(think, direct, metric)
    write_selector(to, found)
    figures = found.figures
    print(f"{metric} on {figures['measured_on']} prompts held back (trained on {figures['trained_on']}):")
    for policy in ("think", "direct", "selected", "oracle"):
        estimate = figures[policy]
        print(f"  {policy:<9} {estimate['mean']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})")
    print(f"the selector: {to}; use it with remedy=classifier_selective remedy.selector={to}")
    return 0
