"""The plan of a run, as text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adhere.records.artifact import locked_inodes, newest_whole
from adhere.records.checksums import QUICK
from adhere.records.state import Standing, State, find_state
from adhere.train.config.kinds import kind_of
from adhere.train.launch.local.stage import launch_line
from adhere.train.plan.duration import duration_lines
from adhere.train.plan.evidence import evidence_lines
from adhere.train.plan.history import History
from adhere.train.plan.memory_table import memory_lines
from adhere.train.plan.rewards import reward_lines
from adhere.train.plan.warnings import warnings
from adhere.train.run.graph import PlannedStage, order
from adhere.train.run.rehearsed import rehearsal_of
from adhere.train.run.run import missing_inputs, unread_overrides

if TYPE_CHECKING:
    from adhere.train.run.run import Run


def standings_of(run: Run) -> dict[str, Standing]:
    """Return where each stage stands, by its key; of finished weights the content is read up to a limit."""
    locks = locked_inodes()
    return {
        key: find_state(run.artifact(key), stage.label, locks, weights=stage.makes_weights, limit=QUICK)
        for key, stage in run.graph.stages.items()
    }


def describe_run(run: Run, standings: Mapping[str, Standing] | None = None) -> str:
    """Return the stages with what is done, batch arithmetic, reward, memory, time, and the launch lines.

    ``standings`` are those of :func:`standings_of`, where they are known already.
    """
    recipe = run.recipe
    lines = [f"{recipe.name}: {run.path}", ""]
    cluster = recipe.launcher.kind == "slurm"
    if cluster:
        from adhere.train.launch.slurm.preview import submission_lines, with_gpu_memory

        run = with_gpu_memory(run)
    waiting: list[PlannedStage] = []
    standings = standings_of(run) if standings is None else standings
    for stage in order(run.graph):
        artifact = run.artifact(stage.key)
        after = ", ".join(run.graph.stages[key].label for key in stage.inputs.values()) or "the recipe's model"
        standing = standings[stage.key]
        lines.append(f"  {standing.state:<9} {stage.label:<24} {artifact.path.name:<28} from {after}")
        if standing.state is State.DONE:
            continue
        waiting.append(stage)
        if standing.state is State.DAMAGED:
            lines.append(f"{'':<12}damaged: {standing.detail}")
        whole, damaged = newest_whole(artifact.checkpoints, QUICK)
        for path, reason in damaged.items():
            again = "cannot be resumed from" if whole is None else f"will be made again, from {whole.name}"
            lines.append(f"{'':<12}{path.name} damaged: {again}: {reason}")
        if damaged and whole is None:
            lines.append(f"{'':<12}no checkpoint is whole: remove {artifact.checkpoints} to train it from its start")
    lines += ["", f"model    {recipe.model.path}"]
    stages = order(run.graph)
    shown: dict[tuple[str, ...], str] = {}
    for stage in stages:
        if arithmetic := kind_of(stage.kind).arithmetic(stage.recipe):
            # Arms that differ in nothing that counts here are one line, under the stage's name.
            shown.setdefault(tuple(arithmetic), stage.name if stage.name not in shown.values() else stage.label)
    for (first, *more), name in shown.items():
        lines += [f"{name:<8} {first}", *(f"{'':<8} {line}" for line in more)]
    trained = [(stage, arm) for stage in stages if stage.kind == "grpo" for arm in stage.arms]
    several = len({stage.name for stage, _ in trained}) > 1
    rows = {
        (arm if not several else stage.name if len(run.arms) == 1 else f"{stage.name}[{arm}]"): stage
        for stage, arm in trained
    }
    lines += reward_lines({row: s.recipe for row, s in rows.items()}, {row: s.name for row, s in rows.items()})
    for stage in stages:
        if stage.kind == "grpo" and (said := rehearsal_of(run.root, stage)) is not None:
            lines.append(f"rehearsal of {stage.label}: {said['verdict']['sentence']}")
    lines += memory_lines(stages)
    lines += duration_lines(run, waiting)
    lines += evidence_lines(run)
    lines += [f"warning: {text}" for text in warnings((stage.recipe for stage in stages), History(run.root))]
    lines += [f"warning: {text}" for text in (*unread_overrides(run), *missing_inputs(run))]
    ranks = recipe.launcher.processes
    lines.append(f"launch   {recipe.launcher.strategy}, {ranks} {'rank' if ranks == 1 else 'ranks'}")
    if cluster:
        lines += submission_lines(run, waiting)
    # Each way in which a stage is launched once, with the stage that is the first to be launched so.
    ways: dict[tuple[str, ...], list[PlannedStage]] = {}
    for stage in [] if cluster else waiting:
        line = launch_line(stage.recipe.launcher, stage.kind, run.artifact(stage.key).spec)
        ways.setdefault(tuple(line[:-1]), []).append(stage)
    for way, (leader, *others) in ways.items():
        beside = f", and {len(others)} more stages with theirs" if others else ""
        command = shlex.join([*way, str(run.artifact(leader.key).spec)])
        lines += ["", f"{leader.label}{beside}:", f"  PYTHONSAFEPATH=1 {command}"]
    if not waiting:
        lines += ["", "nothing to do: every stage of this configuration is done"]
    return "\n".join(lines)
