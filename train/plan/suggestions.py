"""What to change so that a stage fits a device, tried by the estimate itself. No torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from adhere.rewards.errors import ConfigError
from adhere.train.config.schema import Recipe
from adhere.train.config.validate import validate_recipe
from adhere.train.plan.architecture import Architecture
from adhere.train.plan.memory import GIB, stage_memory

SHOWN = 3
"""Ways that are named; a change that another one of them contains is left out."""

Change = dict[str, Any]


def fitting(recipe: Recipe, kind: str, a: Architecture, gib: float) -> list[str]:
    """Return ways to need at most ``gib`` GiB per device, as overrides with the estimate, the cheapest ones first."""
    found: list[Change] = []
    said = []
    for change in _changes(recipe, kind):
        if len(found) == SHOWN:
            break
        if any(_kind_of(known) <= _kind_of(change) for known in found):
            continue
        changed = _with(recipe, change)
        need = stage_memory(changed, kind, a).peak.total / GIB
        if need <= gib and _allowed(changed):
            found.append(change)
            said.append(f"{' '.join(f'{key}={_word(value)}' for key, value in change.items())} ({need:.1f} GiB)")
    return said


def _kind_of(change: Change) -> set[tuple[str, str]]:
    """Return what a change does, however small it makes a batch."""
    sized = ("batch_size", "gradient_accumulation")
    return {(key, "" if key.endswith(sized) else str(value)) for key, value in change.items()}


def _changes(recipe: Recipe, kind: str) -> Iterator[Change]:
    """Yield changes in the order of what they cost: time, then communication, then what is trained."""
    if kind == "evaluate":
        size = recipe.evaluation.batch_size
        yield from ({"evaluation.batch_size": size >> n} for n in range(1, size.bit_length()))
        return
    config = recipe.sft if kind == "sft" else recipe.grpo
    recompute: list[Change] = [{}] if config.gradient_checkpointing else [{}, {f"{kind}.gradient_checkpointing": True}]
    asleep: list[Change] = [{}]
    if kind == "grpo" and recipe.grpo.generation == "vllm_colocate" and not recipe.grpo.vllm.sleep:
        asleep.append({"grpo.vllm.sleep": True})
    adapters: list[Change] = [{}, {"model.adapter.kind": "lora"}] if recipe.model.adapter.kind == "none" else [{}]
    ways = itertools.product(adapters, _strategies(recipe), _batches(recipe, kind), asleep, recompute)
    yield from (change for parts in ways if (change := {key: v for part in parts for key, v in part.items()}))


def _batches(recipe: Recipe, kind: str) -> Iterator[Change]:
    """Yield the micro batch, and its halves with as much more accumulated, which train on the same batch."""
    yield {}
    config = recipe.sft if kind == "sft" else recipe.grpo
    size, factor = config.per_device_batch_size, 1
    while size % 2 == 0:
        size, factor = size // 2, factor * 2
        yield {
            f"{kind}.per_device_batch_size": size,
            f"{kind}.gradient_accumulation": config.gradient_accumulation * factor,
        }


def _strategies(recipe: Recipe) -> Iterator[Change]:
    """Yield the strategies that share more than the recipe's own."""
    yield {}
    launcher = recipe.launcher
    if launcher.processes > 1 and launcher.strategy in ("ddp", "zero2"):
        if launcher.strategy == "ddp":
            yield {"strategy": "zero2"}
        yield {"strategy": "zero3"}
        if launcher.device != "cpu":
            yield {"strategy": "fsdp2"}
    if not launcher.offload:
        yield {"strategy": "zero2_offload"}
        yield {"strategy": "zero3_offload"}


def _allowed(recipe: Recipe) -> bool:
    """Whether a run of ``recipe`` would start: a strategy may not suit its adapters."""
    try:
        validate_recipe(recipe.model_dump(mode="json"))
    except ConfigError:
        return False
    return True


def _with(recipe: Recipe, change: Change) -> Recipe:
    """Return ``recipe`` with ``change``, whose keys are dotted; ``strategy`` is the group of that name."""
    for key, value in change.items():
        if key == "strategy":
            name, _, offload = value.partition("_")
            update = {"strategy": name, "offload": bool(offload)}
            recipe = recipe.model_copy(update={"launcher": recipe.launcher.model_copy(update=update)})
        else:
            recipe = _set(recipe, key.split("."), value)
    return recipe


def _set(model: Any, path: list[str], value: Any) -> Any:
    inner = value if len(path) == 1 else _set(getattr(model, path[0]), path[1:], value)
    return model.model_copy(update={path[0]: inner})


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
