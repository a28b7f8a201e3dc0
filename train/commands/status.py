"""``adhere status``: how far the stages of a run are, here or on a cluster. No torch."""

from __future__ import annotations

from pathlib import Path

ENDED = ("done", "failed", "cancelled", "ended")


def status(run: str, /) -> int:
    """Show the state of every stage of a run; exit 1 where one failed or was cancelled.

    Args:
        run: A run's folder, or its name below runs/.
    """
    from adhere.train.launch.slurm.progress import find_run, progress

    folder: Path = find_run(run)
    stages = progress(folder)
    print(folder)
    for stage in stages:
        job = f"job {stage.job}" if stage.job and stage.state not in ("done", "to run") else ""
        step = "" if stage.step is None else f"step {stage.step}" + (f" of {stage.steps}" if stage.steps else "")
        joint = "" if stage.joint is None else f"joint {100 * stage.joint:.1f}%"
        saved = ""
        if stage.checkpoint is not None and stage.checkpoint_age is not None:
            units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
            unit, size = next((u, s) for u, s in units if stage.checkpoint_age >= 2 * s or s == 1)
            saved = f"checkpoint {stage.checkpoint}, {stage.checkpoint_age / size:.0f} {unit} ago"
        words = "  ".join(word for word in (job, stage.detail, step, joint, saved) if word)
        print(f"  {stage.state:<9} {stage.label:<24} {words}".rstrip())
    left = [stage for stage in stages if stage.state not in ENDED]
    running = [stage for stage in left if stage.state == "running"]
    follow = next((stage for stage in left if stage.state != "running"), None)
    done = sum(stage.state == "done" for stage in stages)
    parts = [f"{done} of {len(stages)} stages done", f"{len(running)} running" if running else ""]
    parts += [f"next: {follow.label}" + (f" ({follow.detail})" if follow.detail else "") if follow else ""]
    if not left and done == len(stages):
        tables = [folder / name for name in ("results.md", "ablation.md") if (folder / name).exists()]
        parts += [f"results: {table}" for table in tables]
    print("; ".join(part for part in parts if part))
    return 1 if any(stage.state in ENDED[1:] for stage in stages) else 0
