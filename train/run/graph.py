"""The stage graph of a recipe: which stages there are, what each needs, and the key of its content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adhere.prompts.fingerprint import fingerprint
from adhere.records.artifact import SCHEMA
from adhere.rewards.errors import ConfigError
from adhere.rewards.judge.config import OPERATIONAL
from adhere.train.config.generation import vllm_settings
from adhere.train.config.schema import Recipe, StageName, Subject

SCHEMA_VERSION = SCHEMA
"""Part of every key: raised when a change of code makes earlier artifacts wrong, so that no run reuses them."""

SPEED_ONLY = {"save_steps", "save_every_minutes", "logging_steps", "monitors"}
"""Training settings that change no weight, and so no key; ``save_steps`` does where the best checkpoint is chosen."""

MODEL_APART = {"path", "revision", "kernels"}
"""Settings of a model that count by content, or change how fast it is alone."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage: what it is, and the keys of the stages it starts from.

    ``label`` is for people (``grpo[composite]``); ``arms`` are the arms that share the stage.
    """

    kind: StageName
    label: str
    inputs: Mapping[str, str]
    key: str
    arms: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Name of the artifact's folder: the kind and the first 12 hex digits of the key."""
        return f"{self.kind}-{self.key[:12]}"


@dataclass(slots=True)
class Graph:
    """The stages of all arms, in an order in which they can run; equal stages appear once.

    ``subjects[arm][subject]`` is the key of the evaluation of that model.
    """

    stages: dict[str, PlannedStage] = field(default_factory=dict)
    subjects: dict[str, dict[Subject, str]] = field(default_factory=dict)

    def add(self, stage: PlannedStage, arm: str) -> str:
        """Add ``stage`` for ``arm``, or let the arm share the one that is there; return its key."""
        known = self.stages.get(stage.key)
        arms = (*known.arms, arm) if known else (arm,)
        self.stages[stage.key] = PlannedStage(stage.kind, stage.label, stage.inputs, stage.key, arms)
        return stage.key


def build_graph(recipes: Mapping[str, Recipe]) -> Graph:
    """Plan the stages of every arm; ``recipes`` maps an arm's name to its recipe."""
    graph = Graph()
    for arm, recipe in recipes.items():
        _add_arm(graph, arm, recipe, several=len(recipes) > 1)
    _tell_apart(graph)
    return graph


def _tell_apart(graph: Graph) -> None:
    """Give stages that differ but are called the same (two seeds' ``sft``) the name of their first arm."""
    labels = Counter(stage.label for stage in graph.stages.values())
    for key, stage in graph.stages.items():
        if labels[stage.label] > 1:
            name, _, subject = stage.label.removesuffix("]").partition("[")
            label = f"{name}[{subject}, {stage.arms[0]}]" if subject else f"{name}[{stage.arms[0]}]"
            graph.stages[key] = replace(stage, label=label)


def _add_arm(graph: Graph, arm: str, recipe: Recipe, *, several: bool) -> None:
    model = model_identity(recipe)
    produced: dict[Subject, str] = {}
    for kind in recipe.stages:
        if kind == "evaluate":
            continue
        upstream = {"model": produced["sft"]} if kind == "grpo" and "sft" in produced else {}
        stage = _stage(kind, f"grpo[{arm}]" if several and kind == "grpo" else kind, recipe, model, upstream)
        produced[kind] = graph.add(stage, arm)
    if "evaluate" not in recipe.stages:
        return
    graph.subjects[arm] = {}
    for subject in recipe.evaluation.subjects:
        if subject != "base" and subject not in produced:
            continue
        upstream = {} if subject == "base" else {"model": produced[subject]}
        name = arm if several and subject == "grpo" else subject
        stage = _stage("evaluate", f"evaluate[{name}]", recipe, model, upstream)
        graph.subjects[arm][subject] = graph.add(stage, arm)


