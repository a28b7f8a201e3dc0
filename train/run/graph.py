"""The stage graph of a run: which stages there are in all arms, what each starts from, and the key of its content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from adhere.evaluation.remedies import REMEDIES
from adhere.evaluation.suites import SUITES
from adhere.prompts.attach import Sampler
from adhere.prompts.fingerprint import fingerprint
from adhere.records.artifact import SCHEMA
from adhere.records.names import slug
from adhere.rewards.components.reward_model import RewardModelComponent
from adhere.rewards.constraints import CONSTRAINTS
from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import package_content, plugin_packages
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import BASE, WEIGHTS, last_models, running_order
from adhere.train.config.schema import Recipe

SCHEMA_VERSION = SCHEMA
"""Part of every key: raised when a change of code makes earlier artifacts wrong, so that no run reuses them."""

MODEL_APART = {"path", "revision", "kernels"}
"""Settings of a model that count by content, or change how fast it is alone."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage: what it does, with which recipe, and the keys of the stages that it starts from.

    ``label`` is for people (``grpo[composite]``), ``name`` is what the recipe calls the stage; ``arms`` are the arms
    that share it. ``source`` is the key of what it starts ``from``, ``None`` for the recipe's model; ``further`` holds
    the keys of ``inputs`` by role, ``None`` again for that model. ``recipe`` is resolved and has the stage's own
    overrides.
    """

    kind: str
    name: str
    label: str
    source: str | None
    further: Mapping[str, Sequence[str | None]]
    key: str
    recipe: Recipe
    arms: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, str]:
        """The keys of all stages that it starts from: ``model``, and ``ROLE.I`` for the I-th of a role, from 0."""
        found = {"model": self.source} | {
            f"{role}.{i}": k for role, ks in self.further.items() for i, k in enumerate(ks)
        }
        return {name: key for name, key in found.items() if key is not None}

    @property
    def folder(self) -> str:
        """Name of the artifact's folder: the kind and the first 12 hex digits of the key."""
        return f"{self.kind}-{self.key[:12]}"

    @property
    def makes_weights(self) -> bool:
        """Whether the stage ends with a model that others can start from."""
        return kind_of(self.kind).makes == WEIGHTS


@dataclass(frozen=True, slots=True)
class PlannedEvaluation:
    """One model of an arm that is measured: its name, by which stage, and the key of that measurement.

    ``shown`` is the model's name in tables of several arms: an arm's last model is called as the arm is.
    """

    arm: str
    stage: str
    model: str
    shown: str
    key: str


@dataclass(slots=True)
class Graph:
    """The stages of all arms, in an order in which they can run; equal stages appear once."""

    stages: dict[str, PlannedStage] = field(default_factory=dict)
    evaluations: list[PlannedEvaluation] = field(default_factory=list)

    def add(self, stage: PlannedStage, arm: str) -> str:
        """Add ``stage`` for ``arm``, or let the arm share the one that is there; return its key."""
        known = self.stages.get(stage.key, stage)
        arms = known.arms if arm in known.arms else (*known.arms, arm)
        self.stages[stage.key] = replace(known, arms=arms)
        return stage.key


def build_graph(arms: Mapping[str, Mapping[str, Recipe]]) -> Graph:
    """Plan the stages of every arm; ``arms`` maps an arm's name to the recipe of each of its stages by their names.

    The map's order is that of the recipe; stages are added so that each comes after those that it starts from.
    """
    graph = Graph()
    # Two MiB of every weight file are read for a model's identity: once for all stages and arms that start from it.
    identity = cache(model_fingerprint)
    # Of what the runs themselves write, nothing counts.
    first = next(recipe for recipes in arms.values() for recipe in recipes.values())
    content_of = cache(partial(package_content, left_out=Path(first.run.root).expanduser().resolve()))
    for arm, recipes in arms.items():
        recipe = next(iter(recipes.values()))
        stages, judged = recipe.stages, recipe.ablation.judge_by
        # The model that the arm is about shares its name in tables: one without a stage that goes on from it.
        models = [name for name in stages if kind_of(stages[name].kind).makes == WEIGHTS]
        last = last_models(stages) if judged is None else [judged]
        shown = {last[0]: arm} if len(arms) > 1 and len(last) == 1 else {}
        keys: dict[str | None, str | None] = {None: None, BASE: None}
        for name in running_order(stages):
            stage = stages[name]
            if stage.kind == "evaluate":
                continue
            further = {role: [keys[n] for n in names] for role, names in stage.inputs.items()}
            label = f"{name}[{arm}]" if name in shown else name
            planned = PlannedStage(stage.kind, name, label, keys[stage.source], further, "", recipes[name])
            keys[name] = graph.add(with_key(planned, identity, content_of), arm)
        for name, stage in stages.items():
            if stage.kind != "evaluate":
                continue
            for model in [BASE, *models] if stage.of is None else stage.of:
                # Responses from a file are those of no stage: the label stands for the model that made them.
                evaluation = recipes[name].evaluation
                called = recipes[name].model.path if evaluation.backend == "replay" else shown.get(model, model)
                label = f"{name}[{called}]"
                planned = PlannedStage(stage.kind, name, label, keys[model], {}, "", recipes[name])
                key = graph.add(with_key(planned, identity, content_of), arm)
                graph.evaluations.append(PlannedEvaluation(arm, name, model, called, key))
    # Stages that differ and are called the same, such as the sft of two seeds, get the name of their first arm.
    labels = Counter(stage.label for stage in graph.stages.values())
    for key, planned in graph.stages.items():
        if labels[planned.label] > 1:
            name, _, subject = planned.label.removesuffix("]").partition("[")
            label = f"{name}[{subject}, {planned.arms[0]}]" if subject else f"{name}[{planned.arms[0]}]"
            graph.stages[key] = replace(planned, label=label)
    links: dict[str, str] = {}
    for planned in graph.stages.values():
        link = slug(planned.label)
        if link in links:
            raise ConfigError(
                f"stages: '{links[link]}' and '{planned.label}' would have one name in the run's folder, {link}; "
                f"rename a stage or an arm"
            )
        links[link] = planned.label
    return graph


