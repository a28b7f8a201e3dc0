"""The driver: it claims a run's folder and runs its stages on this machine, one after another. No torch."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from adhere.records.artifact import held
from adhere.records.checksums import QUICK
from adhere.records.objects import write_yaml
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError, DataError, StageError
from adhere.rewards.files import write_text
from adhere.train.launch.local.stage import check_machine, run_stage
from adhere.train.launch.serve.servers import judge_servers, judges_of
from adhere.train.launch.slurm.submit import profile_of
from adhere.train.plan.duration import time_left
from adhere.train.run.finish import finish
from adhere.train.run.graph import PlannedStage, order
from adhere.train.run.inputs import data_problems
from adhere.train.run.rehearsed import check_signal
from adhere.train.run.run import Run, missing_inputs, plan_record, write_spec

UNTRAINED = ("evaluate", "rehearse")
"""Kinds of stages that make no weights."""


def execute(run: Run) -> int:
    """Bring every stage to its end, reusing what is done; return how many stages ran.

    Raises:
        ConfigError: the run's folder belongs to another configuration.
        StageError: a stage failed; finished stages are kept, and the same command goes on from there.
    """
    claim_run(run)
    ran, waiting = 0, list(order(run.graph))
    total = len(to_do := [stage for stage in waiting if not run.artifact(stage.key).done])
    if total > 1 and (left := time_left(run, to_do)):
        print(f"{total} stages to run: {left} in all, an estimate; adhere plan says what it rests on")
    while waiting:
        stage = waiting.pop(0)
        artifact = run.artifact(stage.key)
        if artifact.done:
            shutil.rmtree(artifact.checkpoints, ignore_errors=True)  # left where a kill came just after DONE
            print(f"  reused  {stage.label:<24} {artifact.path.name}")
            continue
        check_signal(run.root, stage)
        print(f"  running {stage.label:<24} {artifact.path.name}  stage {ran + 1} of {total}", flush=True)
        write_spec(run, stage)
        # What measures the same model follows in the same process, which loads it once.
        alike = [s for s in waiting if one_process(stage, s) and not run.artifact(s.key).done]
        for number, following in enumerate(alike, ran + 2):
            name = run.artifact(following.key).path.name
            print(f"  then    {following.label:<24} {name}  stage {number} of {total}", flush=True)
            write_spec(run, following)
        waiting = [s for s in waiting if s not in alike]
        then = [(run.artifact(s.key), s.label) for s in alike]
        started = time.perf_counter()
        run_stage(artifact, stage.recipe.launcher, stage.kind, stage.label, then)
        ran += 1 + len(alike)
        left = time_left(run, to_do := [s for s in waiting if not run.artifact(s.key).done])
        rest = f"; left: {len(to_do)} of {total} stages{f', {left}' if left else ''}" if to_do else ""
        took = f"{time.perf_counter() - started:.0f} s"
        print(f"  done    {', '.join([stage.label, *(s.label for s in alike)]):<24} in {took}{rest}", flush=True)
    finish(RunFolder(run.path))
    return ran


def _trains(run: Path) -> bool:
    """Whether a stage of an earlier run makes weights; a damaged plan, or none, is no such run."""
    try:
        return RunFolder(run).exists and any(s.kind not in UNTRAINED for s in RunFolder(run).plan().stages)
    except DataError:
        return False


def one_process(first: PlannedStage, second: PlannedStage) -> bool:
    """Whether both measure the same model, loaded in their own process in the same way, without servers beside them."""

    def loads(stage: PlannedStage) -> object:
        recipe = stage.recipe
        return stage.kind, stage.source, recipe.model, recipe.launcher, recipe.plugins, recipe.evaluation.backend

    served = any(judge_servers(judges_of(stage.kind, stage.recipe)) for stage in (first, second))
    alike = loads(first) == loads(second) and first.kind == "evaluate"
    return alike and first.recipe.evaluation.backend in ("transformers", "replay") and not served


def claim_run(run: Run) -> None:
    """Check what can be checked before a process starts, claim the run's folder, and link every stage in it.

    A finished stage whose weights are gone or damaged is no longer done, so that it is made again.

    Raises:
        ConfigError: the run's folder belongs to another configuration, or something that it needs is not there.
        StageError: a file that a stage reads cannot be used.
    """
    waiting = [stage for stage in run.graph.stages.values() if not run.artifact(stage.key).done]
    # With a Python of their own, jobs look for their packages themselves, on the nodes where they run.
    elsewhere = run.recipe.launcher.kind == "slurm" and profile_of(run).elsewhere
    check_machine(((stage.kind, stage.recipe) for stage in waiting), elsewhere=elsewhere)
    if missing := missing_inputs(run):
        raise ConfigError("\n".join(missing))
    if problems := data_problems(waiting):
        raise StageError("\n".join(problems))

    folder = RunFolder(run.path)
    claimed = folder.key_file
    if claimed.exists() and claimed.read_text(encoding="utf-8").strip() != run.content:
        raise ConfigError(
            f"run.name: {run.path} holds a run of another configuration; choose another run.name, or leave it out and "
            f"the folder is named after the configuration"
        )
    write_yaml(folder.recipe_file, run.recipe.model_dump(mode="json"))
    folder.record(plan_record(run))
    write_text(claimed, run.content + "\n")
    # It names the newest run that trains; one that only measures takes it from no such run.
    latest = run.root / "latest"
    trains = any(stage.makes_weights for stage in run.graph.stages.values())
    if not run.rehearsal and (latest.is_symlink() or not latest.exists()) and (trains or not _trains(latest)):
        latest.unlink(missing_ok=True)
        latest.symlink_to(run.path.name)
    for stage in order(run.graph):
        artifact = run.artifact(stage.key)
        folder.link(stage.label, artifact)
        reason = artifact.damage(QUICK, weights=stage.makes_weights) if artifact.done else None
        if reason is not None:
            print(f"  damaged {stage.label:<24} {artifact.path.name}: {reason}; it is made again", flush=True)
            with held(artifact):
                artifact.reopen()
