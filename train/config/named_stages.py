"""The named stages of a recipe: how they are written, and that they make a graph. No torch."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from adhere.rewards.errors import nearest
from adhere.rewards.registry import Registry
from adhere.rewards.strict import Strict
from adhere.train.config.ablation import name_problem, override_key

BASE = "base"
"""Name of the recipe's own model, where stages are named."""

CHAIN = ("sft", "grpo", "evaluate")
"""The stages of a recipe that names none."""

ON_POLICY = frozenset(("grpo", "distill"))
"""The kinds that train on their own rollouts by the settings of ``grpo``."""

NOT_OF_A_STAGE = ("stages", "arms", "run", "ablation", "plugins", "name", "hydra", "recipe", "debug", "local")
"""Sections that belong to a run as a whole, so that no stage can have one of its own."""


WEIGHTS = "weights"
"""What a stage hands on that another one can start from."""


class Declaration:
    """What a kind of stage says of itself.

    ``config`` is the class of the recipe's section that is named like the kind; ``None`` where there is none.
    ``makes`` says whether other stages can start from the result. ``data`` is the part of the recipe's data that is
    read. ``distributed`` stages run on every rank of the launcher, others on one. ``inputs`` are the roles in which a
    stage takes further stages, each with the least number of them; they have to make weights, or what ``takes`` names
    for the role. ``scores`` says whether the kind scores rollouts by the recipe's rewards, and so asks their judges.
    """

    config: ClassVar[type[Strict] | None] = None
    makes: ClassVar[str | None] = WEIGHTS
    data: ClassVar[Literal["train", "evaluation"] | None] = "train"
    distributed: ClassVar[bool] = True
    scores: ClassVar[bool] = False
    inputs: ClassVar[Mapping[str, int]] = {}
    takes: ClassVar[Mapping[str, str]] = {}
    name: ClassVar[str]


def _problem(name: str, kind: Declaration) -> str | None:
    if kind.config is None:
        return None
    if not (isinstance(kind.config, type) and issubclass(kind.config, Strict)):
        return "has a config that is not a subclass of adhere.rewards.strict.Strict"
    if needed := [key for key, field in kind.config.model_fields.items() if field.is_required()]:
        return f"has a config whose field '{needed[0]}' has no default; recipes without the stage leave it out"
    return None


DECLARED: Registry[Declaration] = Registry("stage kind", _problem)
"""The kinds of stages; ``train.config.kinds`` enters those that ship."""


