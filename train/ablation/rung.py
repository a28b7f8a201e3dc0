"""A rung of successive halving on a cluster, as a job: ``python -m adhere.train.ablation.rung RUN ROUND``.

It runs when the stages of the round have paused. Stages of points that it ends are named in ``slurm/ended``, where the
jobs of the next round look; the others are told how far they go next.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adhere.records.artifact import complete_checkpoints
from adhere.records.course import read_course
from adhere.records.jobs import JobRecord, write_job
from adhere.records.objects import read_object, write_yaml
from adhere.records.run import RunFolder, as_run
from adhere.rewards.errors import AdhereError, DataError
from adhere.rewards.files import write_text
from adhere.train.ablation.course import lost, write_course
from adhere.train.ablation.halving import decide_rung
from adhere.train.config.ablation import HalvingConfig
from adhere.train.config.stage import read_spec


def choose_points(run: RunFolder, number: int) -> None:
    """Decide at the end of round ``number``, from 0, which points go on.

    Raises:
        DataError: no stage of the round has come so far, or a point logged nothing to compare it by.
    """
    plan, recipe = run.plan(), run.recipe()
    turn, following = read_object(run.rounds_file)["rounds"][number : number + 2]
    step, total = int(turn["until"]), int(recipe["grpo"]["max_steps"])
    course = read_course(run)
    before = tuple(course.rungs) if course else ()
    over = {point for rung in before for point in rung.ended}
    trained = [stage for stage in plan.stages if stage.kind == "grpo"]
    # A stage that did not come so far is out, and its point with the last of its seeds.
    arrived, curves = set(), dict[str, list[Path]]()
    for stage in trained:
        artifact = run.artifact(stage)
        points = {plan.points[arm][0] for arm in stage.arms} - over
        if points and (artifact.done or max(complete_checkpoints(artifact.checkpoints), default=0) >= step):
            arrived.add(stage.key)
            for point in points:
                curves.setdefault(point, []).append(artifact.metrics)
    failed, skipped = lost(run)
    if not curves:
        write_course(run, before, failed, skipped)
        raise DataError(f"{run.path}: no stage came to step {step}, so that there is nothing to choose from")
    rung = decide_rung(HalvingConfig.model_validate(recipe["ablation"]["halving"]), step, total, curves)
    write_course(run, [*before, rung], failed, skipped)
    print(f"adhere: step {step}: {', '.join(rung.kept)} go on; ended: {', '.join(rung.ended) or 'none'}")

    goes_on = [s for s in trained if s.key in arrived and {plan.points[arm][0] for arm in s.arms} & {*rung.kept}]
    ended = [run.artifact(stage).path for stage in trained if stage not in goes_on]
    write_text(run.ended_file, "".join(f"{path}\n" for path in ended))
    for stage in goes_on:
        artifact = run.artifact(stage)
        if stage.key in following["jobs"] and not artifact.done:
            spec = read_spec(artifact.spec).model_copy(update={"until": following["until"]})
            write_yaml(artifact.spec, spec.model_dump(mode="json"))
            write_job(artifact.job, JobRecord(**following["jobs"][stage.key]))


def main() -> int:
    """Decide; the next round's jobs start where this one exits 0."""
    try:
        choose_points(as_run(Path(sys.argv[1])), int(sys.argv[2]))
    except AdhereError as error:
        print(f"adhere: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
