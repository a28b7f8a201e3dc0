"""A run: a recipe, its arms and the graph of their stages, and what each stage's worker reads. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from adhere.evaluation.suites import SUITES
from adhere.records.artifact import Artifact, artifacts_below
from adhere.records.names import ONLY
from adhere.records.objects import read_object, write_yaml
from adhere.records.plan import ModelRecord, Plan, StageRecord
from adhere.records.run import RunFolder
from adhere.rewards.errors import ConfigError, nearest
from adhere.train.config.ablation import override_key
from adhere.train.config.adapters import adapter_problems
from adhere.train.config.compose import compose_recipe, compose_variants
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import BASE, StageConfig
from adhere.train.config.schema import PROFILE_WARM_UP, Recipe
from adhere.train.config.stage import StageSpec
from adhere.train.run.graph import Graph, PlannedStage, build_graph, compared, digest, order, stage_settings
from adhere.train.run.hub import pinned, pins
from adhere.train.run.rehearsed import rehearsal_of


@dataclass(frozen=True, slots=True)
class Run:
    """A composed recipe, its arms, and the graph of their stages."""

    recipe: Recipe
    arms: Mapping[str, Recipe]
    graph: Graph
    overrides: tuple[str, ...] = ()
    members: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The point and the seed of each arm of an ablation."""
    rehearsal: bool = False
    """Whether the run is made by ``adhere rehearse``: only for what a rehearsal needs."""

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
    def points(self) -> tuple[str, ...]:
        """The points of an ablation, in order."""
        return tuple(dict.fromkeys(point for point, _ in self.members.values()))

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
    arms, extra = compose_arms(recipe, overrides)
    return Run(recipe, arms, plan_stages(overrides, arms, extra), tuple(overrides))


def compose_arms(recipe: Recipe, overrides: Sequence[str]) -> tuple[dict[str, Recipe], dict[str, list[str]]]:
    """Return the recipe of each arm, and the overrides that each adds; a recipe without arms is its only one."""
    extra = {arm: [*own, "~arms"] for arm, own in recipe.arms.items()}
    return dict(compose_variants(overrides, extra) or {ONLY: recipe}), extra


def plan_rehearsal(overrides: Sequence[str], wanted: str | None = None) -> Run:
    """Plan a rehearsal of the recipe's GRPO stages: for each a stage of kind ``rehearse``, and what it starts from.

    Args:
        overrides: the command's.
        wanted: the only GRPO stage to rehearse: its name, its arm's, or its label as in ``grpo[composite]``.

    Raises:
        ConfigError: the recipe has no GRPO stage, or none of that name.
    """
    recipe = compose_recipe(overrides)
    arms, extra = compose_arms(recipe, overrides)
    names: dict[tuple[str, str], str] = {}
    for arm, found in arms.items():
        grpo = [name for name, stage in found.stages.items() if stage.kind == "grpo"]
        stages = dict(found.stages)
        for name in grpo:
            before = StageConfig(kind="rehearse", source=stages[name].source, overrides=stages[name].overrides)
            names[arm, name] = f"rehearse_{name}" if len(grpo) > 1 or "rehearse" in found.stages else "rehearse"
            stages[names[arm, name]] = before
        arms[arm] = found.model_copy(update={"stages": stages})
    if not names:
        raise ConfigError(
            "stages: the recipe has no GRPO stage, and only those are rehearsed; stages=[sft,grpo] has one"
        )
    called = {pair: {pair[1], pair[0], f"{pair[1]}[{pair[0]}]"} - {ONLY} for pair in names}
    chosen = [pair for pair in names if wanted is None or wanted in called[pair]]
    if not chosen:
        known = sorted(set().union(*called.values()))
        raise ConfigError(
            f"there is no GRPO stage '{wanted}'{nearest(wanted or '', known)}; there are {', '.join(known)}"
        )

    graph, kept = plan_stages(overrides, arms, extra), dict[str, PlannedStage]()
    # What is rehearsed is planned beside all other stages, so that the stages that it starts from have their own keys.
    waiting = [
        key
        for key, stage in graph.stages.items()
        if any(stage.name == names[pair] and pair[0] in stage.arms for pair in chosen)
    ]
    while waiting:
        key = waiting.pop()
        kept[key] = graph.stages[key]
        waiting += [before for before in kept[key].inputs.values() if before not in kept]
    graph = Graph({key: stage for key, stage in graph.stages.items() if key in kept})
    name = f"{recipe.run.name or recipe.name}-rehearsal-{digest(sorted(kept))[:8]}"
    recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"name": name})})
    rehearsed = {arm: arms[arm] for arm, _ in chosen}
    return Run(recipe, rehearsed, graph, tuple(overrides), rehearsal=True)


