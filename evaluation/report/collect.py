"""Find what a report is about: the stages of a run or of an ablation, what they logged, and the evaluated models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adhere.evaluation.ablation.analysis import MARGIN
from adhere.records.artifact import REHEARSAL, RESULTS, SPEC, Artifact, locked_inodes
from adhere.records.course import Course, read_course
from adhere.records.jsonl import read_jsonl
from adhere.records.objects import read_object
from adhere.records.run import PLAN, RunFolder, runs_below
from adhere.records.state import State, find_state
from adhere.records.tables import rollout_files
from adhere.rewards.errors import ConfigError, DataError

DIAGNOSTICS = "diagnostics*/diagnostics.json"
"""Where a run keeps what ``adhere diagnose MODEL to=RUN/diagnostics`` found."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its label in the plan, its artifact's folder, and where it stands.

    ``sources`` has the labels of the stages that it starts from, none where that is the recipe's model.
    """

    label: str
    kind: str
    key: str
    path: Path
    state: State
    seed: int | None
    seconds: float | None
    versions: Mapping[str, str]
    data: Mapping[str, Any]
    recipe: Mapping[str, Any]
    message: str = ""
    sources: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """What made the stage's model of what, in words."""
        *most, last = self.sources or ("the base model",)
        return f"{self.kind} from {', '.join(most)}{' and ' if most else ''}{last}"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluated model: its name in tables, the seed it was trained with, and what was measured.

    ``group`` is the name without the seed: the models of one group are the seeds of one arm. ``origin`` says which
    kind of stage made the model from what, ``candidate`` whether it is a result of the run's training: where rewards
    were trained on, the models that have this behind them, else all that were trained. ``evaluation`` is the stage that
    measured it, ``model`` its group without that, and ``parents`` the measured models that it was trained from.
    """

    name: str
    group: str
    seed: int | None
    path: Path
    results: Mapping[str, Any]
    origin: str = ""
    candidate: bool = True
    evaluation: str = ""
    model: str = ""
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trained:
    """One stage that was trained on rewards, of one arm and seed: its resolved recipe, and the rows that it logged.

    ``unreadable`` counts the lines of its logs that are not rows.
    """

    name: str
    group: str
    seed: int | None
    recipe: Mapping[str, Any]
    path: Path
    metrics: Sequence[Mapping[str, Any]]
    alarms: Sequence[Mapping[str, Any]]
    unreadable: int = 0

    @property
    def components(self) -> Mapping[str, Mapping[str, Any]]:
        """The reward components of its recipe, by name."""
        found = self.recipe.get("rewards", {}).get("components", {})
        return found if isinstance(found, Mapping) else {}


@dataclass(slots=True)
class ReportData:
    """All that a report says, before it is drawn.

    ``rehearsals`` has the label and figures of each rehearsal, ``trained`` the stages that rewards trained, ``taught``
    the other stages that logged steps, such as SFT, ``evaluated`` the models, ``stages`` all stages. ``wanted`` is the
    group that the recipe names as the reference, ``margin`` the points of accuracy that may be lost, ``diagnostics``
    the figures of ``adhere diagnose``. ``courses`` say how ablations went, and ``ended`` at which step, of how many,
    halving ended a group. ``missing`` says, one sentence each, what cannot be shown yet.
    """

    title: str
    folder: Path
    rehearsals: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    taught: list[Trained] = field(default_factory=list)
    evaluated: list[Evaluated] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    ended: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    diagnostics: list[Mapping[str, Any]] = field(default_factory=list)
    wanted: str | None = None
    margin: float = MARGIN

    def note(self, group: str) -> str:
        """Return what sets a group apart from those that were trained to their end; nothing for most."""
        if group not in self.ended:
            return ""
        step, total = self.ended[group]
        return f"ended at step {step}" + (f" of {total}" if total else "")

    def shown_as(self, group: str) -> set[str]:
        """Return the groups of ``evaluated`` that measure a group of ``trained``: one for each evaluation."""
        return {entry.group for entry in self.evaluated if entry.group == group or entry.group.endswith(f": {group}")}

    @property
    def groups(self) -> list[str]:
        """The names in ``trained`` without their seeds, in order."""
        return list(dict.fromkeys(entry.group for entry in self.trained))

    @property
    def branched(self) -> bool:
        """Whether the stages are more than SFT, then GRPO: then a name does not say how a model was made."""
        kinds = {stage.label: stage.kind for stage in self.stages}
        plain: dict[str, set[tuple[str, ...]]] = {"sft": {()}, "grpo": {(), ("sft",)}}
        found = [(s.kind, tuple(kinds[source] for source in s.sources)) for s in self.stages if s.kind != "evaluate"]
        return any(sources not in plain.get(kind, set()) for kind, sources in found)

    @property
    def reference(self) -> str | None:
        """The group that the others are compared with: the one that the recipe names, or the first trained one."""
        names = [self.wanted] if self.wanted in {e.group for e in self.evaluated} else self.groups
        shown = [self.shown_as(name) for name in names if name is not None]
        return next((e.group for found in shown for e in self.evaluated if e.group in found), None)


def collect(path: Path, *more: Path) -> ReportData:
    """Read a run's folder, a folder of runs (an ablation), or one stage's artifact; or several runs as one.

    Of several, those whose recipes differ in seeds alone are the seeds of one; else names begin with the run's.

    Args:
        path: any of the three; with ``more``, runs or folders of runs.
        more: further ones.

    Raises:
        ConfigError: ``path`` is none of them, or with ``more`` one is not a run, or is named twice.
        DataError: one of its files cannot be read.
    """
    if more:
        return _collect_several([path, *more])
    if not RunFolder(path).exists and Artifact(path).spec.is_file():
        spec = read_object(Artifact(path).spec)
        if missing := [key for key in ("label", "kind", "key") if not isinstance(spec.get(key), str)]:
            raise DataError(f"{path / SPEC}: has no '{missing[0]}'; the command that started the run writes it again")
        stage = _stage(Artifact(path.resolve()), spec["label"], spec["kind"], spec["key"], locked_inodes())
        data = ReportData(f"{stage.recipe.get('name', '')}: {stage.label}", path, stages=[stage])
        if on_rewards(stage):
            data.trained.append(_trained(stage, stage.kind, stage.kind, stage.seed))
        elif Artifact(stage.path).metrics.is_file():
            data.taught.append(_trained(stage, stage.kind, stage.kind, stage.seed))
        if rehearsal := read_object(path / REHEARSAL):
            data.rehearsals.append((stage.label, rehearsal))
        if results := read_object(path / RESULTS):
            data.evaluated.append(Evaluated(stage.label, stage.label, stage.seed, stage.path, results))
        data.missing += missing_yet(data)
        return data

    runs = [RunFolder(path)] if RunFolder(path).exists else runs_below(path)
    if not runs:
        raise ConfigError(
            f"{path}: is neither a run (it has no {PLAN}), nor a stage (no {SPEC}), nor a folder of runs; runs are "
            f"below runs/, the newest is runs/latest"
        )
    names = [str(run.recipe().get("name", run.path.name)) for run in runs]
    data = ReportData(names[0] if len(runs) == 1 else path.resolve().name, path)
    known: set[str] = set()
    for file in dict.fromkeys(f for place in (path, *(r.path for r in runs)) for f in sorted(place.glob(DIAGNOSTICS))):
        found = read_object(file)
        if not isinstance(found.get("diagnostics"), Mapping) or not isinstance(found.get("model"), str):
            raise DataError(f"{file}: is not written by adhere diagnose; remove it, or run adhere diagnose again")
        data.diagnostics.append(found)
    for run, name in zip(runs, names, strict=True):
        _add_run(data, run, "" if len(set(names)) == 1 else f"{name}/", known)
    return _named(data)


def _collect_several(paths: Sequence[Path]) -> ReportData:
    """Read several runs as one report."""
    runs: dict[Path, RunFolder] = {}
    for path in paths:
        found = [RunFolder(path)] if RunFolder(path).exists else runs_below(path)
        if not found:
            raise ConfigError(f"{path}: is neither a run (it has no {PLAN}) nor a folder of runs; name runs to compare")
        for run in found:
            if run.path.resolve() in runs:
                raise ConfigError(f"{run.path}: is named twice; a run does not differ from itself")
            runs[run.path.resolve()] = run
    # Runs whose recipes differ in their seeds alone are called alike, after the first of them.
    called: dict[str, str] = {}
    prefixes = []
    for place, run in runs.items():
        recipe = without_seeds(run.recipe())
        settings = json.dumps([recipe, sorted({stage.label for stage in run.plan().stages})], sort_keys=True)
        taken = set(called.values())
        name = place.name if place.name not in taken else f"{place.parent.name}/{place.name}"
        prefixes.append(called.setdefault(settings, name if name not in taken else str(place)))
    data = ReportData(" · ".join(dict.fromkeys(path.resolve().name for path in paths)), paths[0])
    known: set[str] = set()
    for run, prefix in zip(runs.values(), prefixes, strict=True):
        _add_run(data, run, f"{prefix}/" if len(called) > 1 else "", known)
    return _named(data)


def without_seeds(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe can differ for a reason: all but its seeds and where its run lies."""
    found = {key: value for key, value in recipe.items() if key not in ("run", "seed")}
    if isinstance(found.get("grpo"), dict):
        found["grpo"] = {key: value for key, value in found["grpo"].items() if key != "seed"}
    return found


