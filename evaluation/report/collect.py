"""Find what a report is about: the arms of a run or of an ablation, their stages, figures and evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adhere.records.artifact import RESULTS, SPEC, Artifact, locked_inodes
from adhere.records.course import Course, read_course
from adhere.records.jsonl import read_jsonl
from adhere.records.objects import read_object
from adhere.records.run import PLAN, RunFolder, runs_below
from adhere.records.state import State, find_state
from adhere.rewards.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its label in the plan, its artifact's folder, and where it stands."""

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


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluated model: its name in tables, the seed it was trained with, and what was measured.

    ``group`` is the name without the seed: the models of one group are the seeds of one arm.
    """

    name: str
    group: str
    seed: int | None
    path: Path
    results: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arm:
    """One trained arm and seed: its resolved recipe, GRPO stage, and the rows that it logged.

    ``unreadable`` counts the lines of its logs that are no rows.
    """

    name: str
    group: str
    seed: int | None
    recipe: Mapping[str, Any]
    grpo: Stage | None
    metrics: Sequence[Mapping[str, Any]]
    alarms: Sequence[Mapping[str, Any]]
    unreadable: int = 0

    @property
    def components(self) -> Mapping[str, Mapping[str, Any]]:
        """The reward components of the arm's recipe, by name."""
        found = self.recipe.get("rewards", {}).get("components", {})
        return found if isinstance(found, Mapping) else {}


@dataclass(slots=True)
class ReportData:
    """All that a report says, before it is drawn.

    ``wanted`` is the group that the recipe names as the reference. ``courses`` say how ablations went, and ``ended``
    at which step, of how many, halving ended a group. ``missing`` says, one sentence each, what could not be shown
    because it is not there yet.
    """

    title: str
    folder: Path
    arms: list[Arm] = field(default_factory=list)
    evaluated: list[Evaluated] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    ended: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    wanted: str | None = None

    def note(self, group: str) -> str:
        """Return what sets a group apart from those that were trained to their end; nothing for most."""
        if group not in self.ended:
            return ""
        step, total = self.ended[group]
        return f"ended at step {step}" + (f" of {total}" if total else "")

    @property
    def groups(self) -> list[str]:
        """The arms without their seeds, in order."""
        return list(dict.fromkeys(arm.group for arm in self.arms))

    @property
    def reference(self) -> str | None:
        """The group that the others are compared with: the one that the recipe names, or the first arm."""
        trained = [e.group for e in self.evaluated if e.group in self.groups]
        if self.wanted in {e.group for e in self.evaluated}:
            return self.wanted
        return next((group for group in self.groups if group in trained), None)


def collect(path: Path) -> ReportData:
    """Read a run's folder, a folder of runs (an ablation), or one stage's artifact.

    Raises:
        ConfigError: ``path`` is none of them.
        DataError: one of its files cannot be read.
    """
    if RunFolder(path).exists:
        return _of_runs(path, [RunFolder(path)])
    if Artifact(path).spec.is_file():
        return _of_stage(path)
    runs = runs_below(path)
    if not runs:
        raise ConfigError(
            f"{path}: is neither a run (it has no {PLAN}), nor a stage (no {SPEC}), nor a folder of runs; runs are "
            f"below runs/, the newest is runs/latest"
        )
    return _of_runs(path, runs)


def _of_runs(folder: Path, runs: Sequence[RunFolder]) -> ReportData:
    names = [str(run.recipe().get("name", run.path.name)) for run in runs]
    title = names[0] if len(runs) == 1 else folder.resolve().name
    data = ReportData(title, folder)
    known: set[str] = set()
    for run, name in zip(runs, names, strict=True):
        _add_run(data, run, "" if len(set(names)) == 1 else f"{name}/", known)
    _tell_seeds_apart(data)
    _say_missing(data)
    return data


def _add_run(data: ReportData, run: RunFolder, prefix: str, known: set[str]) -> None:
    plan, locks = run.plan(), locked_inodes()
    ended = run.ended_early(plan)
    stages = {}
    for planned in plan.stages:
        early = planned.key in ended
        stage = _stage(run.artifact(planned), planned.label, planned.kind, planned.key, locks, ended_early=early)
        stages[planned.key] = stage
        if planned.key not in known:
            known.add(planned.key)
            data.stages.append(stage)
    before = len(data.arms)
    for arm in plan.arms:
        rewarded = [(p, stages[p.key]) for p in plan.stages if arm in p.arms and p.kind == "grpo"]
        for planned, grpo in rewarded:
            if grpo.path in {a.grpo.path for a in data.arms if a.grpo}:
                continue
            group, seed = plan.points.get(arm, (None, grpo.seed))
            name = planned.label if len(rewarded) > 1 else arm if len(plan.arms) > 1 else planned.name
            data.arms.append(_arm(prefix + name, grpo, prefix + (group or name), seed))
    _add_course(data, run, prefix)
    members = {arm.name: (arm.group, arm.seed) for arm in data.arms[before:]}
    for model in plan.models:
        stage = stages[model.key]
        results = read_object(stage.path / RESULTS)
        if results and stage.path not in {e.path for e in data.evaluated}:
            # a trained model has the seed that it was trained with, whatever seed its evaluation draws by
            group, seed = members.get(prefix + model.name, (prefix + model.name, stage.seed))
            data.evaluated.append(Evaluated(prefix + model.name, group, seed, stage.path, results))


