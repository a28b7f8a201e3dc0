"""``adhere status``: how far the stages of a run are, here or on a cluster. No torch."""

from __future__ import annotations


def status(run: str, only: str | None = None, /) -> int:
    """Show the state of every stage of a run; exit 1 where one failed or was cancelled.

    Args:
        run: A run's folder, or its name below runs/.
        only: Only these stages: a stage's label, such as grpo[composite], its name, or that of an arm.
    """
    from adhere.records.objects import read_object
    from adhere.records.run import find_run
    from adhere.records.state import State
    from adhere.train.commands.words import stages_called
    from adhere.train.launch.slurm.progress import progress

    folder = find_run(run)
    stages = progress(folder)
    if only is not None:
        labels = {found.label for found in stages_called(folder.plan().stages, only)}
        stages = [one for one in stages if one.label in labels]
    print(folder.path)
    for stage in stages:
        job = f"job {stage.job}" if stage.job and stage.state not in (State.DONE, State.TO_RUN) else ""
        step = "" if stage.step is None else f"step {stage.step}" + (f" of {stage.steps}" if stage.steps else "")
        joint = "" if stage.joint is None else f"joint {100 * stage.joint:.1f}%"
        saved = ""
        if stage.checkpoint is not None and stage.checkpoint_age is not None:
            units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
            unit, size = next((u, s) for u, s in units if stage.checkpoint_age >= 2 * s or s == 1)
            saved = f"checkpoint {stage.checkpoint}, {stage.checkpoint_age / size:.0f} {unit} ago"
        figures = ""
        if stage.kind == "evaluate" and stage.state is State.DONE:
            metrics = read_object(stage.artifact.results).get("metrics", {})
            means = {name: metrics.get(name, {}).get("mean") for name in ("accuracy", "hacc", "joint")}
            figures = "  ".join(f"{name} {100 * mean:.1f}%" for name, mean in means.items() if mean is not None)
        words = "  ".join(word for word in (job, stage.detail, step, joint, figures, saved) if word)
        print(f"  {stage.state:<9} {stage.label:<24} {words}".rstrip())
    left = [stage for stage in stages if not (stage.state.settled or stage.state.lost)]
    running = [stage for stage in left if stage.state.active]
    follow = next((stage for stage in left if not stage.state.active), None)
    done = sum(stage.state is State.DONE for stage in stages)
    parts = [f"{done} of {len(stages)} stages done", f"{len(running)} running" if running else ""]
    parts += [f"next: {follow.label}" + (f" ({follow.detail})" if follow.detail else "") if follow else ""]
    if all(stage.state.settled for stage in stages):
        parts += [f"results: {table}" for table in folder.tables]
    print("; ".join(part for part in parts if part))
    return 1 if any(stage.state.lost for stage in stages) else 0
