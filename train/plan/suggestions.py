"""What to change so that a stage fits a device, tried by the estimate itself. No torch."""

from __future__ import annotations

import itertools
from typing import Any

from adhere.rewards.errors import ConfigError
from adhere.train.config.adapters import adapter_problems
from adhere.train.config.kinds import kind_of
from adhere.train.config.schema import Recipe
from adhere.train.config.validate import validate_recipe
from adhere.train.plan.architecture import Architecture
from adhere.train.plan.memory import GIB, stage_memory

SHOWN = 3
"""Ways that are named; a change that another one of them contains is left out."""

Change = dict[str, Any]


def fitting(recipe: Recipe, kind: str, a: Architecture, gib: float) -> list[str]:
    """Return ways to need at most ``gib`` GiB per device, as overrides with the estimate, the cheapest ones first.

    Args:
        recipe: what the stage runs with.
        kind: of the stage.
        a: sizes of its model.
        gib: memory that it may take, in GiB.
    """
    # Changes in the order of what they cost: time, then communication, then what is trained.
    workload = kind_of(kind).workload
    changes: list[Change] = []
    if workload == "evaluation":
        size = recipe.evaluation.batch_size
        changes = [{"evaluation.batch_size": size >> n} for n in range(1, size.bit_length())]
    elif workload == "rehearse":
        size, passes = recipe.grpo.per_device_batch_size, recipe.grpo.gradient_accumulation
        for n in range(1, size.bit_length()):
            if size % 2**n == 0:
                batch = {"grpo.per_device_batch_size": size >> n, "grpo.gradient_accumulation": passes << n}
                changes.append(batch)
    elif workload is not None:
        config = recipe.sft if workload == "sft" else recipe.grpo
        recompute: list[Change] = [{}]
        if not config.gradient_checkpointing:
            recompute.append({f"{workload}.gradient_checkpointing": True})
        asleep: list[Change] = [{}]
        if workload == "grpo" and recipe.grpo.generation == "vllm_colocate" and not recipe.grpo.vllm.sleep:
            asleep.append({"grpo.vllm.sleep": True})
        # The micro batch is halved and as much more accumulated, which trains on the same batch.
        batches: list[Change] = [{}]
        size, factor = config.per_device_batch_size, 1
        while size % 2 == 0:
            size, factor = size // 2, factor * 2
            accumulated = config.gradient_accumulation * factor
            batches.append(
                {f"{workload}.per_device_batch_size": size, f"{workload}.gradient_accumulation": accumulated}
            )
        # Strategies that share more than the recipe's own.
        launcher, strategies = recipe.launcher, list[str]()
        if launcher.processes > 1 and launcher.strategy in ("ddp", "zero2"):
            strategies += ["zero2"] if launcher.strategy == "ddp" else []
            strategies += ["zero3"] if launcher.device == "cpu" else ["zero3", "fsdp2"]
        strategies += [] if launcher.offload else ["zero2_offload", "zero3_offload"]
        shared: list[Change] = [{}, *({"strategy": name} for name in strategies)]
        adapters: list[Change] = [{}, {"model.adapter.kind": "lora"}] if recipe.model.adapter.kind == "none" else [{}]
        ways = itertools.product(adapters, shared, batches, asleep, recompute)
        changes = [{key: value for part in way for key, value in part.items()} for way in ways]

    found: list[set[tuple[str, str]]] = []
    said: list[str] = []
    for change in changes:
        if not change or len(found) == SHOWN:
            continue
        # What it does, however small it makes a batch.
        sized = ("batch_size", "gradient_accumulation")
        what = {(key, "" if key.endswith(sized) else str(value)) for key, value in change.items()}
        if any(known <= what for known in found):
            continue
        changed = _with(recipe, change)
        need = stage_memory(changed, kind, a).peak.total / GIB
        if need > gib:
            continue
        try:
            validate_recipe(changed.model_dump(mode="json"))
        except ConfigError:
            continue
        if adapter_problems(changed.stages, dict.fromkeys(changed.stages, changed)):
            continue  # a strategy may not suit its adapters
        found.append(what)
        words = (f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in change.items())
        said.append(f"{' '.join(words)} ({need:.1f} GiB)")
    return said


def _with(recipe: Recipe, change: Change) -> Recipe:
    """Return ``recipe`` with ``change``, whose keys are dotted; ``strategy`` is the group of that name."""
    given = dict(change)
    if "strategy" in given:
        given["launcher.strategy"], _, offload = given.pop("strategy").partition("_")
        given["launcher.offload"] = bool(offload)
    for key, value in given.items():
        *path, last = key.split(".")
        sections = list(itertools.accumulate(path, getattr, initial=recipe))
        for section, name in zip(reversed(sections), [last, *reversed(path)], strict=True):
            value = section.model_copy(update={name: value})
        recipe = value
    return recipe
