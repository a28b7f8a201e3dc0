"""The plan of a run, ``plan.json``: its stages, the models that it evaluates, and the points of its ablation.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adhere.records.artifact import SCHEMA, check_schema
from adhere.records.names import ONLY
from adhere.records.objects import read_object
from adhere.rewards.errors import DataError
from adhere.rewards.files import write_json


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of a run.

    ``name`` is the recipe's, ``kind`` what it does, ``label`` the name that people see, such as ``grpo[composite]``:
    stages of several arms have one name and kind. ``artifact`` names its folder, ``inputs`` has the keys of the stages
    that it starts from, ``arms`` those that share it. ``steps`` are optimizer steps, ``None`` where it has none that
    the recipe knows. ``command`` makes it again.
    """

    label: str
    name: str
    kind: str
    key: str
    artifact: str
    inputs: Mapping[str, str]
    arms: tuple[str, ...]
    steps: int | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class SubjectRecord:
    """One evaluated model of an arm: its name, the stage that made it (``None`` for the recipe's model), and the key
    of its evaluation."""

    name: str
    stage: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Model:
    """One evaluated model of a run, under the name that tables, pages and exports give it."""

    name: str
    arm: str
    subject: SubjectRecord


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``plan.json`` says: stages in an order in which they can run, subjects and points by arm.

    ``points`` has the point of an ablation and the seed of each arm, where the run is one. ``adhere`` is the version
    that wrote the plan, empty for one before schema 2.
    """

    stages: tuple[StageRecord, ...]
    subjects: Mapping[str, tuple[SubjectRecord, ...]] = field(default_factory=dict)
    points: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    adhere: str = ""

    @property
    def arms(self) -> list[str]:
        """The arms in the order of the recipe."""
        return list(dict.fromkeys(arm for stage in self.stages for arm in stage.arms))

    def stage(self, key: str) -> StageRecord:
        """Return the stage with this key."""
        return next(stage for stage in self.stages if stage.key == key)

    def models(self) -> list[Model]:
        """Return every evaluated model once, in the order of a table: subject by subject, the arms' last ones last.

        A model is called after its subject where the run has one arm, or where all arms share it; the last trained
        model of an arm is called after the arm; any other is ``subject[arm]``.
        """
        last = {arm: found[-1].name for arm, found in self.subjects.items() if found and found[-1].stage is not None}
        names = list(dict.fromkeys(subject.name for found in self.subjects.values() for subject in found))
        models: dict[str, Model] = {}
        finals: dict[str, Model] = {}
        for name in names:
            of = {arm: subject for arm, found in self.subjects.items() for subject in found if subject.name == name}
            shared = len({of[arm].key if arm in of else None for arm in self.subjects}) == 1
            for arm, subject in of.items():
                final = last.get(arm) == name
                if list(self.subjects) == [ONLY] or (shared and (not final or len(of) > 1)):
                    called = name
                else:
                    called = arm if final else f"{name}[{arm}]"
                (finals if final else models).setdefault(subject.key, Model(called, arm, subject))
        return list({**models, **finals}.values())


def write_plan(path: Path, plan: Plan) -> None:
    """Write ``plan``, with the schema and the version of adhere that wrote it."""
    points = {arm: {"point": point, "seed": seed} for arm, (point, seed) in plan.points.items()}
    subjects = {arm: [asdict(subject) for subject in found] for arm, found in plan.subjects.items()}
    stages = [asdict(stage) | {"inputs": dict(stage.inputs)} for stage in plan.stages]
    content = {"schema": SCHEMA, "adhere": plan.adhere, "stages": stages, "subjects": subjects, "points": points}
    write_json(path, content)


def read_plan(path: Path) -> Plan:
    """Read ``plan.json``; one that was written before schema 2 is read as what it meant.

    Raises:
        DataError: it is damaged, or a later version of adhere wrote it.
    """
    try:
        content = read_object(path)
    except DataError as error:
        raise _damaged(path) from error
    check_schema(path, content)
    try:
        stages = tuple(_stage(stage) for stage in content["stages"])
        subjects = {arm: _subjects(found) for arm, found in content["subjects"].items()}
        points = {arm: (str(p["point"]), int(p["seed"])) for arm, p in content.get("points", {}).items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(path) from error
    # JSON's keys are sorted; the stages have the arms in the order of the recipe
    arms = Plan(stages).arms
    return Plan(
        stages,
        {arm: subjects[arm] for arm in arms if arm in subjects},
        {arm: points[arm] for arm in arms if arm in points},
        str(content.get("adhere", "")),
    )


def _stage(found: Mapping[str, Any]) -> StageRecord:
    label, artifact = _text(found["label"]), _text(found["artifact"])
    return StageRecord(
        label=label,
        name=_text(found.get("name", label.partition("[")[0])),
        kind=_text(found.get("kind", artifact.rpartition("-")[0])),
        key=_text(found["key"]),
        artifact=artifact,
        inputs={_text(name): _text(key) for name, key in found["inputs"].items()},
        arms=tuple(_text(arm) for arm in found["arms"]),
        steps=found.get("steps"),
        command=_text(found.get("command", "")),
    )


def _subjects(found: Mapping[str, str] | Sequence[Mapping[str, Any]]) -> tuple[SubjectRecord, ...]:
    if isinstance(found, Mapping):  # schema 1: {"base": key, "sft": key, "grpo": key}, with its keys sorted
        order = [name for name in ("base", "sft", "grpo") if name in found]
        return tuple(SubjectRecord(name, None if name == "base" else name, _text(found[name])) for name in order)
    return tuple(SubjectRecord(_text(one["name"]), one["stage"], _text(one["key"])) for one in found)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: is damaged; the command that started the run writes it again")