def _named(data: ReportData) -> ReportData:
    """Give every entry a name of its own, and say what is missing."""

    # What has one name gets its seed: `composite · seed 1`, in the group `composite`. Equal seeds of one name, from
    # runs of different recipes, are numbered.
    def told_apart(entry: Any, among: Sequence[Any]) -> Any:
        same = [other for other in among if other.group == entry.group]
        if len(same) == 1:
            return entry
        name = f"{entry.group} · seed {entry.seed}"
        twins = [other for other in same if other.seed == entry.seed]
        return replace(entry, name=name if len(twins) == 1 else f"{name} ({twins.index(entry) + 1})")

    data.trained = [told_apart(entry, data.trained) for entry in data.trained]
    data.taught = [told_apart(entry, data.taught) for entry in data.taught]
    data.evaluated = [told_apart(entry, data.evaluated) for entry in data.evaluated]
    data.missing += missing_yet(data)
    return data


def on_rewards(stage: Stage) -> bool:
    """Whether a stage trains on rewards: GRPO, and a kind of the user's own that writes rollouts as GRPO does."""
    return stage.kind == "grpo" or bool(rollout_files(Artifact(stage.path).rollouts))


def _add_run(data: ReportData, run: RunFolder, prefix: str, known: set[str]) -> None:
    plan, locks = run.plan(), locked_inodes()
    ended = run.ended_early(plan)
    labels = {planned.key: planned.label for planned in plan.stages}
    stages: dict[str, Stage] = {}
    rewarded: set[str] = set()
    for planned in plan.stages:
        early = planned.key in ended
        stage = _stage(run.artifact(planned), planned.label, planned.kind, planned.key, locks, ended_early=early)
        stage = replace(stage, sources=tuple(dict.fromkeys(labels[key] for key in planned.inputs.values())))
        stages[planned.key] = stage
        if on_rewards(stage) or rewarded & set(planned.inputs.values()):
            rewarded.add(planned.key)
        if planned.key not in known:
            known.add(planned.key)
            data.stages.append(stage)
            if rehearsal := read_object(stage.path / REHEARSAL):
                data.rehearsals.append((prefix + stage.label, rehearsal))

    # Where a run has several evaluations, the name of a model begins with that of its own.
    made = {
        m.key: next((p.key for p in plan.stages if m.model is not None and p.name == m.model and m.arm in p.arms), None)
        for m in plan.models
    }
    suites = {m.key: f"{m.evaluation}: " if m.name.startswith(f"{m.evaluation}: ") else "" for m in plan.models}
    called: dict[str | None, str] = {}
    for model in plan.models:
        called.setdefault(made[model.key], model.name.removeprefix(suites[model.key]))

    def grouped(name: str, arm: str, seed: int | None) -> tuple[str, int | None]:
        """Return the group and seed of what is named after an arm: those of its point, where the run is an ablation."""
        if arm not in plan.points or (name != arm and f"[{arm}]" not in name):
            return name, seed
        point, trained_with = plan.points[arm]
        return point if name == arm else name.replace(f"[{arm}]", f"[{point}]"), trained_with

    # The stages that rewards trained, once each: they are called as their models are.
    members: dict[str | None, tuple[str, int | None]] = {}
    for arm in plan.arms:
        mine = [p for p in plan.stages if arm in p.arms and on_rewards(stages[p.key])]
        for planned in mine:
            stage = stages[planned.key]
            if f"trained {planned.key}" in known:
                continue
            known.add(f"trained {planned.key}")
            alone = arm if len(plan.arms) > 1 else planned.name
            name = called.get(planned.key, planned.label if len(mine) > 1 else alone)
            group, seed = grouped(name, arm, stage.seed)
            members[planned.key] = group, seed
            data.trained.append(_trained(stage, prefix + name, prefix + group, seed))

    # The other stages that logged steps, once each.
    for planned in plan.stages:
        stage = stages[planned.key]
        silent = on_rewards(stage) or not Artifact(stage.path).metrics.is_file()
        if not silent and f"taught {planned.key}" not in known:
            known.add(f"taught {planned.key}")
            group, seed = grouped(planned.label, planned.arms[0] if planned.arms else "", stage.seed)
            data.taught.append(_trained(stage, prefix + planned.label, prefix + group, seed))

    # How the ablation went, if the run is one.
    ablation = run.recipe().get("ablation", {})
    reference = ablation.get("reference")
    if reference is not None and data.wanted is None:
        data.wanted = prefix + str(reference)
    data.margin = float(ablation.get("margin", data.margin))
    if (course := read_course(run)) is not None:
        data.courses.append(course)
        for point, step in course.ended.items():
            first = next((entry for entry in data.trained if entry.group == prefix + point), None)
            data.ended[prefix + point] = (step, first.recipe.get("grpo", {}).get("max_steps") if first else None)

    # The measured models that a stage's model was trained from: the nearest of those before it, else the base model.
    inputs = {planned.key: tuple(planned.inputs.values()) for planned in plan.stages}

    def nearest(key: str, measured: Mapping[str | None, str]) -> list[str]:
        found = [m for s in inputs[key] for m in ([measured[s]] if s in measured else nearest(s, measured))]
        return found or ([measured[None]] if not inputs[key] and None in measured else [])

    # The evaluated models. A trained one has the seed that it was trained with, whatever seed its evaluation draws by.
    for model in plan.models:
        stage, source, suite = stages[model.key], made[model.key], suites[model.key]
        results = read_object(stage.path / RESULTS)
        if not results or f"evaluated {model.key}" in known:
            continue
        known.add(f"evaluated {model.key}")
        group, seed = members.get(source) or grouped(model.name.removeprefix(suite), model.arm, stage.seed)
        alike = {made[m.key]: m for m in plan.models if m.evaluation == model.evaluation and m.arm == model.arm}
        shared = {made[m.key]: m for m in plan.models if m.evaluation == model.evaluation} | alike
        measured = {
            key: (members.get(key) or grouped(m.name.removeprefix(suites[m.key]), m.arm, None))[0]
            for key, m in shared.items()
        }
        before = nearest(source, measured) if source else []
        data.evaluated.append(
            Evaluated(
                name=prefix + model.name,
                group=prefix + suite + group,
                seed=seed,
                path=stage.path,
                results=results,
                origin=stages[source].origin if source else "",
                candidate=source is not None and (source in rewarded or not rewarded),
                evaluation=model.evaluation,
                model=prefix + group,
                parents=tuple(dict.fromkeys(prefix + name for name in before if name != group)),
            )
        )


