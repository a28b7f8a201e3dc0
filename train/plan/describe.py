"""The plan of a run, as text."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from train.config.schema import Recipe
from train.launch.local import launch_line
from train.launch.preview import submission_lines, with_gpu_memory
from train.plan.arithmetic import generation_arithmetic, grpo_arithmetic, sft_arithmetic
from train.plan.graph import PlannedStage, order
from train.plan.memory_table import memory_lines
from train.plan.rewards import reward_lines
from train.run import missing_inputs

if TYPE_CHECKING:
    from train.run import Run


def describe(run: Run) -> str:
    """Return the stages with what is done, batch arithmetic, reward, memory, and the launch lines."""
    recipe = run.recipe
    lines = [f"{recipe.name}: {run.path}", ""]
    cluster = recipe.launcher.kind == "slurm"
    run = with_gpu_memory(run) if cluster else run
    waiting = [stage for stage in order(run.graph) if not run.artifact(stage.key).done]
    lines += [_stage_line(run, stage) for stage in order(run.graph)]
    lines += ["", f"model    {recipe.model.path}"]
    if "sft" in recipe.stages:
        lines.append(f"sft      {sft_arithmetic(recipe)}")
    if "grpo" in recipe.stages:
        lines.append(f"grpo     {grpo_arithmetic(recipe)}")
        lines.append(f"         {generation_arithmetic(recipe)}")
        lines += reward_lines(run.arms)
    lines += memory_lines(run.arms)
    lines += [f"warning: {text}" for text in _doubts(recipe)]
    lines += [f"warning: {missing}" for missing in missing_inputs(run)]
    ranks = recipe.launcher.processes
    lines.append(f"launch   {recipe.launcher.strategy}, {ranks} {'rank' if ranks == 1 else 'ranks'}")
    lines += submission_lines(run, waiting) if cluster else []
    for stage in [] if cluster else waiting:
        launcher = run.arms[stage.arms[0]].launcher
        lines += [
            "",
            f"{stage.label}:",
            f"  {shlex.join(launch_line(launcher, stage.kind, run.artifact(stage.key).spec))}",
        ]
    if not waiting:
        lines += ["", "nothing to do: every stage of this configuration is done"]
    return "\n".join(lines)


def _doubts(recipe: Recipe) -> list[str]:
    """Return what runs, and is probably not meant."""
    launcher, found = recipe.launcher, []
    if launcher.strategy in ("zero2", "zero3", "fsdp2") and launcher.processes == 1:
        found.append(f"launcher.processes: {launcher.strategy} has one rank, so that nothing is shared; raise it")
    if launcher.processes > 1 and "evaluate" in recipe.stages:
        found.append(f"evaluations run on one process; {launcher.processes - 1} of the devices are idle meanwhile")
    return found


def _stage_line(run: Run, stage: PlannedStage) -> str:
    artifact = run.artifact(stage.key)
    state = "done" if artifact.done else "to go on" if artifact.checkpoints.exists() else "to run"
    after = ", ".join(run.graph.stages[key].label for key in stage.inputs.values()) or "the recipe's model"
    return f"  {state:<9} {stage.label:<24} {artifact.path.name:<28} from {after}"
