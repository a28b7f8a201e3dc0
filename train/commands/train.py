"""``adhere train``: run a recipe, here or on a cluster."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adhere.train.config.schema import Recipe
    from adhere.train.launch.slurm.submit import Round
    from adhere.train.run.run import Run


def train(*words: str) -> int:
    """Run the stages of a recipe that are not done yet, here or on a cluster.

    Args:
        words: Hydra's command line: key=value, group=option, +key=value, ~key, -m for sweeps, --cfg job, --info.
    """
    from adhere.train.run.run import joint_rate, plan_recipe, plan_run

    def point(recipe: Recipe, overrides: list[str]) -> float | None:
        run = plan_recipe(recipe, overrides)
        start(run)
        if recipe.launcher.kind == "slurm":
            if not searches():
                return None
            wait_for(run)
        return joint_rate(run)

    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import searches, through_hydra
        from adhere.train.launch.slurm.submit import wait_for

        return through_hydra(words, point)
    return start(plan_run(words))


def next_commands(run: Run) -> list[str]:
    """Return what to do with a finished run: read its report, and compare weights over seeds where GRPO was rewarded.

    A recipe that names several GRPO stages has no single weight to compare.
    """
    from pathlib import Path

    here, path = Path.cwd().resolve(), run.path.resolve()
    folder = path.relative_to(here) if path.is_relative_to(here) else path
    lines = [f"next: adhere report {shlex.quote(str(folder))}"]
    rewarded = [s for s in run.recipe.stages.values() if s.kind == "grpo"]
    components = run.recipe.rewards.components
    if len(rewarded) == 1 and "checklist" in components and len(run.graph.stages) > 1 and not run.members:
        own = [word for word in run.overrides if word.lstrip("+~").partition("=")[0] not in ("arms", "run.name")]
        weights = "'weights=[{checklist: 0},{checklist: 1}]'"
        lines.append(f"      {shlex.join(['adhere', 'ablate', *own])} {weights} seeds=[0,1,2]")
    return lines


def start(run: Run, rounds_of: Callable[[], Sequence[Round]] | None = None) -> int:
    """Bring ``run`` to its end on this machine, or submit what is not done of it to Slurm and print its jobs.

    ``rounds_of`` says, once the run's folder is there, what Slurm is to run when; ``None`` is all that is not done.
    """
    from adhere.records.run import RunFolder
    from adhere.train.drive import claim_run, execute
    from adhere.train.run.finish import finish
    from adhere.train.run.graph import order
    from adhere.train.run.run import unread_overrides

    started = time.perf_counter()
    print(f"{run.recipe.name}: {run.path}")
    for text in unread_overrides(run):
        print(f"warning: {text}", file=sys.stderr)
    if run.recipe.launcher.kind != "slurm":
        ran = execute(run)
        if ran == 0:
            print("nothing to do: every stage of this configuration is done")
        else:
            print(f"{ran} {'stage' if ran == 1 else 'stages'} ran in {time.perf_counter() - started:.0f} s")
        print("\n".join(next_commands(run)))
        return 0

    from adhere.train.launch.slurm.profile import notice_doubts
    from adhere.train.launch.slurm.submit import Round, profile_of, submit_run
    from adhere.train.run.rehearsed import check_signal

    for doubt in notice_doubts(profile_of(run), run.recipe.launcher.slurm):
        print(f"warning: {doubt}", file=sys.stderr)
    claim_run(run)
    left = [stage for stage in order(run.graph) if not run.artifact(stage.key).done]
    rounds = [Round(left)] if rounds_of is None else rounds_of()
    waiting = list({stage.key: stage for turn in rounds for stage in turn.stages}.values())
    if not waiting:
        finish(RunFolder(run.path))
        print("nothing to do: every stage of this configuration is done")
        return 0
    for stage in waiting:
        check_signal(run.root, stage)
    submission = submit_run(run, rounds)
    names = {stage.key: stage.label for stage in waiting}
    for key, job in submission.queued.items():
        print(f"  queued     {names[key]:<24} job {job}, submitted before")
    for job, batch in submission.batches.items():
        count = len(batch.stages)
        label = batch.stages[0].label if count == 1 else f"{batch.kind} x {count}"
        print(f"  submitted  {label:<24} job {job}" + (f"_[0-{count - 1}]" if count > 1 else ""))
    for step, job in submission.rungs.items():
        print(f"  submitted  {f'the choice at step {step}':<24} job {job}")
    how = "queued     " if submission.found else "submitted  "
    before = ", submitted before" if submission.found else ""
    print(f"  {how}{'comparison and cards':<24} job {submission.last}{before}")
    stages = len({stage.key for batch in submission.batches.values() for stage in batch.stages})
    seconds = time.perf_counter() - started
    print(f"{stages} {'stage' if stages == 1 else 'stages'} submitted in {seconds:.1f} s: adhere status {run.path}")
    return 0