def plan_stages(overrides: Sequence[str], arms: Mapping[str, Recipe], extra: Mapping[str, Sequence[str]]) -> Graph:
    """Plan the stages of all ``arms``, each stage with the recipe that its own overrides make of its arm's.

    Args:
        overrides: what the command says; they come first.
        arms: the recipe of each arm.
        extra: the overrides of each arm, which come second; an arm that is not in it has none.

    Raises:
        ConfigError: a stage's overrides do not compose, or its kind finds that its settings cannot work.
    """
    own = {
        (arm, name): [*extra.get(arm, []), *stage.overrides]
        for arm, recipe in arms.items()
        for name, stage in recipe.stages.items()
        if stage.overrides
    }

    def where(pair: tuple[str, str]) -> str:
        return f"stages.{pair[1]}.with" + (f" (arm {pair[0]})" if len(arms) > 1 else "")

    composed = compose_variants(overrides, own, where)
    planned: dict[str, dict[str, Recipe]] = {}
    problems: dict[str, None] = {}
    for arm, recipe in arms.items():
        recipes = {name: composed.get((arm, name), recipe) for name in recipe.stages}
        # What any stage measures on is kept out of what any other one trains on.
        suites = [file for n, r in recipes.items() if recipe.stages[n].kind == "evaluate" for file in suite_files(r)]
        if recipe.kinds != {"evaluate"}:
            recipes = {name: _without(found, suites) for name, found in recipes.items()}
        recipes = {name: found.model_copy(update={"stages": recipe.stages}) for name, found in recipes.items()}
        for name, found in recipes.items():
            stage = recipe.stages[name]
            if (found.model.path, found.model.revision) != (recipe.model.path, recipe.model.revision):
                text = "model.path: a run has one model; name another one in the recipe, or in an arm"
                problems[f"stages.{name}.with: {text}"] = None
            problems |= {f"stages.{name}: {text}": None for text in kind_of(stage.kind).problems(found, stage)}
        problems |= dict.fromkeys(adapter_problems(recipe.stages, recipes))
        planned[arm] = recipes
    if problems:
        raise ConfigError("\n".join(problems))
    return build_graph(planned)


def suite_files(recipe: Recipe) -> list[str]:
    """Return the files that the recipe is measured on, besides its own evaluation data."""
    files = SUITES[recipe.evaluation.suite].files(recipe.evaluation.source)
    return [str(file) for file in files if file.exists()]


def _without(recipe: Recipe, files: Sequence[str]) -> Recipe:
    """Return ``recipe`` with ``files`` among those that training items must not overlap."""
    known = recipe.data.decontaminate_against
    against = [*known, *dict.fromkeys(file for file in files if file not in known)]
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"decontaminate_against": against})})


def missing_inputs(run: Run) -> list[str]:
    """Return what the run needs and does not find, one message each: files of suites, prompts of a rehearsal."""
    measured = [stage.recipe.evaluation for stage in run.graph.stages.values() if stage.kind == "evaluate"]
    paths = {e.path: e.suite for e in measured if e.path is not None and not Path(e.path).exists()}
    hints = {"mathif": "; MathIF's *.jsonl files are the hub's data set TingchenFu/MathIF"}
    hints |= {name: f"; leave it out to load the hub's {kind.hub}" for name, kind in SUITES.items() if kind.hub}
    missing = {f"evaluation.path: there is no '{path}'{hints.get(suite, '')}": None for path, suite in paths.items()}
    for stage in run.graph.stages.values():
        groups, items = stage.recipe.rehearse.groups, stage.recipe.data.train_size
        if stage.kind == "rehearse" and items is not None and groups > items:
            there = f"there are at most {items} (data.train_size)"
            missing[f"rehearse.groups: {groups} groups need as many prompts, and {there}; lower it"] = None
    return list(missing)


