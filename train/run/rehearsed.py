"""What an earlier rehearsal said of a GRPO stage, and whether training may begin after it. No torch."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from adhere.records.artifact import REHEARSAL, Artifact, artifacts_below
from adhere.records.objects import read_object
from adhere.rewards.errors import StageError
from adhere.rewards.plugins import package_content
from adhere.train.run.graph import PlannedStage, model_fingerprint, with_key

BELOW = "does not teach"
"""The level of a verdict that ``grpo.require_signal`` acts on."""


def rehearsal_of(root: Path, stage: PlannedStage) -> dict[str, Any] | None:
    """Return the newest rehearsal below ``root``, the folder of all runs, of exactly this GRPO stage, or ``None``.

    Raises:
        DataError: a ``rehearsal.json`` is damaged.
    """
    below = artifacts_below(root)
    sizes = {read_object(path).get("groups") for path in below.glob(f"rehearse-*/{REHEARSAL}")}
    found = []
    for groups in sizes - {None}:
        recipe = stage.recipe.model_copy(
            update={"rehearse": stage.recipe.rehearse.model_copy(update={"groups": groups})}
        )
        asked = replace(stage, kind="rehearse", further={}, key="", recipe=recipe)
        asked = with_key(asked, model_fingerprint, partial(package_content, left_out=root))
        artifact = Artifact(below / asked.folder)
        if artifact.done:
            found.append(artifact.path / REHEARSAL)
    return read_object(max(found, key=lambda path: path.stat().st_mtime)) if found else None


def check_signal(root: Path, stage: PlannedStage) -> None:
    """Warn of a GRPO stage whose rehearsal found that its reward does not teach, or refuse to train it.

    Raises:
        StageError: ``grpo.require_signal`` is ``stop``, and the stage was not rehearsed, or lies below the floor.
    """
    wanted = stage.recipe.grpo.require_signal
    if stage.kind != "grpo" or wanted == "off":
        return
    found = rehearsal_of(root, stage)
    if found is None and wanted == "stop":
        raise StageError(
            f"{stage.label}: grpo.require_signal is stop, and this stage was not rehearsed; run `adhere rehearse` with "
            f"the same words first, or set it to warn"
        )
    if found is None or found["verdict"]["level"] != BELOW:
        return
    changes = "".join(f"\n  try {' '.join(change['overrides'])}" for change in found["verdict"]["changes"])
    text = f"{stage.label}: its rehearsal says: {found['verdict']['sentence']}{changes}"
    if wanted == "stop":
        raise StageError(f"{text}\n(grpo.require_signal is stop; warn trains all the same)")
    print(f"warning: {text}", file=sys.stderr)