def compared(graph: Graph) -> list[tuple[str, PlannedEvaluation]]:
    """Return each evaluated model once, by its name in tables: what arms share first, then each arm's own.

    With several stages of kind evaluate a name begins with that of its stage.
    """
    found = graph.evaluations
    stages, models = [e.stage for e in found], [e.model for e in found]
    first: dict[str, PlannedEvaluation] = {}
    for evaluation in found:
        first.setdefault(evaluation.key, evaluation)
    counts = Counter((e.stage, e.shown) for e in first.values())
    named: list[tuple[tuple[int, ...], str, PlannedEvaluation]] = []
    for evaluation in first.values():
        own = evaluation.shown != evaluation.model
        name = evaluation.shown if len(set(stages)) == 1 else f"{evaluation.stage}: {evaluation.shown}"
        name = name if counts[evaluation.stage, evaluation.shown] == 1 else f"{name}[{evaluation.arm}]"
        rank = (stages.index(evaluation.stage), own, 0 if own else models.index(evaluation.model), len(named))
        named.append((rank, name, evaluation))
    return [(name, evaluation) for _, name, evaluation in sorted(named, key=lambda one: one[0])]


def with_key(
    stage: PlannedStage, identity: Callable[[str, str | None], str], content_of: Callable[[str], str]
) -> PlannedStage:
    """Return ``stage`` with its key: the content of everything that it depends on, names apart."""
    kind, recipe = stage.kind, stage.recipe
    settings, data = stage_settings(kind, recipe), kind_of(kind).data
    for name, component in recipe.rewards.components.items() if "rewards" in settings else ():
        if isinstance(component, RewardModelComponent):
            settings["rewards"]["components"][name]["model"] = identity(component.model, component.revision)
    if kind == "distill":
        settings["distill"]["models"] = [teacher_content(path, identity) for path in recipe.distill.models]
    if "evaluation" in settings and (remedy := settings["evaluation"].get("remedy")) is not None:
        settings["evaluation"]["remedy"] = remedy | remedy_contents(recipe, identity)
    served = recipe.kinds == {"evaluate"} and recipe.evaluation.backend == "openai"
    endpoint = f"endpoint:{recipe.evaluation.base_url}:{recipe.model.path}"
    replayed = kind == "evaluate" and recipe.evaluation.backend == "replay"
    if replayed:
        identified = responses_fingerprint(recipe)
    else:
        identified = endpoint if served else identity(recipe.model.path, recipe.model.revision)
    content = {
        "schema": SCHEMA_VERSION,
        "kind": kind,
        "settings": settings,
        "model": identified,
        "data": None if data is None else data_fingerprint(kind, recipe),
        "inputs": {"from": stage.source, **stage.further},
    }
    if plugins := plugin_packages([kind, settings, *([] if data is None else named_by_data(recipe))]):
        content["plugins"] = {package: content_of(package) for package in sorted(plugins)}
    return replace(stage, key=digest(content))


def teacher_content(path: str, identity: Callable[[str, str | None], str]) -> str:
    """Return what identifies the content of a teacher of ``distill.models``.

    Raises:
        ConfigError: there is no model.
    """
    try:
        return identity(path, None)
    except ConfigError as error:
        raise ConfigError(str(error).replace("model.path", "distill.models", 1)) from error