class StageConfig(Strict):
    """One named stage of a recipe."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    kind: str = ""
    """What the stage does: ``sft``, ``grpo``, ``distill``, ``pairs``, ``dpo``, ``merge``, ``evaluate``, or a plug-in's
    kind; its name where left out."""

    source: str | None = Field(default=None, alias="from")
    """The stage whose weights it starts from; ``None`` is the recipe's model, which is also called ``base``."""

    inputs: dict[str, list[str]] = Field(default_factory=dict)
    """Further stages by the role that the kind gives them: ``{models: [maths, instructions]}`` for a merge."""

    overrides: list[str] = Field(default_factory=list, alias="with")
    """Overrides of the recipe for this stage alone, after those of the command and the arm; the last wins."""

    of: list[str] | None = None
    """``evaluate``: the models to measure; ``None`` is ``base`` and every stage that makes weights."""

    @field_validator("inputs", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {role: [names] if isinstance(names, str) else names for role, names in given.items()}


def named_stages(given: Any) -> Any:
    """Return ``stages`` as a map from names to stages: of a list, each stage starts from the weights before it.

    An entry of a list is a kind, or a map of one name to a stage; ``from`` follows from the place where it is left out.

    Raises:
        ValueError: it is neither a list nor a map, or a name comes twice in a list.
    """
    if given is None:
        given = list(CHAIN)
    if isinstance(given, Mapping):
        return {name: _with_kind(name, stage) for name, stage in given.items()}
    if not isinstance(given, list | tuple):
        raise ValueError("give a list of kinds, such as [sft, grpo, evaluate], or a map from names to stages")
    chain: dict[str, Any] = {}
    before: str | None = None
    for entry in given:
        if isinstance(entry, Mapping) and len(entry) == 1:
            ((name, stage),) = entry.items()
        elif isinstance(entry, str):
            name, stage = entry, {}
        else:
            raise ValueError(f"{entry!r}: an entry is a kind, or a name with its stage: {{maths: {{kind: grpo}}}}")
        if name in chain:
            raise ValueError(f"'{name}' comes twice; give one a name: [..., {{again: {{kind: {name}}}}}]")
        chain[name] = _with_kind(name, stage)
        kind = chain[name]["kind"] if isinstance(chain[name], Mapping) else ""
        if isinstance(kind, str) and kind in DECLARED and kind != "evaluate":
            chain[name] = {"from": before, **chain[name]}
            before = name if DECLARED[kind].makes == WEIGHTS else before
    return chain


def _with_kind(name: str, stage: Any) -> Any:
    stage = {} if stage is None else stage
    return {**stage, "kind": stage.get("kind") or name} if isinstance(stage, Mapping) else stage


class CheckedStages(dict[str, StageConfig]):
    """Named stages that :func:`check_stages` has seen: the recipes of a run's stages share them, checked once."""


def check_stages(stages: Mapping[str, StageConfig]) -> CheckedStages:
    """Check the graph of named stages: kinds, names, and that what a stage starts from makes weights, without a circle.

    Raises:
        ValueError: says which stage, key and name.
    """
    if not stages:
        raise ValueError("name at least one stage")
    makes = {BASE: WEIGHTS} | {name: _kind(name, stage).makes for name, stage in stages.items()}
    for name, stage in stages.items():
        kind = _kind(name, stage)
        if name == BASE:
            raise ValueError(f"{BASE}: is the name of the recipe's own model; choose another name for the stage")
        if problem := name_problem(name):
            raise ValueError(f"the name '{name}' {problem}")
        starts = {"from": [] if stage.source is None else [stage.source], "of": stage.of or []}
        starts |= {f"inputs.{role}": names for role, names in stage.inputs.items()}
        for key, names in starts.items():
            thing = kind.takes.get(key.removeprefix("inputs."), WEIGHTS)
            fitting = [other for other, made in makes.items() if made == thing]
            for wanted in names:
                if wanted in makes and wanted not in fitting:
                    which = f"is of kind {stages[wanted].kind}" if wanted in stages else "is the recipe's model"
                    raise ValueError(f"{name}.{key}: '{wanted}' {which}, which makes no {thing}")
                if wanted not in makes:
                    raise ValueError(f"{name}.{key}: there is no stage '{wanted}'{nearest(wanted, fitting)}")
        if stage.of is not None and stage.kind != "evaluate":
            raise ValueError(f"{name}.of: is for stages of kind evaluate; name what {name} starts from in from:")
        if stage.kind == "evaluate" and stage.source is not None:
            raise ValueError(f"{name}.from: an evaluation names the models that it measures in of: [{stage.source}]")
        if stage.of is not None and (not stage.of or len(set(stage.of)) < len(stage.of)):
            raise ValueError(f"{name}.of: name at least one model, and each once")
        for role in {*kind.inputs, *stage.inputs}:
            least, given = kind.inputs.get(role), len(stage.inputs.get(role, []))
            if least is None:
                roles = ", ".join(kind.inputs) or "no further inputs"
                raise ValueError(f"{name}.inputs.{role}: {stage.kind} has no such input; it takes {roles}")
            if given < least:
                raise ValueError(
                    f"{name}.inputs.{role}: {stage.kind} takes at least {least} stages, and {given} are named"
                )
        for override in stage.overrides:
            key = override_key(override)
            whole = key.partition(".")[0] in NOT_OF_A_STAGE or key.startswith(("launcher.kind", "launcher.slurm"))
            if whole or key == "launcher":
                raise ValueError(f"{name}.with: '{override}' sets {key}, which belongs to the whole run")
    running_order(stages)
    return CheckedStages(stages)


def _kind(name: str, stage: StageConfig) -> Declaration:
    if stage.kind not in DECLARED:
        known = list(DECLARED)
        raise ValueError(
            f"{name}.kind: there is no stage kind '{stage.kind}'{nearest(stage.kind, known)}; there are "
            f"{', '.join(known)}. One of your own needs its module under plugins:"
        )
    return DECLARED[stage.kind]


def running_order(stages: Mapping[str, StageConfig]) -> list[str]:
    """Return the names of ``stages`` so that each comes after those that it starts from, else as they are written.

    Raises:
        ValueError: some of them start from each other.
    """
    place = {name: i for i, name in enumerate(stages)}
    before = {name: {start for start in starts_of(stage) if start in place} for name, stage in stages.items()}
    after: dict[str, list[str]] = {name: [] for name in stages}
    for name, starts in before.items():
        for start in starts:
            after[start].append(name)
    ready = [place[name] for name, starts in before.items() if not starts]
    names, placed = list(stages), list[str]()
    while ready:
        placed.append(name := names[heapq.heappop(ready)])
        for other in after[name]:
            before[other].discard(name)
            if not before[other]:
                heapq.heappush(ready, place[other])
    if len(placed) < len(stages):
        circle = [name for name in stages if name not in set(placed)]
        raise ValueError(f"{', '.join(circle)}: start from each other, so none can be the first")
    return placed


def starts_of(stage: StageConfig) -> list[str]:
    """Return the names of the stages that ``stage`` starts from; its ``of`` comes in where the models are known."""
    return [
        *([] if stage.source is None else [stage.source]),
        *(name for names in stage.inputs.values() for name in names),
    ]


def last_models(stages: Mapping[str, StageConfig]) -> list[str]:
    """Return the stages that make weights from which no other stage starts."""
    used = {name for stage in stages.values() for name in starts_of(stage)}
    return [name for name, stage in stages.items() if DECLARED[stage.kind].makes == WEIGHTS and name not in used]


def sections_of_plugins() -> dict[str, type[Strict]]:
    """Return the kinds that have a section of their own in a recipe, with its class; ours are fields of its schema."""
    return {name: kind.config for name, kind in DECLARED.items() if kind.config is not None}
