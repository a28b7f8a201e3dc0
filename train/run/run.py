"""A run: the folder of one recipe and its arms, and the driver that brings its stages to their end. No torch."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adhere.evaluation.run import RESULTS
from adhere.records.artifact import Artifact
from adhere.records.objects import write_yaml
from adhere.rewards.errors import ConfigError
from adhere.rewards.files import write_json
from adhere.train.config.compose import compose_recipe, compose_variants
from adhere.train.config.schema import Recipe
from adhere.train.config.stage import StageSpec
from adhere.train.launch.local.stage import check_launcher, run_stage
from adhere.train.launch.serve.servers import check_servers
from adhere.train.run.card import write_card
from adhere.train.run.graph import Graph, PlannedStage, build_graph, digest, order
from adhere.train.run.results import Entry, joint_differences, write_results

ONLY = "run"
"""Name of the only arm of a recipe without arms."""


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
        return Artifact(self.root / "artifacts" / self.graph.stages[key].folder)


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
    finish(run)
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
        _link(run, stage, run.artifact(stage.key))


def finish(run: Run) -> None:
    """Write the comparison of the evaluated models, and the card of every trained one."""
    table = write_results(run.path, measured(run), run.recipe.name, run.members, run.recipe.ablation.reference)
    _write_cards(run, table)


def comparison(run: Run) -> list[Entry]:
    """Return the models that are to be evaluated in the order of a table: base and SFT once, then each arm."""
    entries: dict[str, Entry] = {}
    for arm, subjects in run.graph.subjects.items():
        for subject, key in subjects.items():
            name = arm if subject == "grpo" and arm != ONLY else subject
            if subject != "grpo" and key in (e.key for e in entries.values()):
                continue
            name = name if name not in entries else f"{name}[{arm}]"
            entries[name] = Entry(name, run.artifact(key).path, key)
    ranked = ("base", "sft")
    return sorted(entries.values(), key=lambda e: ranked.index(e.name) if e.name in ranked else len(ranked))


def measured(run: Run) -> list[Entry]:
    """Return those of the models to be evaluated that are."""
    return [entry for entry in comparison(run) if run.artifact(entry.key).done]


def joint_rate(run: Run) -> float | None:
    """Return the joint rate of the last evaluated model, its accuracy where it has none, or nothing."""
    if not run.graph.subjects:
        return None
    results = json.loads((measured(run)[-1].path / RESULTS).read_text(encoding="utf-8"))
    found = [results["metrics"][name]["mean"] for name in ("joint", "accuracy")]
    return next((float(value) for value in found if value is not None), None)


def _write_cards(run: Run, table: Path) -> None:
    """Put a model card beside the weights of every trained stage that has none."""
    trained = [(stage, run.artifact(stage.key)) for stage in order(run.graph) if stage.kind != "evaluate"]
    ended = [(stage.arms[0], artifact) for stage, artifact in trained if artifact.done]
    bare = [(arm, artifact) for arm, artifact in ended if not (artifact.model / "README.md").exists()]
    differences = joint_differences(measured(run)) if bare and not run.members else []
    for arm, artifact in bare:
        write_card(artifact, run.arms[arm], table, run.command(arm), differences)


def _claim(run: Run) -> None:
    """Take the run's folder, or find that it is ours already."""
    path = run.path / "run.key"
    if path.exists() and path.read_text(encoding="utf-8").strip() != run.content:
        raise ConfigError(
            f"run.name: {run.path} holds a run of another configuration; choose another run.name, or leave it out and "
            f"the folder is named after the configuration"
        )
    write_yaml(run.path / "recipe.yaml", run.recipe.model_dump(mode="json"))
    stages = [
        {
            "label": s.label,
            "key": s.key,
            "artifact": s.folder,
            "inputs": dict(s.inputs),
            "arms": list(s.arms),
            "steps": _steps(run.arms[s.arms[0]], s.kind),
        }
        for s in order(run.graph)
    ]
    members = {arm: {"point": point, "seed": seed} for arm, (point, seed) in run.members.items()}
    write_json(run.path / "plan.json", {"stages": stages, "subjects": run.graph.subjects, "points": members})
    path.write_text(run.content + "\n", encoding="utf-8")
    latest = run.root / "latest"
    if latest.is_symlink() or not latest.exists():
        latest.unlink(missing_ok=True)
        latest.symlink_to(run.path.name)


def _steps(recipe: Recipe, kind: str) -> int | None:
    """Return how many optimizer steps a stage has, where the recipe says so."""
    steps = {"sft": recipe.sft.max_steps, "grpo": recipe.grpo.max_steps}.get(kind, -1)
    return steps if steps > 0 else None


def _link(run: Run, stage: PlannedStage, artifact: Artifact) -> None:
    """Show the artifact in the run's folder under its label."""
    folder = run.path / "stages"
    folder.mkdir(exist_ok=True)
    link = folder / stage.label.replace("[", "-").replace("]", "")
    new = folder / f".{link.name}.{os.getpid()}"
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(artifact.path, folder))
    new.replace(link)


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
