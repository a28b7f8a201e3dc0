"""Leave out what needs a judge that does not answer, and say so."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from adhere.prompts.item import PromptItem
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError

SECONDS = 2.0


def without_unreachable(
    config: RewardConfig, items: Sequence[PromptItem]
) -> tuple[RewardConfig, list[PromptItem], list[str]]:
    """Return ``config`` and ``items`` without what asks an endpoint that refuses a connection, and the reasons.

    A component that only an endpoint decides goes (kinds ``judge`` and ``http``, ``scoring: implicit``), and gates on
    it open. Another checklist component stays, without its judge: the requirements that a judge decides go from the
    items, and those that hang on them. Where another component's judge lives, the items stay whole and the dead one's
    component goes.

    Raises:
        ConfigError: nothing with a weight would be left, or no primary component where the aggregation needs it; or
            an endpoint has no usable port.
    """
    dead = {
        name: f"{url} does not answer"
        for name, component in config.components.items()
        if (url := next((u for u in _urls(component) if not answers(u, f"components.{name}")), None)) is not None
    }
    asked = any(
        component.decides == "requirements" and getattr(component, "judge", None) is not None and name not in dead
        for name, component in config.components.items()
    )
    whole = {  # components of which nothing is left without their endpoint
        name
        for name, component in config.components.items()
        if component.decides != "requirements" or getattr(component, "scoring", "") == "implicit"
    }
    gone = [name for name in dead if asked or name in whole]
    if config.primary_name in gone and config.aggregator.needs_primary:
        raise ConfigError(
            f"audit: aggregation '{config.aggregation}' needs its primary component '{config.primary_name}', and "
            f"{dead[config.primary_name]}; start the judge, or name another rewards.primary"
        )
    components = {
        name: component.model_copy(
            update=({"judge": None} if name in dead else {}) | ({"gate": None} if component.gate in gone else {})
        )
        for name, component in config.components.items()
        if name not in gone
    }
    if not any(weight > 0.0 for name, weight in config.weights().items() if name in components):
        raise ConfigError(
            f"audit: nothing with a weight is left, {', '.join(dict.fromkeys(dead.values()))}; start the judge"
        )
    skipped = [
        f"{name}: skipped, {why}" if name in gone else f"{name}: requirements that a judge decides are skipped, {why}"
        for name, why in dead.items()
    ]
    kept = list(items)
    if dead and not asked:
        # requirements that a judge decides go, and then, as long as there are any, those that hang on one that went
        for i, item in enumerate(items):
            left = tuple(r for r in item.checklist if not r.needs_judge)
            while gone_too := [r for r in left if r.only_if is not None and r.only_if not in {o.id for o in left}]:
                left = tuple(r for r in left if r not in gone_too)
            if len(left) < len(item.checklist):
                kept[i] = replace(item, checklist=left)
    primary = None if config.primary in gone else config.primary
    return config.model_copy(update={"components": components, "primary": primary}), kept, skipped


def answers(url: str, where: str) -> bool:
    """Whether something accepts connections at ``url`` within two seconds.

    Raises:
        ConfigError: it has no usable host and port; ``where`` opens the message.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigError(f"{where}: base_url '{url}': {error}; write http://HOST:PORT/v1") from error
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=SECONDS):
            return True
    except OSError:
        return False


def _urls(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value: Any = getattr(model, name)
        if name in ("base_url", "url") and isinstance(value, str):
            yield value
        elif isinstance(value, BaseModel):
            yield from _urls(value)
