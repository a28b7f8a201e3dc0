"""Leave out what needs a judge that does not answer, and say so."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from prompts.item import PromptItem
from rewards.config import RewardConfig
from rewards.errors import ConfigError

SECONDS = 2.0


def without_unreachable(
    config: RewardConfig, items: Sequence[PromptItem]
) -> tuple[RewardConfig, list[PromptItem], list[str]]:
    """Return ``config`` and ``items`` without what asks an endpoint that refuses a connection, and the reasons.

    A component of kind ``judge`` goes, and gates on it open. A checklist component stays, without its judge: the
    requirements that a judge decides go from the items.

    Raises:
        ConfigError: nothing with a weight would be left.
    """
    dead = {
        name: url
        for name, component in config.components.items()
        if (url := next((u for u in _urls(component) if not answers(u)), None)) is not None
    }
    judges = [name for name in dead if getattr(config.components[name], "kind", "") == "judge"]
    components = {
        name: component.model_copy(
            update=({"judge": None} if name in dead else {}) | ({"gate": None} if component.gate in judges else {})
        )
        for name, component in config.components.items()
        if name not in judges
    }
    if not any(weight > 0.0 for name, weight in config.weights().items() if name in components):
        raise ConfigError(
            f"audit: every weighted component needs {', '.join(dead.values())}, which does not answer; start the judge"
        )
    skipped = [f"{name}: skipped, {url} does not answer" for name, url in dead.items()]
    kept = [_without_judged(item) for item in items] if dead else list(items)
    return config.model_copy(update={"components": components}), kept, skipped


def answers(url: str) -> bool:
    """Whether something accepts connections at ``url`` within two seconds."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=SECONDS):
            return True
    except OSError:
        return False


def _urls(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value: Any = getattr(model, name)
        if name == "base_url" and isinstance(value, str):
            yield value
        elif isinstance(value, BaseModel):
            yield from _urls(value)


def _without_judged(item: PromptItem) -> PromptItem:
    ruled = tuple(r for r in item.checklist if not r.needs_judge)
    return item if len(ruled) == len(item.checklist) else replace(item, checklist=ruled)