def remedy_contents(recipe: Recipe, identity: Callable[[str, str | None], str]) -> dict[str, str]:
    """Return what identifies the content of each file and model that the options of the recipe's remedy name.

    Raises:
        ConfigError: one of them does not exist.
    """
    given, found = recipe.evaluation.remedy or {}, {}
    chosen = REMEDIES[given["name"]]
    for key in chosen.files:
        if given[key] is not None:
            if not Path(given[key]).is_file():
                raise ConfigError(f"evaluation.remedy.{key}: there is no file '{given[key]}'")
            found[key] = hashlib.sha256(Path(given[key]).read_bytes()).hexdigest()
    for key in chosen.models:
        if recipe.evaluation.backend == "openai":
            found[key] = f"endpoint:{recipe.evaluation.base_url}:{given[key]}"
            continue
        try:
            found[key] = identity(given[key], None)
        except ConfigError as error:
            raise ConfigError(str(error).replace("model.path", f"evaluation.remedy.{key}", 1)) from error
    return found


def stage_settings(kind: str, recipe: Recipe) -> dict[str, Any]:
    """Return the settings that decide what the stage makes, as plain values; models and data count by content.

    Raises:
        ConfigError: the chat template's file does not exist.
    """
    model = recipe.model.model_dump(exclude=MODEL_APART)
    if not recipe.model.chat_template_kwargs:  # a key that came later: without it stages keep the names that they had
        del model["chat_template_kwargs"]
    if recipe.model.chat_template is not None:
        template = Path(recipe.model.chat_template)
        if not template.is_file():
            raise ConfigError(f"model.chat_template: there is no file '{template}'; name a Jinja template")
        model["chat_template"] = hashlib.sha256(template.read_bytes()).hexdigest()
    if kind_of(kind).makes != WEIGHTS:
        model.pop("adapter")
    return {"model": model} | kind_of(kind).settings(recipe)


def data_fingerprint(kind: str, recipe: Recipe) -> str:
    """Identify the items that the stage reads: the suite's files where it has some, else the recipe's data."""
    role = kind_of(kind).data
    suite = SUITES[recipe.evaluation.suite].fingerprint(recipe.evaluation.source) if role == "evaluation" else None
    return fingerprint(recipe.data, role) if suite is None else suite


def named_by_data(recipe: Recipe) -> list[Any]:
    """Return what the recipe's data names: its own values, constraints that are drawn, and plug-ins' ids in files."""
    config = recipe.data
    drawn = [] if config.constraints is None else Sampler(config.constraints).ids()
    sources = [*config.train, *config.evaluation]
    files = [Path(path) for path in (recipe.evaluation.path, *(source.path for source in sources)) if path is not None]
    own = [name for name in CONSTRAINTS if CONSTRAINTS.package(name) != "adhere"]
    held = [file.read_bytes() for file in files if file.is_file()] if own else []
    written = [name for name in own if any(name.encode() in content for content in held)]
    return [config.model_dump(mode="json"), drawn, written]


def digest(content: Any) -> str:
    """Return the SHA-256 of ``content`` in canonical JSON, as hex."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def model_fingerprint(path: str, revision: str | None) -> str:
    """Identify a model without loading it: the content of a local folder, or hub id and revision.

    Of a weight file the size and the first and last MiB are read, which hold its header and its tail.

    Raises:
        ConfigError: ``path`` looks like a local folder and is not there, or holds no ``config.json``.
    """
    folder = Path(path)
    if not folder.is_dir():
        if path.startswith((".", "/", "~")) or path.count("/") != 1:
            raise ConfigError(f"model.path: there is no folder '{path}'; name a model folder or a hub id (owner/name)")
        return f"hub:{path}@{revision or 'main'}"
    if not (folder / "config.json").exists() and not (folder / "adapter_config.json").exists():
        raise ConfigError(f"model.path: '{path}' holds no config.json; it is not a saved model")
    files = sorted(p for p in folder.iterdir() if p.is_file())
    return digest([[p.name, p.stat().st_size, _ends(p)] for p in files])


def responses_fingerprint(recipe: Recipe) -> str:
    """Identify responses that were made elsewhere: the content of their file, and the label that results get.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(recipe.evaluation.responses or "")
    if not path.is_file():
        raise ConfigError(f"evaluation.responses: there is no file '{path}'; name the file of responses to score")
    return f"replay:{recipe.model.path}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _ends(path: Path, size: int = 1 << 20) -> str:
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        checksum.update(file.read(size))
        if path.stat().st_size > 2 * size:
            file.seek(-size, 2)
        checksum.update(file.read(size))
    return checksum.hexdigest()


def order(graph: Graph) -> Sequence[PlannedStage]:
    """Return the stages in running order: first those from which others can start, in the order of the arms.

    A rehearsal comes where it stands, before the training that it is about.
    """
    stages = list(graph.stages.values())
    early = [s for s in stages if kind_of(s.kind).makes is not None or s.kind == "rehearse"]
    return early + [s for s in stages if s not in early]
