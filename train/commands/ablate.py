"""``adhere ablate``: the points of a grid, each with every seed, from one SFT."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adhere.rewards.errors import ConfigError
from adhere.train.commands.cluster import submit
from adhere.train.config.ablation import AblationConfig

if TYPE_CHECKING:
    from adhere.train.ablation.points import Ablation


def ablate(arguments: Sequence[str]) -> int:
    """Run the ablation that ``arguments`` describe; keys of ``ablation`` need no prefix, ``--plan`` starts nothing."""
    from adhere.train.ablation.points import plan_ablation

    flags = [a for a in arguments if a.startswith("-")]
    if unknown := [flag for flag in flags if flag != "--plan"]:
        raise ConfigError(f"{unknown[0]}: ablate has one flag, --plan; everything else is key=value")
    ablation = plan_ablation([_full(a) for a in arguments if not a.startswith("-")])
    for dropped, kept, why in ablation.merged:
        print(f"merged: {dropped} is {kept} ({why})")
    run, config = ablation.run, ablation.run.recipe.ablation
    points, seeds = len({point for point, _ in run.members.values()}), len(config.seeds)
    print(f"{run.recipe.name}: {points} points × {seeds} seeds = {len(run.arms)} arms, in {run.path}")
    if flags:
        from adhere.train.plan.describe import describe

        print(describe(run))
        return 0
    if run.recipe.launcher.kind == "slurm":
        if config.halving is not None:
            raise ConfigError(
                "ablation.halving: compares points while they train, which needs launcher=local; set it to null"
            )
        return submit(run)
    return _run(ablation)


def _full(argument: str) -> str:
    key, equals, value = argument.partition("=")
    known = equals and key.split(".")[0] in AblationConfig.model_fields
    return f"ablation.{key}={value}" if known else argument


def _run(ablation: Ablation) -> int:
    """Run it, and say what failed and what halving saved; 1 where an arm failed."""
    from adhere.train.ablation.race import run_ablation, saving, seconds

    started = time.perf_counter()
    ablated = run_ablation(ablation)
    outcome = ablated.outcome
    if ablated.rungs:
        share = saving(ablation.run, ablated.rungs)
        print(f"halving left out {100 * share:.0f} % of GRPO's steps; what it risked at each rung stands above")
    shared, alone = seconds(ablation.run)
    print(f"stages took {shared:.0f} s together; without sharing they would have taken {alone:.0f} s")
    for label, reason in outcome.failed.items():
        print(f"failed: {label}: {reason}", file=sys.stderr)
    for label, cause in outcome.skipped.items():
        print(f"not run: {label}, because {cause} failed", file=sys.stderr)
    if not outcome.ran and not outcome.failed:
        print("nothing to do: every stage of this configuration is done")
    else:
        print(f"{len(outcome.ran)} stages ran in {time.perf_counter() - started:.0f} s")
    return 1 if outcome.failed else 0
