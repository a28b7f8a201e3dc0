"""``adhere ablate``: the points of a grid, each with every seed, from one SFT."""

from __future__ import annotations

import sys
import time

from adhere.train.commands.train import next_commands, start
from adhere.train.config.ablation import AblationConfig


def ablate(*words: str, plan: bool = False) -> int:
    """Compare points of a grid, each with every seed; equal stages run once.

    Args:
        words: Hydra's command line. The keys of ablation (weights, gate, seeds, ...) need no prefix.
        plan: Show what would run, and start nothing.
    """
    overrides = []
    for word in words:
        key, equals, _ = word.partition("=")
        own = equals and key.split(".")[0] in AblationConfig.model_fields
        overrides.append(f"ablation.{word}" if own else word)
    if any(word.startswith("-") for word in words):
        from adhere.train.commands.through_hydra import through_hydra

        codes: list[int] = []
        through_hydra(overrides, lambda _, given: codes.append(_ablate(given, plan)))
        return max(codes, default=0)
    return _ablate(overrides, plan)


def _ablate(overrides: list[str], plan: bool) -> int:
    """Run or show one ablation, and say what failed and what halving saved; 1 where an arm failed."""
    from adhere.records.run import RunFolder
    from adhere.train.ablation.course import saving, seconds
    from adhere.train.ablation.halving import rung_steps
    from adhere.train.ablation.points import budget, plan_ablation
    from adhere.train.ablation.race import rounds_of, run_ablation
    from adhere.train.plan.evidence import seed_warnings

    ablation = plan_ablation(overrides)
    for dropped, kept, why in ablation.merged:
        print(f"merged: {dropped} is {kept} ({why})")
    run, config = ablation.run, ablation.run.recipe.ablation
    points = len({point for point, _ in run.members.values()})
    print(f"{run.recipe.name}: {points} points × {len(config.seeds)} seeds = {len(run.arms)} arms, in {run.path}")
    if not plan:
        for warning in seed_warnings(run):
            print(warning, file=sys.stderr)
    if config.method:
        arms = {point: arm for arm, (point, _) in run.members.items()}
        stages = run.graph.stages.values()
        of = {point: budget(stage for stage in stages if arms[point] in stage.arms) for point in run.points}
        most = ", ".join(f"{point} {tokens:,}" for point, tokens in of.items())
        equal = len(set(of.values())) == 1
        print(
            f"tokens generated to train on, at most: {f'{next(iter(of.values())):,} for each point' if equal else most}"
        )
    if plan:
        from adhere.train.plan.describe import describe_run

        print(describe_run(run))
        if config.halving is not None and run.recipe.launcher.kind == "slurm":
            steps = ", ".join(map(str, rung_steps(config.halving, run.recipe.grpo.max_steps)))
            print(f"halving  stages of kind grpo pause at step {steps}, where a job decides which of them go on")
        return 0
    if run.recipe.launcher.kind == "slurm":
        return start(run, lambda: rounds_of(ablation))

    started = time.perf_counter()
    ablated = run_ablation(ablation)
    outcome = ablated.outcome
    if ablated.rungs:
        share = saving(RunFolder(run.path), ablated.rungs)
        print(f"halving left out {100 * share:.0f} % of GRPO's steps; what it risked at each rung stands above")
    shared, alone = seconds(RunFolder(run.path))
    print(f"stages took {shared:.0f} s together; without sharing they would have taken {alone:.0f} s")
    for label, reason in outcome.failed.items():
        print(f"failed: {label}: {reason}", file=sys.stderr)
    for label, cause in outcome.skipped.items():
        print(f"not run: {label}, because {cause} failed", file=sys.stderr)
    if not outcome.ran and not outcome.failed:
        print("nothing to do: every stage of this configuration is done")
    else:
        print(f"{len(outcome.ran)} stages ran in {time.perf_counter() - started:.0f} s")
    print("\n".join(next_commands(run)))
    return 1 if outcome.failed else 0
