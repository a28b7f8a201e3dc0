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
class ModelRecord:
    """One evaluated model, once for all arms that share it.

    ``name`` is what tables, pages and exports call it, ``arm`` the first arm that measures it, ``evaluation`` the stage
    that does, ``model`` the stage that made it (``None`` for the recipe's model), ``key`` that of the evaluation.
    """

    name: str
    arm: str
    evaluation: str
    model: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``plan.json`` says: stages in an order in which they can run, and evaluated models in that of a table.

    ``points`` has the point of an ablation and the seed of each arm, where the run is one. ``adhere`` is the version
    that wrote the plan, empty for one before schema 2.
    """

    stages: tuple[StageRecord, ...]
    models: tuple[ModelRecord, ...] = ()
    points: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    adhere: str = ""

    @property
    def arms(self) -> list[str]:
        """The arms in the order of the recipe."""
        return list(dict.fromkeys(arm for stage in self.stages for arm in stage.arms))

    def stage(self, key: str) -> StageRecord:
        """Return the stage with this key.

        Raises:
            DataError: the plan has none, so somebody has edited it.
        """
        found = next((stage for stage in self.stages if stage.key == key), None)
        if found is None:
            raise DataError(
                f"the run's plan has no stage with the key {key}; the command that started the run writes it again"
            )
        return found


def write_plan(path: Path, plan: Plan) -> None:
    """Write ``plan``, with the schema and the version of adhere that wrote it."""
    points = {arm: {"point": point, "seed": seed} for arm, (point, seed) in plan.points.items()}
    models = [asdict(model) for model in plan.models]
    stages = [asdict(stage) | {"inputs": dict(stage.inputs)} for stage in plan.stages]
    content = {"schema": SCHEMA, "adhere": plan.adhere, "stages": stages, "models": models, "points": points}
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
        if not isinstance(content["stages"], list):
            raise TypeError("stages is not a list")
        stages = tuple(_stage(stage) for stage in content["stages"])
        points = {arm: (str(p["point"]), int(p["seed"])) for arm, p in content.get("points", {}).items()}
        # JSON's keys are sorted; the stages have the arms in the order of the recipe
        arms = Plan(stages).arms
        if "models" in content:
            models = [_model(found) for found in content["models"]]
        else:
            models = _models_before_schema_2(arms, content["subjects"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _damaged(path) from error
    # Somebody who edits the file by hand may leave a name behind that leads nowhere.
    keys = {stage.key for stage in stages}
    named = [key for stage in stages for key in stage.inputs.values()] + [model.key for model in models]
    if len(keys) < len(stages) or any(key not in keys for key in named):
        raise _damaged(path)
    points = {arm: points[arm] for arm in arms if arm in points}
    return Plan(stages, tuple(models), points, str(content.get("adhere", "")))


def _stage(found: Mapping[str, Any]) -> StageRecord:
    label, artifact = _text(found["label"]), _text(found["artifact"])
    if not isinstance(found.get("steps"), int | None):
        raise TypeError(found["steps"])
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


def _model(found: Mapping[str, Any]) -> ModelRecord:
    made = found["model"]
    name, arm, evaluation, key = (_text(found[k]) for k in ("name", "arm", "evaluation", "key"))
    return ModelRecord(name, arm, evaluation, None if made is None else _text(made), key)


def _models_before_schema_2(arms: Sequence[str], subjects: Mapping[str, Mapping[str, Any]]) -> list[ModelRecord]:
    """Name the models of ``{arm: {"base": key, "sft": key, "grpo": key}}`` as the tables of that version did."""
    models: dict[str, ModelRecord] = {}
    for subject in ("base", "sft", "grpo"):
        shared = len({found.get(subject) for found in subjects.values()}) == 1
        for arm in [arm for arm in arms if subject in subjects.get(arm, {})]:
            own = arm if subject == "grpo" and arm != ONLY else subject
            name = own if subject == "grpo" or shared else f"{subject}[{arm}]"
            key = _text(subjects[arm][subject])
            models.setdefault(key, ModelRecord(name, arm, "evaluate", None if subject == "base" else subject, key))
    return list(models.values())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: is damaged; the command that started the run writes it again")
