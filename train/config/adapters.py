"""What stages make of adapters: whether one goes on with its source's, and what each of a graph hands on. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from adhere.rewards.errors import ConfigError
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import BASE, WEIGHTS, StageConfig, running_order
from adhere.train.config.schema import AdapterConfig, Recipe

AdapterMode = Literal["none", "whole", "new", "continue", "merge"]


def mode_of_adapter(adapter: AdapterConfig, strategy: str, *, holds: bool, staged: bool) -> AdapterMode:
    """Return what happens to adapters in a stage that trains.

    Args:
        adapter: what the stage trains.
        strategy: how its ranks share the model.
        holds: whether the model that it starts from is an adapter.
        staged: whether another stage made that model; else it is the recipe's.

    Returns:
        ``none`` (every weight is trained), ``whole`` (the same, after an adapter was merged), ``new`` (adapters on the
        recipe's model), ``continue`` (the same adapters are trained on), or ``merge`` (new adapters, which become part
        of the weights at the end: an adapter on disk always belongs to the recipe's model).

    Raises:
        ConfigError: an adapter would have to be merged into whole weights, which no rank has.
    """
    mode: AdapterMode
    if holds:
        mode = "whole" if staged and adapter.kind == "none" else adapter.handoff
    elif adapter.kind == "none":
        mode = "none"
    else:
        mode = "merge" if staged else "new"
    if mode == "merge" and (adapter.kind == "qlora" or strategy in ("zero3", "fsdp2")):
        lacks = "qlora has a 4-bit base" if adapter.kind == "qlora" else f"{strategy} shards them"
        if holds:
            raise ConfigError(f"model.adapter.handoff: merge needs whole weights on a rank, {lacks}; use continue")
        raise ConfigError(
            f"model.adapter.kind: new adapters on the whole weights of another stage are merged at the end, which "
            f"needs whole weights on a rank, {lacks}; use the same adapter in both"
        )
    if mode == "whole" and strategy == "zero3":
        raise ConfigError(
            "model.adapter.kind: none first merges the adapter that the stage starts from, which needs whole weights "
            "on a rank, zero3 shards them; use strategy=zero2 or fsdp2, or train on the adapter"
        )
    return mode


def adapter_problems(stages: Mapping[str, StageConfig], recipes: Mapping[str, Recipe]) -> list[str]:
    """Return what adapters and whole weights cannot do together in a graph, each with its stage and what to do.

    Args:
        stages: the graph, by the stages' names.
        recipes: the recipe of each stage, with its own overrides.
    """
    problems = []
    # For each model whether it is an adapter, and for one that a training stage made, with which settings.
    # Of what a plug-in's kind makes nothing is known.
    first = next(iter(recipes.values()))
    holds = {BASE: (Path(first.model.path) / "adapter_config.json").exists()}
    made: dict[str, AdapterConfig] = {}
    for name in running_order(stages):
        stage, recipe = stages[name], recipes[name]
        adapter, source = recipe.model.adapter, stage.source or BASE
        kind = kind_of(stage.kind)
        if stage.kind == "merge":
            models = stage.inputs["models"]
            if any(model not in holds for model in models):
                continue
            adapters = [model for model in models if holds[model]]
            holds[name] = recipe.merge.method == "linear" and len(adapters) == len(models)
            shares = recipe.merge.weights
            if adapters and len(adapters) < len(models) and shares is not None and abs(sum(shares) - 1.0) > 1e-6:
                whole = next(model for model in models if model not in adapters)
                problems.append(
                    f"stages.{name}: merge.weights: '{adapters[0]}' is an adapter, '{whole}' has whole weights; a "
                    f"weight means the same for both only where they add up to 1, and {shares} add up to "
                    f"{sum(shares):g}"
                )
        elif kind.workload in ("sft", "grpo") and kind.makes == WEIGHTS:
            if source not in holds:
                if adapter.kind == "none":
                    holds[name] = False
                continue
            try:
                mode = mode_of_adapter(adapter, recipe.launcher.strategy, holds=holds[source], staged=source != BASE)
            except ConfigError as error:
                problems.append(f"stages.{name}: {error}")
                continue
            holds[name] = mode in ("new", "continue")
            if mode == "new":
                made[name] = adapter
            elif mode == "continue" and source in made:
                made[name] = before = made[source]
                problems += [
                    f"stages.{name}: model.adapter.{key}: {getattr(adapter, key)!r}, and the adapter of '{source}', "
                    f"which is trained on, has {getattr(before, key)!r}; leave it as it is, or use "
                    f"model.adapter.handoff=merge"
                    for key in ("rank", "alpha", "dropout", "target_modules")
                    if getattr(adapter, key) != getattr(before, key)
                ]
    return problems