def _stage(kind: StageName, label: str, recipe: Recipe, model: str, inputs: Mapping[str, str]) -> PlannedStage:
    content = {
        "schema": SCHEMA_VERSION,
        "kind": kind,
        "settings": stage_settings(kind, recipe),
        "model": model,
        "data": data_fingerprint(kind, recipe),
        "inputs": dict(inputs),
    }
    return PlannedStage(kind, label, inputs, digest(content))


def stage_settings(kind: StageName, recipe: Recipe) -> dict[str, Any]:
    """Return the settings that decide what the stage makes, as plain values; models and data count by content.

    Raises:
        ConfigError: the chat template's file does not exist.
    """
    settings: dict[str, Any] = {"seed": recipe.seed, "model": recipe.model.model_dump(exclude=MODEL_APART)}
    if recipe.model.chat_template is not None:
        settings["model"]["chat_template"] = _content(Path(recipe.model.chat_template))
    if kind == "evaluate":
        settings["model"].pop("adapter")
        evaluation = recipe.evaluation.model_dump(exclude={"subjects", "path", "batch_size"})
        return settings | {"evaluation": _by_judgement(evaluation)}
    settings["processes"] = recipe.launcher.processes
    chooses = kind == "grpo" and recipe.grpo.hand_over == "best"
    training = recipe.sft if kind == "sft" else recipe.grpo
    settings[kind] = training.model_dump(exclude=SPEED_ONLY - ({"save_steps"} if chooses else set()))
    if kind == "grpo":
        settings["seed"] = recipe.grpo_seed
        settings["grpo"].pop("seed")
        settings["grpo"]["vllm"] = vllm_settings(recipe.grpo.vllm, recipe.grpo.generation)
        rewards = recipe.rewards.model_dump()
        components = {name: _by_judgement(component) for name, component in rewards["components"].items()}
        settings["rewards"] = rewards | {"components": components}
    return settings


def _by_judgement(settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``settings`` without what only says how its judge is reached: a run goes on under another address."""
    judge = settings.get("judge")
    kept = {key: value for key, value in settings.items() if key != "judge"}
    return kept | ({} if judge is None else {"judge": {k: v for k, v in judge.items() if k not in OPERATIONAL}})


def _content(template: Path) -> str:
    if not template.is_file():
        raise ConfigError(f"model.chat_template: there is no file '{template}'; name a Jinja template")
    return hashlib.sha256(template.read_bytes()).hexdigest()


def data_fingerprint(kind: StageName, recipe: Recipe) -> str:
    """Identify the items that the stage reads: the suite's files where it has some, else the recipe's data."""
    path = Path(recipe.evaluation.path) if kind == "evaluate" and recipe.evaluation.path else None
    if path is None:
        return fingerprint(recipe.data, "evaluation" if kind == "evaluate" else "train")
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return digest([[file.name, hashlib.sha256(file.read_bytes()).hexdigest()] for file in files if file.exists()])


def digest(content: Any) -> str:
    """Return the SHA-256 of ``content`` in canonical JSON, as hex."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def model_identity(recipe: Recipe) -> str:
    """Identify the recipe's model: what an endpoint serves under its name, or a folder or hub id."""
    served = recipe.stages == ("evaluate",) and recipe.evaluation.backend == "openai"
    if served:
        return f"endpoint:{recipe.evaluation.base_url}:{recipe.model.path}"
    return model_fingerprint(recipe.model.path, recipe.model.revision)


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


def _ends(path: Path, size: int = 1 << 20) -> str:
    checksum = hashlib.sha256()
    with path.open("rb") as file:
        checksum.update(file.read(size))
        if path.stat().st_size > 2 * size:
            file.seek(-size, 2)
        checksum.update(file.read(size))
    return checksum.hexdigest()


def order(graph: Graph) -> Sequence[PlannedStage]:
    """Return the stages in running order: training first, in the order of the arms, then evaluations."""
    stages = list(graph.stages.values())
    return [s for s in stages if s.kind != "evaluate"] + [s for s in stages if s.kind == "evaluate"]