def _stage(
    artifact: Artifact, label: str, kind: str, key: str, locks: frozenset[int], *, ended_early: bool = False
) -> Stage:
    spec, made = read_object(artifact.spec), artifact.manifest()
    recipe = spec.get("recipe", {})
    return Stage(
        label=label,
        kind=kind,
        key=key,
        path=artifact.path,
        state=find_state(artifact, label, locks, ended_early=ended_early).state,
        seed=made.get("seed", recipe.get("seed")),
        seconds=made.get("seconds"),
        versions=made.get("versions", {}),
        data=read_object(artifact.data("evaluation" if kind == "evaluate" else "train")),
        recipe=recipe,
        message=artifact.message(),
    )


def _trained(stage: Stage, name: str, group: str, seed: int | None) -> Trained:
    metrics, alarms = (read_jsonl(path) for path in (Artifact(stage.path).metrics, Artifact(stage.path).alarms))
    rows = [row for row in metrics.rows if isinstance(row.get("step"), int)]
    unreadable = len(metrics.unreadable) + len(alarms.unreadable) + len(metrics.rows) - len(rows)
    return Trained(name, group, seed, stage.recipe, stage.path, rows, alarms.rows, unreadable)


LISTED = 4
"""Stages of one kind and state that are named one by one; of more, the first are named and the others counted."""


