"""Run an ablation: all points with all seeds, or fewer and fewer of them by successive halving; what fails is listed.

adhere ablate recipe=quickstart 'weights=[{checklist: 0},{checklist: 1}]' seeds=[0,1,2] halving=true
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adhere.records.artifact import EXIT_STOPPED, complete_checkpoints
from adhere.records.course import Rung
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError
from adhere.train.ablation.course import write_course
from adhere.train.ablation.halving import decide_rung, rung_steps
from adhere.train.ablation.points import Ablation
from adhere.train.drive import claim_run
from adhere.train.launch.local.parallel import Outcome, run_parallel
from adhere.train.launch.local.signals import Interrupted
from adhere.train.launch.local.stage import ranks_of
from adhere.train.launch.serve.servers import servers_of, visible_gpus
from adhere.train.launch.slurm.submit import Round
from adhere.train.run.finish import finish
from adhere.train.run.graph import PlannedStage, order
from adhere.train.run.run import Run, spec_of, write_spec


@dataclass(frozen=True, slots=True)
class Ablated:
    """How an ablation ended: what became of its stages, and what was decided at each rung."""

    outcome: Outcome
    rungs: tuple[Rung, ...]


def run_ablation(ablation: Ablation) -> Ablated:
    """Bring every point that is still in the race to its end, and write ``arms.json`` and the statistics.

    Raises:
        ConfigError: before anything starts, where something that the run needs is not there.
        DataError: a rung has nothing to compare points by.
        Interrupted: somebody stopped the run, or a stage of it by its ``STOP`` file.
    """
    run = ablation.run
    # The GPUs are shared out among stages that run at a time; a stage that runs alone has them all.
    divided = run.recipe.ablation.parallel > 1 and run.recipe.launcher.device != "cpu"
    gpus = visible_gpus() if divided else ()
    check_parallel(run, gpus)
    claim_run(run)
    rungs: list[Rung] = []
    outcome = Outcome()
    racing = list(run.points)
    halving, total = run.recipe.ablation.halving, run.recipe.grpo.max_steps
    for step in [] if halving is None else rung_steps(halving, total):
        assert halving is not None
        _advance(run, outcome, racing, gpus, until=step)
        # The metrics of the racing points' seeds that have not failed; a point that lost all of them is out.
        curves: dict[str, list[Path]] = {}
        for stage in order(run.graph):
            if stage.kind != "grpo" or {stage.label} & {*outcome.failed, *outcome.skipped}:
                continue
            for point in (run.members[arm][0] for arm in stage.arms):
                if point in racing:
                    curves.setdefault(point, []).append(run.artifact(stage.key).metrics)
        if not curves:
            break
        rungs.append(decide_rung(halving, step, total, curves))
        rung = rungs[-1]
        rates = ", ".join(f"{point} {100 * rung.rates[point]:.1f}" for point in rung.ended)
        print(
            f"  step {rung.step}: {', '.join(rung.kept)} go on; ended: {rates or 'none'} (in "
            f"{100 * rung.risk:.0f} % of resamples one of them has a higher rate than the weakest that goes on)",
            flush=True,
        )
        racing = list(rungs[-1].kept)
        _write_summary(ablation, outcome, rungs)
    _advance(run, outcome, racing, gpus, until=None)
    _write_summary(ablation, outcome, rungs)
    finish(RunFolder(run.path))
    return Ablated(outcome, tuple(rungs))


def rounds_of(ablation: Ablation) -> list[Round]:
    """Return what a cluster is to run, round by round; the job at the end of each but the last decides, as here.

    Rungs that every point in the race has reached are decided at once. ``arms.json`` is written.

    Raises:
        DataError: a rung has nothing to compare points by.
    """
    run, total = ablation.run, ablation.run.recipe.grpo.max_steps
    halving, racing, rungs = run.recipe.ablation.halving, list(run.points), list[Rung]()
    steps = [] if halving is None else rung_steps(halving, total)

    def racers(*, kind: str | None = None) -> list[PlannedStage]:
        arms = {arm for arm, (point, _) in run.members.items() if point in racing}
        return [stage for stage in order(run.graph) if arms & set(stage.arms) and kind in (None, stage.kind)]

    def reached(stage: PlannedStage, step: int) -> bool:
        artifact = run.artifact(stage.key)
        return artifact.done or max(complete_checkpoints(artifact.checkpoints), default=0) >= step

    while steps and all(reached(stage, steps[0]) for stage in racers(kind="grpo")):
        assert halving is not None
        curves: dict[str, list[Path]] = {}
        for stage in racers(kind="grpo"):
            for point in {run.members[arm][0] for arm in stage.arms} & {*racing}:
                curves.setdefault(point, []).append(run.artifact(stage.key).metrics)
        rungs.append(decide_rung(halving, steps.pop(0), total, curves))
        racing = list(rungs[-1].kept)
    _write_summary(ablation, Outcome(), rungs)
    left = [stage for stage in racers() if not run.artifact(stage.key).done]
    rounds = []
    for number, step in enumerate(steps):
        training = [stage for stage in left if stage.makes_weights and (number == 0 or stage.kind == "grpo")]
        stages = [stage for stage in training if stage.kind != "grpo" or not reached(stage, step)]
        rounds.append(Round(stages, step))
    sooner = {stage.key for stage in rounds[0].stages if stage.kind != "grpo"} if rounds else set()
    return [*rounds, Round([stage for stage in left if stage.key not in sooner])]


def _advance(run: Run, outcome: Outcome, racing: Sequence[str], gpus: Sequence[str], until: int | None) -> None:
    """Run what the racing points still need: training up to ``until``, or everything."""
    arms = {arm for arm, (point, _) in run.members.items() if point in racing}
    stages = [stage for stage in order(run.graph) if arms & set(stage.arms)]
    if until is not None:
        stages = [stage for stage in stages if stage.makes_weights]

    def prepare(stage: PlannedStage) -> Path:
        return write_spec(run, stage, until=until if stage.kind == "grpo" else None)

    def reached(stage: PlannedStage) -> bool:
        saved = complete_checkpoints(run.artifact(stage.key).checkpoints)
        return until is not None and max(saved, default=0) >= until

    lost = {stage.key for stage in stages if stage.label in outcome.failed}
    found = run_parallel(
        [stage for stage in stages if stage.key not in lost],
        [stage.key for stage in order(run.graph) if run.artifact(stage.key).done],
        prepare,
        parallel=run.recipe.ablation.parallel,
        devices=gpus,
        per_stage=lambda stage: _gpus(run, stage),
        sharing=run.recipe.launcher.stages_per_gpu,
        reached=reached,
    )
    outcome.ran += found.ran
    outcome.failed |= found.failed
    outcome.skipped |= found.skipped
    if found.stopped:
        raise Interrupted(f"{', '.join(found.stopped)}: stopped; the same command goes on from there", EXIT_STOPPED)


def check_parallel(run: Run, gpus: Sequence[str]) -> None:
    """Check that as many stages as are to run at a time find GPUs of their own among ``gpus``, to be shared out.

    Raises:
        ConfigError: there are too few. A machine without GPUs has no such limit.
    """
    if not gpus:
        return
    needed, parallel = max(_gpus(run, stage) for stage in order(run.graph)), run.recipe.ablation.parallel
    sharing = run.recipe.launcher.stages_per_gpu
    if sharing > 1 and needed > 1:
        raise ConfigError(f"launcher.stages_per_gpu: a stage with its servers needs {needed} GPUs; set it to 1")
    wanted = math.ceil(parallel / sharing) * needed
    if wanted > len(gpus):
        each = f"{needed} GPUs each" if sharing == 1 else f"which {sharing} share a GPU"
        raise ConfigError(
            f"ablation.parallel: {parallel} stages of {each} need {wanted}, this machine shows {len(gpus)}; set it to "
            f"{max(1, len(gpus) // needed) * sharing}"
        )


def _gpus(run: Run, stage: PlannedStage) -> int:
    served = sum(server.gpus for server in servers_of(spec_of(run, stage)))
    return ranks_of(stage.recipe.launcher, stage.kind) + served


def _write_summary(ablation: Ablation, outcome: Outcome, rungs: Sequence[Rung]) -> None:
    merged = [{"point": a, "stands_for_it": b, "why": why} for a, b, why in ablation.merged]
    first = {"overrides": dict(ablation.run.recipe.arms), "merged": merged}
    write_course(RunFolder(ablation.run.path), rungs, outcome.failed, outcome.skipped, first)
