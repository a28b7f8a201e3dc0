"""What a worker reads: one stage, fully resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, SerializeAsAny, ValidationError, field_validator

from adhere.records.servers import with_addresses
from adhere.rewards.config import Strict
from adhere.rewards.errors import ConfigError
from adhere.rewards.plugins import load_plugins
from adhere.train.config.named_stages import ON_POLICY
from adhere.train.config.schema import Recipe, recipe_schema


class StageSpec(Strict):
    """The content of ``stage.yaml``. Everything a worker needs is here; it composes nothing."""

    kind: str
    """What the stage does: a name of the registry of stage kinds."""

    label: str
    """The stage's name for people, such as ``grpo[composite]``."""

    key: str
    """Content hash that names the artifact."""

    artifact: Path
    """Folder to write."""

    inputs: dict[str, Path]
    """Artifacts to start from: ``model`` is that of ``from``, ``ROLE.I`` the I-th of ``inputs.ROLE``, from 0."""

    models: dict[str, list[str]] = Field(default_factory=dict)
    """Model folders, or a hub id, of the further inputs by role, in the order of the recipe."""

    members: dict[str, tuple[str, int]] = Field(default_factory=dict)
    """The point and the seed of each arm of an ablation that the stage belongs to."""

    rehearsed: tuple[int, int] | None = None
    """Live groups, and groups in all, of an earlier rehearsal of this stage."""

    until: int | None = None
    """Optimizer step at which this attempt ends with a checkpoint, short of the stage's end."""

    recipe: SerializeAsAny[Recipe]
    """The resolved recipe; a stage reads the sections that its key covers."""

    @field_validator("recipe", mode="before")
    @classmethod
    def _with_sections_of_plugins(cls, given: Any) -> Any:
        return recipe_schema().model_validate(given) if isinstance(given, Mapping) else given

    @property
    def section(self) -> str:
        """The section of the recipe that the stage trains by: ``grpo`` for all kinds that train on own rollouts."""
        return "grpo" if self.kind in ON_POLICY else self.kind

    @property
    def model_path(self) -> str:
        """The model the stage starts from: the stage before, or the recipe's own."""
        return str(self.inputs["model"] / "model") if "model" in self.inputs else self.recipe.model.path


def read_spec(path: Path) -> StageSpec:
    """Read ``stage.yaml``, with the addresses of the servers that run beside the stage; plug-ins are imported first.

    Raises:
        ConfigError: the file is missing, is not valid YAML, or does not fit this version's schema.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({error}); the command that started the run writes it again"
        ) from error
    if not isinstance(values, dict) or not isinstance(values.get("recipe"), dict):
        raise ConfigError(f"{path}: has no recipe; the command that started the run writes it again")
    load_plugins(values["recipe"].get("plugins") or [])
    try:
        return StageSpec.model_validate(values | {"recipe": with_addresses(values["recipe"], path.parent)})
    except ValidationError as error:
        raise ConfigError(f"{path}: does not fit this version of adhere; plan the run again\n{error}") from error