def _add_course(data: ReportData, run: RunFolder, prefix: str) -> None:
    course, reference = read_course(run), run.recipe().get("ablation", {}).get("reference")
    if reference is not None and data.wanted is None:
        data.wanted = prefix + str(reference)
    if course is None:
        return
    data.courses.append(course)
    for point, step in course.ended.items():
        arm = next((arm for arm in data.arms if arm.group == prefix + point), None)
        data.ended[prefix + point] = (step, arm.recipe.get("grpo", {}).get("max_steps") if arm else None)


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


def _arm(name: str, stage: Stage, group: str | None = None, seed: int | None = None) -> Arm:
    metrics, alarms = (read_jsonl(path) for path in (Artifact(stage.path).metrics, Artifact(stage.path).alarms))
    rows = [row for row in metrics.rows if isinstance(row.get("step"), int)]
    unreadable = len(metrics.unreadable) + len(alarms.unreadable) + len(metrics.rows) - len(rows)
    seed = stage.seed if seed is None else seed
    return Arm(name, group or name, seed, stage.recipe, stage, rows, alarms.rows, unreadable)


def _of_stage(path: Path) -> ReportData:
    spec = read_object(Artifact(path).spec)
    if missing := [key for key in ("label", "kind", "key") if not isinstance(spec.get(key), str)]:
        raise DataError(f"{path / SPEC}: has no '{missing[0]}'; the command that started the run writes it again")
    stage = _stage(Artifact(path.resolve()), spec["label"], spec["kind"], spec["key"], locked_inodes())
    data = ReportData(f"{stage.recipe.get('name', '')}: {stage.label}", path, stages=[stage])
    if stage.kind == "grpo":
        data.arms.append(_arm("grpo", stage))
    results = read_object(path / RESULTS)
    if results:
        data.evaluated.append(Evaluated(stage.label, stage.label, stage.seed, stage.path, results))
    _say_missing(data)
    return data


def _tell_seeds_apart(data: ReportData) -> None:
    """Give arms and models of one name their seed: ``composite · seed 1``, in the group ``composite``.

    Equal seeds of one name, from runs of different recipes, are numbered.
    """
    data.arms = [_renamed(arm, data.arms) for arm in data.arms]
    data.evaluated = [_renamed(entry, data.evaluated) for entry in data.evaluated]


def _renamed(entry: Any, among: Sequence[Any]) -> Any:
    same = [other for other in among if other.group == entry.group]
    if len(same) == 1:
        return entry
    name = f"{entry.group} · seed {entry.seed}"
    twins = [other for other in same if other.seed == entry.seed]
    return replace(entry, name=name if len(twins) == 1 else f"{name} ({twins.index(entry) + 1})")


LISTED = 4
"""Stages of one kind and state that are named one by one; of more, the first are named and the others counted."""


def _say_missing(data: ReportData) -> None:
    waiting: dict[tuple[str, State], list[str]] = {}
    for stage in data.stages:
        if stage.state is State.FAILED:
            data.missing.append(f"{stage.label} failed: {stage.message or 'its log says why'}")
        elif not stage.state.settled:
            waiting.setdefault((stage.kind, stage.state), []).append(stage.label)
    for (kind, state), labels in waiting.items():
        if len(labels) <= LISTED:
            data.missing += [f"{label} is not done ({state}); shown is what it has written so far" for label in labels]
            continue
        total = sum(stage.kind == kind for stage in data.stages)
        data.missing.append(
            f"{len(labels)} of {total} {kind} stages are not done ({state}): {', '.join(labels[: LISTED - 1])} and "
            f"{len(labels) - LISTED + 1} more"
        )
    if not data.evaluated:
        data.missing.append("No evaluation has finished: there is no table, no Pareto plot and no verdict yet")
    silent = [arm.name for arm in data.arms if not arm.metrics]
    if len(silent) > LISTED:
        data.missing.append(f"{len(silent)} of {len(data.arms)} arms have logged no step yet")
    else:
        data.missing += [f"{name} has logged no step yet" for name in silent]
    for arm in data.arms:
        if arm.unreadable:
            data.missing.append(f"{arm.unreadable} lines of the logs of {arm.name} cannot be read and are left out")


def differences(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the dotted keys in which the recipes differ, each with the value of every recipe as JSON text."""
    flat = {name: dict(_flatten(recipe)) for name, recipe in recipes.items()}
    keys = dict.fromkeys(key for found in flat.values() for key in found)
    rows = {key: {name: found.get(key, "—") for name, found in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if len(set(row.values())) > 1}


def _flatten(value: Any, at: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{at}.{key}" if at else str(key))]
    return [(at, json.dumps(value, ensure_ascii=False))]