def unread_overrides(run: Run) -> list[str]:
    """Return a warning for each override in a stage's ``with:`` of a section that its kind does not read.

    And one for each stage in which ``profile`` traces nothing.
    """
    found: dict[str, None] = {}
    if run.recipe.profile is not None and not any(
        kind_of(stage.kind).workload in ("sft", "grpo") for stage in order(run.graph)
    ):
        found["profile: traces nothing: no stage of the run trains by SFT or GRPO"] = None
    for stage in order(run.graph):
        kind = kind_of(stage.kind)
        if stage.recipe.profile is not None and kind.workload in ("sft", "grpo"):
            steps = kind.steps(stage.recipe)
            if steps is not None and steps <= PROFILE_WARM_UP:
                text = f"the first {PROFILE_WARM_UP} steps are not traced, and {stage.label} has {steps}"
                found[f"profile: traces nothing of {stage.label}: {text}; raise its max_steps"] = None
        read = {"model", "launcher", "strategy", "tracking", "preflight"} | {*stage_settings(stage.kind, stage.recipe)}
        read |= {"data"} if kind_of(stage.kind).data is not None else set()
        for override in stage.recipe.stages[stage.name].overrides:
            section = override_key(override).partition(".")[0].partition("@")[0]
            if section not in read:
                text = f"'{override}' changes nothing: a stage of kind {stage.kind} does not read {section}"
                found[f"stages.{stage.name}.with: {text}"] = None
    return list(found)


def joint_rate(run: Run) -> float | None:
    """Return the joint rate of the last evaluated model, its accuracy where it has none, or nothing."""
    if not (models := compared(run.graph)):
        return None
    results = read_object(run.artifact(models[-1][1].key).results)
    found = [results["metrics"][name]["mean"] for name in ("joint", "accuracy")]
    return next((float(value) for value in found if value is not None), None)


def plan_record(run: Run) -> Plan:
    """Return what ``plan.json`` says of the run."""
    stages = [
        StageRecord(
            label=s.label,
            name=s.name,
            kind=s.kind,
            key=s.key,
            artifact=s.folder,
            inputs=s.inputs,
            arms=s.arms,
            steps=kind_of(s.kind).steps(s.recipe),
            command=run.command(s.arms[0]),
        )
        for s in order(run.graph)
    ]
    # Where nothing is trained, the model that is measured is called by its own name: of the hub, of its folder, or of
    # the stage that made it.
    alone = {stage.kind for stage in run.graph.stages.values()} == {"evaluate"}
    path = Path(run.recipe.model.path)
    maker = Artifact(path.parent)
    label = read_object(maker.spec).get("label") if path.name == maker.model.name and maker.spec.is_file() else None
    called = {BASE: str(label or path.name)} if alone else {}
    models = [
        ModelRecord(called.get(name, name), e.arm, e.stage, None if e.model == BASE else e.model, e.key)
        for name, e in compared(run.graph)
    ]
    return Plan(tuple(stages), tuple(models), run.members, version("adhere"))


def write_spec(run: Run, stage: PlannedStage, until: int | None = None) -> Path:
    """Write what the stage's worker reads, and return its path; with ``until`` it pauses at that optimizer step."""
    spec = spec_of(run, stage, until)
    spec.artifact.mkdir(parents=True, exist_ok=True)
    path = Artifact(spec.artifact).spec
    write_yaml(path, spec.model_dump(mode="json"))
    return path


def spec_of(run: Run, stage: PlannedStage, until: int | None = None) -> StageSpec:
    """Return what the stage's worker reads."""
    rehearsal = rehearsal_of(run.root, stage) if stage.kind == "grpo" else None
    return StageSpec(
        kind=stage.kind,
        label=stage.label,
        key=stage.key,
        artifact=run.artifact(stage.key).path,
        inputs={name: run.artifact(key).path for name, key in stage.inputs.items()},
        models={
            role: [stage.recipe.model.path if key is None else str(run.artifact(key).model) for key in keys]
            for role, keys in stage.further.items()
        },
        members={arm: run.members[arm] for arm in stage.arms if arm in run.members},
        rehearsed=None if rehearsal is None else (rehearsal["live_groups"], rehearsal["groups"]),
        until=until,
        recipe=pinned(stage.recipe, pins(RunFolder(run.path))),
    )
