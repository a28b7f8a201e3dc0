"""Leave out what needs a judge that does not answer, and say so."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from adhere.prompts.item import PromptItem
from adhere.rewards.components import Component
from adhere.rewards.config import RewardConfig
from adhere.rewards.errors import ConfigError

SECONDS = 2.0


def without_unreachable(
    config: RewardConfig, items: Sequence[PromptItem]
) -> tuple[RewardConfig, list[PromptItem], list[str]]:
    """Return ``config`` and ``items`` without what asks an endpoint that refuses a connection, and the reasons.

    A component that an endpoint decides alone goes (kinds ``judge`` and ``http``, ``scoring: implicit``), and gates on
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
    asked = any(_own_judge(component) and name not in dead for name, component in config.components.items())
    gone = [name for name in dead if asked or _judged_alone(config.components[name])]
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
    kept = [_without_judged(item) for item in items] if dead and not asked else list(items)
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


def _judged_alone(component: Component) -> bool:
    """Whether nothing of the component is left without its endpoint."""
    return component.decides != "requirements" or getattr(component, "scoring", "") == "implicit"


def _own_judge(component: Component) -> bool:
    """Whether a judge of the component's own decides requirements of its checklists."""
    return component.decides == "requirements" and getattr(component, "judge", None) is not None


def _urls(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value: Any = getattr(model, name)
        if name in ("base_url", "url") and isinstance(value, str):
            yield value
        elif isinstance(value, BaseModel):
            yield from _urls(value)


def _without_judged(item: PromptItem) -> PromptItem:
    ruled = tuple(r for r in item.checklist if not r.needs_judge)
    while True:
        ids = {r.id for r in ruled}
        left = tuple(r for r in ruled if r.only_if is None or r.only_if in ids)
        if len(left) == len(ruled):
            break
        ruled = left
    return item if len(ruled) == len(item.checklist) else replace(item, checklist=ruled)
