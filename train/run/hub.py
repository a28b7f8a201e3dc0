"""What a run takes from the hub, which commits of it are pinned into the run, and what is in the local cache. No torch.

``adhere fetch`` writes ``hub.json`` in the run's folder; every stage that is prepared afterwards loads those commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adhere.evaluation.suites import SUITES
from adhere.prompts.config import SourceConfig
from adhere.prompts.hub import cached_snapshot
from adhere.records.objects import read_object
from adhere.records.run import RunFolder
from adhere.rewards.components.reward_model import RewardModelComponent
from adhere.rewards.files import write_json
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import Recipe

NOT_LOADED = (
    "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.tflite", "onnx/*", "original/*",
)  # fmt: skip
"""Files of a model's repository that nothing here reads: weights come from safetensors."""


@dataclass(frozen=True, slots=True)
class HubItem:
    """A repository of the hub that a run reads; ``key`` is the recipe's that names it, for messages."""

    kind: Literal["model", "dataset"]
    id: str
    revision: str | None
    key: str

    @property
    def name(self) -> str:
        """What it is called in ``hub.json``: its kind, id and, where the recipe names one, revision."""
        return f"{self.kind}:{self.id}" + (f"@{self.revision}" if self.revision else "")


def hub_items(stages: Iterable[tuple[str, Recipe]]) -> list[HubItem]:
    """Return what stages take from the hub, each once; ``stages`` are their kinds, with their recipes."""
    found: dict[str, HubItem] = {}
    for kind, recipe in stages:
        items = [HubItem("model", recipe.model.path, recipe.model.revision, "model.path")]
        if kind_of(kind).data is not None:
            for role in ("train", "evaluation"):
                for index, source in enumerate(getattr(recipe.data, role)):
                    if source.dataset is not None:
                        key = f"data.{role}[{index}].dataset"
                        items.append(HubItem("dataset", source.dataset, source.revision, key))
        for name, component in recipe.rewards.components.items() if kind_of(kind).scores else ():
            key = f"rewards.components.{name}"
            if isinstance(component, RewardModelComponent):
                items.append(HubItem("model", component.model, component.revision, f"{key}.model"))
            judge = getattr(component, "judge", None)
            if judge is not None and judge.serve is not None:
                items.append(HubItem("model", judge.model, None, f"{key}.judge.model"))
        hub = SUITES[recipe.evaluation.suite].hub if kind == "evaluate" and recipe.evaluation.path is None else None
        if hub is not None:
            dataset, _, revision = hub.partition("@")
            wanted = recipe.evaluation.revision or revision or None
            items.append(HubItem("dataset", dataset, wanted, "evaluation.suite"))
        items += [HubItem("model", path, None, "distill.models") for path in recipe.distill.models if kind == "distill"]
        judge = recipe.evaluation.judge if kind == "evaluate" else None
        if judge is not None and judge.serve is not None:
            items.append(HubItem("model", judge.model, None, "evaluation.judge.model"))
        for item in items:
            if not Path(item.id).expanduser().exists() and not item.id.startswith(("/", "~", ".")):
                found.setdefault(item.name, item)
    return list(found.values())


def pins(run: RunFolder) -> dict[str, str]:
    """Return the commits that are pinned into the run, by the names of their items."""
    return {name: str(commit) for name, commit in read_object(run.hub_file).items()}


def fetch(item: HubItem, commit: str | None = None) -> str:
    """Bring an item into the local cache, and return its commit.

    Args:
        item: what to fetch.
        commit: one that is pinned already; ``None`` is the newest of the item's revision.

    Raises:
        HfHubHTTPError, OSError: the hub cannot be reached, or has no such repository or revision.
    """
    from huggingface_hub import snapshot_download

    skip = list(NOT_LOADED) if item.kind == "model" else None
    folder = snapshot_download(item.id, repo_type=item.kind, revision=commit or item.revision, ignore_patterns=skip)
    return Path(folder).name


def missing_files(run: RunFolder, items: Iterable[HubItem]) -> list[HubItem]:
    """Return the items that are not pinned into the run, or whose commit is gone from the local cache."""
    known = pins(run)
    return [item for item in items if cached_snapshot(item.kind, item.id, known.get(item.name)) is None]


def pin(run: RunFolder, commits: Mapping[str, str]) -> None:
    """Pin commits into the run, by the names of their items."""
    write_json(run.hub_file, pins(run) | dict(commits))


def pinned(recipe: Recipe, known: Mapping[str, str]) -> Recipe:
    """Return the recipe with the pinned commits as its revisions; what is not pinned stays as it is."""
    if not known:
        return recipe

    def commit(kind: Literal["model", "dataset"], name: str, revision: str | None) -> str | None:
        return known.get(HubItem(kind, name, revision, "").name, revision)

    def sources(given: list[SourceConfig]) -> list[SourceConfig]:
        return [
            s if s.dataset is None else s.model_copy(update={"revision": commit("dataset", s.dataset, s.revision)})
            for s in given
        ]

    model = recipe.model.model_copy(update={"revision": commit("model", recipe.model.path, recipe.model.revision)})
    data = {"train": sources(recipe.data.train), "evaluation": sources(recipe.data.evaluation)}
    components = dict(recipe.rewards.components)
    for name, c in components.items():
        if isinstance(c, RewardModelComponent):
            components[name] = c.model_copy(update={"revision": commit("model", c.model, c.revision)})
    evaluation, hub = recipe.evaluation, SUITES[recipe.evaluation.suite].hub
    if evaluation.path is None and hub is not None:
        dataset, _, revision = hub.partition("@")
        found = commit("dataset", dataset, evaluation.revision or revision or None)
        evaluation = evaluation.model_copy(update={"revision": found})
    return recipe.model_copy(
        update={
            "evaluation": evaluation,
            "model": model,
            "data": recipe.data.model_copy(update=data),
            "rewards": recipe.rewards.model_copy(update={"components": components}),
        }
    )
