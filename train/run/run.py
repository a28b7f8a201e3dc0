"""A run: the folder of one recipe and its arms, and the driver that brings its stages to their end. No torch."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from adhere.records.artifact import Artifact, artifacts_below
from adhere.records.names import ONLY
from adhere.records.objects import read_object, write_yaml
from adhere.records.plan import Plan, StageRecord, SubjectRecord, write_plan
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import write_text
from adhere.train.config.compose import compose_recipe, compose_variants
from adhere.train.config.schema import Recipe
from adhere.train.config.stage import StageSpec
from adhere.train.launch.local.stage import check_launcher, run_stage
from adhere.train.launch.serve.servers import check_servers
from adhere.train.run.finish import finish
from adhere.train.run.graph import Graph, PlannedStage, build_graph, digest, order


@dataclass(frozen=True, slots=True)
class Run:
    """A composed recipe, its arms, and the graph of their stages."""

    recipe: Recipe
    arms: Mapping[str, Recipe]
    graph: Graph
    overrides: tuple[str, ...] = ()
    members: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The point and the seed of each arm of an ablation."""

    def command(self, arm: str) -> str:
        """Return the command that makes ``arm`` again."""
        extra = self.recipe.arms.get(arm, [])
        return shlex.join(["adhere", "train", *self.overrides, *extra, *(["~arms"] if extra or arm != ONLY else [])])

    @property
    def root(self) -> Path:
        """Folder of all runs."""
        return Path(self.recipe.run.root).expanduser().resolve()

    @property
    def path(self) -> Path:
        """Folder of this run."""
        name = self.recipe.run.name or f"{self.recipe.name}-{self.content[:8]}"
        return self.root / name

    @property
    def content(self) -> str:
        """Hash of everything that decides the results."""
        return digest(sorted(self.graph.stages) + sorted(self.arms))

    def artifact(self, key: str) -> Artifact:
        """Return the artifact of a stage; runs with the same stage share it."""
        return Artifact(artifacts_below(self.root) / self.graph.stages[key].folder)


def plan_run(overrides: Sequence[str]) -> Run:
    """Compose the recipe and each of its arms, and plan their stages."""
    return plan_recipe(compose_recipe(overrides), overrides)


def plan_recipe(recipe: Recipe, overrides: Sequence[str]) -> Run:
    """Plan ``recipe``; its arms are composed again, each with its own overrides after the given ones."""
    arms = compose_variants(overrides, {arm: [*extra, "~arms"] for arm, extra in recipe.arms.items()})
    arms = {arm: keep_suite_out(composed) for arm, composed in (arms or {ONLY: recipe}).items()}
    return Run(recipe, arms, build_graph(arms), tuple(overrides))


def keep_suite_out(recipe: Recipe) -> Recipe:
    """Add the files that the recipe is measured on to those that training items must not overlap."""
    path = recipe.evaluation.path
    if "evaluate" not in recipe.stages or path is None or recipe.stages == ("evaluate",):
        return recipe
    files = sorted(Path(path).glob("*.jsonl")) if recipe.evaluation.suite == "mathif" else [Path(path)]
    known = recipe.data.decontaminate_against
    against = [*known, *(str(file) for file in files if file.exists() and str(file) not in known)]
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"decontaminate_against": against})})


def missing_inputs(run: Run) -> list[str]:
    """Return what the run needs on disk and does not find, one message each."""
    path = run.recipe.evaluation.path
    if "evaluate" not in run.recipe.stages or path is None or Path(path).exists():
        return []
    return [f"evaluation.path: there is no '{path}'; MathIF's *.jsonl files are the hub's data set TingchenFu/MathIF"]


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
        run_stage(artifact, run.arms[stage.arms[0]].launcher, stage.kind, stage.label)
        ran += 1
    finish(RunFolder(run.path))
    return ran


def begin(run: Run) -> None:
    """Check what can be checked before a process starts, take the run's folder, and show every stage in it.

    Raises:
        ConfigError: the run's folder belongs to another configuration, or something that it needs is not there.
    """
    check_launcher(run.recipe.launcher)
    check_servers(run.arms)
    if missing := missing_inputs(run):
        raise ConfigError("\n".join(missing))
    _claim(run)
    for stage in order(run.graph):
        RunFolder(run.path).link(stage.label, run.artifact(stage.key))


def joint_rate(run: Run) -> float | None:
    """Return the joint rate of the last evaluated model, its accuracy where it has none, or nothing."""
    if not run.graph.subjects:
        return None
    folder = RunFolder(run.path)
    results = read_object(folder.artifact(folder.plan().stage(folder.plan().models()[-1].subject.key)).results)
    found = [results["metrics"][name]["mean"] for name in ("joint", "accuracy")]
    return next((float(value) for value in found if value is not None), None)


def _claim(run: Run) -> None:
    """Take the run's folder, or find that it is ours already."""
    folder = RunFolder(run.path)
    path = folder.key_file
    if path.exists() and path.read_text(encoding="utf-8").strip() != run.content:
        raise ConfigError(
            f"run.name: {run.path} holds a run of another configuration; choose another run.name, or leave it out and "
            f"the folder is named after the configuration"
        )
    write_yaml(folder.recipe_file, run.recipe.model_dump(mode="json"))
    write_plan(folder.plan_file, plan_record(run))
    write_text(path, run.content + "\n")
    latest = run.root / "latest"
    if latest.is_symlink() or not latest.exists():
        latest.unlink(missing_ok=True)
        latest.symlink_to(run.path.name)


def plan_record(run: Run) -> Plan:
    """Return what ``plan.json`` says of the run."""
    stages = [
        StageRecord(
            label=s.label,
            name=s.kind,
            kind=s.kind,
            key=s.key,
            artifact=s.folder,
            inputs=s.inputs,
            arms=s.arms,
            steps=_steps(run.arms[s.arms[0]], s.kind),
            command=run.command(s.arms[0]),
        )
        for s in order(run.graph)
    ]
    subjects = {
        arm: tuple(SubjectRecord(name, None if name == "base" else name, key) for name, key in found.items())
        for arm, found in run.graph.subjects.items()
    }
    return Plan(tuple(stages), subjects, run.members, version("adhere"))


def _steps(recipe: Recipe, kind: str) -> int | None:
    """Return how many optimizer steps a stage has, where the recipe says so."""
    steps = {"sft": recipe.sft.max_steps, "grpo": recipe.grpo.max_steps}.get(kind, -1)
    return steps if steps > 0 else None


def write_spec(run: Run, stage: PlannedStage, until: int | None = None) -> Path:
    """Write what the stage's worker is told, and return its path; with ``until`` it pauses at that optimizer step."""
    spec = spec_of(run, stage, until)
    spec.artifact.mkdir(parents=True, exist_ok=True)
    path = Artifact(spec.artifact).spec
    write_yaml(path, spec.model_dump(mode="json"))
    return path


def spec_of(run: Run, stage: PlannedStage, until: int | None = None) -> StageSpec:
    """Return what the stage's worker is told."""
    return StageSpec(
        kind=stage.kind,
        label=stage.label,
        key=stage.key,
        artifact=run.artifact(stage.key).path,
        inputs={name: run.artifact(key).path for name, key in stage.inputs.items()},
        until=until,
        recipe=run.arms[stage.arms[0]],
    )
