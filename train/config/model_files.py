"""A model's ``config.json``, in its folder or in the hub's local cache. Nothing is fetched, and no torch is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import ModelConfig


def model_config(model: ModelConfig) -> dict[str, Any]:
    """Return the content of the model's ``config.json``.

    Raises:
        ConfigError: there is none on this machine, or it cannot be read; says what to do.
    """
    path = Path(model.path) / "config.json" if Path(model.path).is_dir() else _cached(model.path, model.revision)
    if path is None:
        raise ConfigError(
            f"the config.json of '{model.path}' is not on this machine; "
            f"`hf download {model.path} config.json` fetches it, a few kB"
        )
    if not path.exists():
        raise ConfigError(f"{path} does not exist; an adapter's base decides its size")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: does not hold an object of keys and values")
    return found


def context_of(model: ModelConfig) -> int | None:
    """Return the model's context in tokens: the recipe's, else that of its ``config.json``, ``None`` where unknown."""
    if model.context is not None:
        return model.context
    try:
        context = model_config(model).get("max_position_embeddings")
    except ConfigError:
        return None
    return context if isinstance(context, int) else None


def _cached(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    return Path(found) if isinstance(found, str) else None