def missing_yet(data: ReportData) -> list[str]:
    """Return what cannot be shown yet, or not at all, a sentence each."""
    sentences: list[str] = []
    waiting: dict[tuple[str, State], list[str]] = {}
    for stage in data.stages:
        if stage.state is State.FAILED:
            sentences.append(f"{stage.label} failed: {stage.message or 'its log says why'}")
        elif not stage.state.settled:
            waiting.setdefault((stage.kind, stage.state), []).append(stage.label)
    for (kind, state), labels in waiting.items():
        if len(labels) <= LISTED:
            sentences += [f"{label} is not done ({state}); shown is what it has written so far" for label in labels]
            continue
        total = sum(stage.kind == kind for stage in data.stages)
        sentences.append(
            f"{len(labels)} of {total} {kind} stages are not done ({state}): {', '.join(labels[: LISTED - 1])} and "
            f"{len(labels) - LISTED + 1} more"
        )
    if not data.evaluated and any(stage.kind != "rehearse" for stage in data.stages[-1:]):
        sentences.append("No evaluation has finished: there is no table, no Pareto plot and no verdict yet")
    drawn = {stage.path for stage in data.stages if stage.kind == "rehearse"}
    silent = [entry.name for entry in data.trained if not entry.metrics and entry.path not in drawn]
    if len(silent) > LISTED:
        sentences.append(f"{len(silent)} of {len(data.trained)} arms have logged no step yet")
    else:
        sentences += [f"{name} has logged no step yet" for name in silent]
    for entry in data.trained:
        if entry.unreadable:
            sentences.append(f"{entry.unreadable} lines of the logs of {entry.name} cannot be read and are left out")
    return sentences


def recipe_differences(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the dotted keys in which the recipes differ, each with the value of every recipe as JSON text."""
    flat = {name: dict(_flatten(recipe)) for name, recipe in recipes.items()}
    keys = dict.fromkeys(key for found in flat.values() for key in found)
    rows = {key: {name: found.get(key, "—") for name, found in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if len(set(row.values())) > 1}


def _flatten(value: Any, at: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{at}.{key}" if at else str(key))]
    return [(at, json.dumps(value, ensure_ascii=False))]
