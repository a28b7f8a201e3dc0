"""What a worker is told: one stage, fully resolved."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from adhere.records.servers import with_addresses
from adhere.rewards.config import Strict
from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import Recipe, StageName


class StageSpec(Strict):
    """The content of ``stage.yaml``. Everything a worker needs is here; it composes nothing."""

    kind: StageName
    """Which stage."""

    label: str
    """The stage's name for people, such as ``grpo[composite]``."""

    key: str
    """Content hash that names the artifact."""

    artifact: Path
    """Folder to write."""

    inputs: dict[str, Path]
    """Artifacts to start from; ``model`` is the folder of the stage before."""

    until: int | None = None
    """Optimizer step at which this attempt ends with a checkpoint, short of the stage's end."""

    recipe: Recipe
    """The resolved recipe; a stage reads the sections that its key covers."""

    @property
    def model_path(self) -> str:
        """The model the stage starts from: the stage before, or the recipe's own."""
        return str(self.inputs["model"] / "model") if "model" in self.inputs else self.recipe.model.path


def read_spec(path: Path) -> StageSpec:
    """Read ``stage.yaml``, with the addresses of the servers that the launcher runs beside the stage.

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
    try:
        return StageSpec.model_validate(values | {"recipe": with_addresses(values["recipe"], path.parent)})
    except ValidationError as error:
        raise ConfigError(f"{path}: does not fit this version of adhere; plan the run again\n{error}") from error
