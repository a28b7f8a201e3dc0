"""The driver: it claims a run's folder and runs its stages on this machine, one after another. No torch."""

from __future__ import annotations

import shutil

from adhere.records.objects import write_yaml
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import write_text
from adhere.train.launch.local.stage import check_launcher, run_stage
from adhere.train.launch.serve.servers import check_servers
from adhere.train.run.finish import finish
from adhere.train.run.graph import order
from adhere.train.run.run import Run, missing_inputs, plan_record, write_spec


def execute(run: Run) -> int:
    """Bring every stage to its end, reusing what is done; return how many stages ran.

    Raises:
        ConfigError: the run's folder belongs to another configuration.
        StageError: a stage failed; finished stages are kept, and the same command goes on from there.
    """
    begin(run)
    ran = 0
    for stage in order(run.graph):
        artifact = run.artifact(stage.key)
        if artifact.done:
            shutil.rmtree(artifact.checkpoints, ignore_errors=True)  # left where a kill came just after DONE
            print(f"  reused  {stage.label:<24} {artifact.path.name}")
            continue
        print(f"  running {stage.label:<24} {artifact.path.name}", flush=True)
        write_spec(run, stage)
        run_stage(artifact, stage.recipe.launcher, stage.kind, stage.label)
        ran += 1
    finish(RunFolder(run.path))
    return ran


def begin(run: Run) -> None:
    """Check what can be checked before a process starts, claim the run's folder, and link every stage in it.

    Raises:
        ConfigError: the run's folder belongs to another configuration, or something that it needs is not there.
    """
    for stage in run.graph.stages.values():
        check_launcher(stage.recipe.launcher)
    check_servers((stage.kind, stage.recipe) for stage in run.graph.stages.values())
    if missing := missing_inputs(run):
        raise ConfigError("\n".join(missing))

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
    latest = run.root / "latest"
    if latest.is_symlink() or not latest.exists():
        latest.unlink(missing_ok=True)
        latest.symlink_to(run.path.name)
    for stage in order(run.graph):
        folder.link(stage.label, run.artifact(stage.key))
