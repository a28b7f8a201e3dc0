"""The folder of a run: what lies where in it. Standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adhere.records.artifact import SPEC, Artifact, artifacts_below
from adhere.records.names import slug
from adhere.records.objects import read_object
from adhere.records.plan import Plan, StageRecord, read_plan, write_plan
from adhere.rewards.errors import ConfigError, DataError

PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run.

    ``plan.json`` has its stages and ``recipe.yaml`` what was asked for; ``run.key`` is the hash of all that decides
    its results. ``stages/`` has a link to each artifact; the artifacts of all runs below one root lie beside the runs,
    in ``artifacts/``. ``arms.json`` says how an ablation went, ``results.*`` or ``ablation.*`` what was found,
    ``hub.json`` has pinned commits, ``report/`` is the report's, and ``slurm/`` has the files of its jobs and, in
    ``slurm.json``, the one that ends it.
    """

    path: Path

    @property
    def plan_file(self) -> Path:
        """The run's stages, subjects and points."""
        return self.path / PLAN

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe, without its arms' overrides."""
        return self.path / "recipe.yaml"

    @property
    def key_file(self) -> Path:
        """The hash of everything that decides the results."""
        return self.path / "run.key"

    @property
    def stages(self) -> Path:
        """Links to the artifacts."""
        return self.path / "stages"

    @property
    def course_file(self) -> Path:
        """How an ablation went."""
        return self.path / "arms.json"

    @property
    def report(self) -> Path:
        """The report's folder."""
        return self.path / "report"

    @property
    def exports(self) -> Path:
        """Models and responses for other tools."""
        return self.path / "export"

    @property
    def slurm(self) -> Path:
        """The files of the run's jobs."""
        return self.path / "slurm"

    @property
    def last_job(self) -> Path:
        """Which job ends the run."""
        return Artifact(self.slurm).job

    @property
    def hub_file(self) -> Path:
        """The commits of the hub's models and data sets that the run takes."""
        return self.path / "hub.json"

    @property
    def rounds_file(self) -> Path:
        """The rounds of jobs between which successive halving decides on a cluster."""
        return self.slurm / "rounds.json"

    @property
    def ended_file(self) -> Path:
        """The artifacts that successive halving has ended on a cluster, one a line."""
        return self.slurm / "ended"

    def rounds_jobs(self) -> dict[str, str]:
        """Return what the jobs of those rounds are, by their ids."""
        found = dict[str, str]()
        names = {stage.key: stage.label for stage in self.plan().stages}
        for turn in read_object(self.rounds_file).get("rounds", []):
            where = "" if turn["until"] is None else f" to step {turn['until']}"
            found |= {job["job"]: f"{names.get(key, key)}{where}" for key, job in turn["jobs"].items()}
            found |= {turn["rung"]: f"the choice at step {turn['until']}"} if turn["rung"] else {}
        return found

    @property
    def tables(self) -> list[Path]:
        """The tables that a finished run has."""
        return [*sorted(self.path.glob("results*.md")), *self.path.glob("ablation.md"), *self.path.glob("methods.md")]

    @property
    def root(self) -> Path:
        """The folder of all runs."""
        return self.path.resolve().parent

    @property
    def exists(self) -> bool:
        """Whether this is the folder of a run."""
        return self.plan_file.is_file()

    def plan(self) -> Plan:
        """Read the plan.

        Raises:
            DataError: it is damaged, or a later version of adhere wrote it.
        """
        return read_plan(self.plan_file)

    def record(self, plan: Plan) -> None:
        """Write the plan, and remove the links of stages that the plan before had under other names."""
        try:
            before = self.plan().stages if self.exists else ()
        except DataError:
            before = ()  # the plan is damaged, and written again
        names = {slug(stage.label) for stage in plan.stages}
        for stage in before:
            link = self.stages / slug(stage.label)
            ours = (artifacts_below(self.root) / stage.artifact).resolve()
            if link.name not in names and link.is_symlink() and link.resolve() == ours:
                link.unlink()
        write_plan(self.plan_file, plan)

    def recipe(self) -> dict[str, Any]:
        """Read the recipe as plain values."""
        return read_object(self.recipe_file)

    def artifact(self, stage: StageRecord) -> Artifact:
        """Return a stage's artifact: through the link where it leads somewhere, so that a copied run is read too."""
        link = self.stages / slug(stage.label)
        if link.exists():
            return Artifact(link.resolve())
        return Artifact(artifacts_below(self.root) / stage.artifact)

    def link(self, label: str, artifact: Artifact) -> None:
        """Show an artifact in the run's folder under its stage's label."""
        self.stages.mkdir(parents=True, exist_ok=True)
        link = self.stages / slug(label)
        new = self.stages / f".{link.name}.{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(os.path.relpath(artifact.path, self.stages))
        new.replace(link)

    def stage_links(self) -> list[Path]:
        """Return the links to artifacts that hold a stage, by name."""
        links = self.stages.iterdir() if self.stages.is_dir() else ()
        return sorted(path for path in links if (path / SPEC).is_file())

    def ended_early(self, plan: Plan) -> frozenset[str]:
        """Return the keys of the stages whose every arm is of a point that successive halving ended.

        Raises:
            DataError: ``arms.json`` is damaged.
        """
        try:
            rungs = read_object(self.course_file).get("rungs", [])
            ended = {point for rung in rungs for point in rung["ended"]}
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{self.course_file}: is damaged; the command that started the ablation writes it again"
            ) from error
        arms = {arm for arm, (point, _) in plan.points.items() if point in ended}
        return frozenset(stage.key for stage in plan.stages if stage.arms and set(stage.arms) <= arms)


def find_run(name: str) -> RunFolder:
    """Return the run called ``name``: its folder, or its name below ``runs/``.

    Raises:
        ConfigError: no run has this name.
    """
    for folder in (Path(name).expanduser(), Path("runs") / name):
        if RunFolder(folder).exists:
            return RunFolder(folder.resolve())
    raise ConfigError(f"{name}: there is no run of that name here; give its folder, such as runs/latest")


def runs_below(folder: Path) -> list[RunFolder]:
    """Return the runs directly below ``folder``, or below its ``runs/`` and ``arms/``, each once."""
    found: dict[Path, RunFolder] = {}
    for plan in sorted(path for place in ("*", "runs/*", "arms/*") for path in folder.glob(f"{place}/{PLAN}")):
        found.setdefault(plan.parent.resolve(), RunFolder(plan.parent))
    return list(found.values())


def as_run(folder: Path) -> RunFolder:
    """Return the run whose folder this is.

    Raises:
        ConfigError: it is not the folder of a run.
    """
    if not RunFolder(folder).exists:
        raise ConfigError(f"{folder}: is not the folder of a run (it has no {PLAN}); runs are below runs/")
    return RunFolder(folder)
