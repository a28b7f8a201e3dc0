"""The plan of a run, as text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from train.launch.local import launch_line
from train.plan.arithmetic import equal_arms, grpo_arithmetic, sft_arithmetic, weight_ratios
from train.plan.graph import PlannedStage, order
from train.run import missing_inputs

if TYPE_CHECKING:
    from train.config.schema import Recipe
    from train.run import Run


def describe(run: Run) -> str:
    """Return the stages with what is done already, the batch arithmetic, the reward, and the first launch line."""
    recipe = run.recipe
    lines = [f"{recipe.name}: {run.path}", ""]
    waiting = [stage for stage in order(run.graph) if not run.artifact(stage.key).done]
    lines += [_stage_line(run, stage) for stage in order(run.graph)]
    lines += ["", f"model    {recipe.model.path}"]
    if "sft" in recipe.stages:
        lines.append(f"sft      {sft_arithmetic(recipe)}")
    if "grpo" in recipe.stages:
        lines.append(f"grpo     {grpo_arithmetic(recipe)}")
        lines += [f"rewards  {_rewards(arm, name)}" for name, arm in run.arms.items()]
        lines += [
            f"warning: arms '{a}' and '{b}' are equivalent: only ratios of weights matter"
            for a, b in equal_arms(run.arms)
        ]
    lines += [f"warning: {missing}" for missing in missing_inputs(run)]
    ranks = recipe.launcher.processes
    lines.append(f"launch   {recipe.launcher.strategy}, {ranks} {'rank' if ranks == 1 else 'ranks'}")
    if waiting:
        line = launch_line(recipe.launcher, waiting[0].kind, run.artifact(waiting[0].key).spec)
        lines += ["", f"first: {waiting[0].label}", f"  {shlex.join(line)}"]
    else:
        lines += ["", "nothing to do: every stage of this configuration is done"]
    return "\n".join(lines)


def _stage_line(run: Run, stage: PlannedStage) -> str:
    artifact = run.artifact(stage.key)
    state = "done" if artifact.done else "to go on" if artifact.checkpoints.exists() else "to run"
    after = ", ".join(run.graph.stages[key].label for key in stage.inputs.values()) or "the recipe's model"
    return f"  {state:<9} {stage.label:<24} {artifact.path.name:<28} from {after}"


def _rewards(recipe: Recipe, arm: str) -> str:
    ratios = weight_ratios(recipe)
    parts = []
    for name, component in recipe.rewards.components.items():
        gate = f" gated on {component.gate}" if component.gate else ""
        parts.append(
            f"{name} {component.weight:g} (ratio {ratios[name]:.3g}){gate}" if component.weight else f"{name} (metric)"
        )
    return f"{arm}: {recipe.rewards.aggregation} of {', '.join(parts)}"
