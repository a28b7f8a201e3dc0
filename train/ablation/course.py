"""Write how an ablation goes, ``arms.json``, from the run's folder alone: here, and in the jobs of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adhere.records.course import Rung
from adhere.records.objects import read_object
from adhere.records.run import RunFolder
from adhere.rewards.files import write_json


def write_course(
    run: RunFolder,
    rungs: Sequence[Rung],
    failed: Mapping[str, str],
    skipped: Mapping[str, str],
    first: Mapping[str, Any] | None = None,
) -> None:
    """Write ``arms.json``.

    Args:
        run: the run.
        rungs: what was decided so far.
        failed: why stages failed, by their labels.
        skipped: what those waited for that did not run, by their labels.
        first: the points' overrides and which points were merged; ``None`` keeps what the file says of them.
    """
    known = dict(read_object(run.course_file)) if first is None else dict(first)
    write_json(
        run.course_file,
        {
            "points": {arm: {"point": point, "seed": seed} for arm, (point, seed) in run.plan().points.items()},
            "overrides": known.get("overrides", {}),
            "merged": known.get("merged", []),
            "rungs": [rung.to_dict() for rung in rungs],
            "saved_share_of_steps": saving(run, rungs),
            "seconds": dict(zip(("shared", "alone"), seconds(run), strict=True)),
            "failed": dict(failed),
            "skipped": dict(skipped),
        },
    )


def saving(run: RunFolder, rungs: Sequence[Rung]) -> float:
    """Return the share of GRPO's optimizer steps that halving left out."""
    total, points = int(run.recipe()["grpo"]["max_steps"]), {point for point, _ in run.plan().points.values()}
    return sum(len(rung.ended) * (total - rung.step) for rung in rungs) / (len(points) * total)


def seconds(run: RunFolder) -> tuple[float, float]:
    """Return what the finished stages took, and what they would have if no arm had shared one with another.

    Of a stage that was resumed the last attempt counts.
    """
    shared = alone = 0.0
    for stage in run.plan().stages:
        artifact = run.artifact(stage)
        if artifact.done:
            took = artifact.manifest()["seconds"]
            shared, alone = shared + took, alone + took * len(stage.arms)
    return shared, alone


def lost(run: RunFolder) -> tuple[dict[str, str], dict[str, str]]:
    """Return why stages failed, and what those waited for that did not run because of it; both by their labels."""
    failed, skipped = dict[str, str](), dict[str, str]()
    plan = run.plan()
    labels = {stage.key: stage.label for stage in plan.stages}
    for stage in plan.stages:
        artifact = run.artifact(stage)
        gone = [labels[key] for key in stage.inputs.values() if labels.get(key) in {*failed, *skipped}]
        if artifact.done:
            continue
        if artifact.failed.exists():
            failed[stage.label] = artifact.message()
        elif gone:
            skipped[stage.label] = gone[0]
    return failed, skipped
