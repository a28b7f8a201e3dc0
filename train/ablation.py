"""An ablation: points of a grid, each with every seed, as the arms of one run. No torch.

adhere ablate recipe=quickstart 'weights=[{checklist: 0},{checklist: 0.5},{checklist: 1}]' gate=[true,false] seeds=[0,1]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rewards.errors import ConfigError, nearest
from train.config.ablation import AblationConfig, SimplexConfig
from train.config.compose import compose_recipe, compose_variants
from train.config.schema import Recipe
from train.plan.graph import build_graph
from train.plan.rewards import equal_arms
from train.run import Run, keep_suite_out

Choice = tuple[str, list[str]]
"""A value of an axis: its part of a point's name, and the overrides that make it."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """The run whose arms are the points times the seeds, and the points that were left out.

    ``merged`` holds, for each point that was left out, the equivalent one that stands for it, and why they are.
    """

    run: Run
    merged: tuple[tuple[str, str, str], ...]


def plan_ablation(overrides: Sequence[str]) -> Ablation:
    """Compose the recipe, expand its ``ablation`` section, and plan every point with every seed as an arm.

    Raises:
        ConfigError: there is nothing to compare, or a point does not compose.
    """
    base = [*overrides, "~arms"]
    recipe = compose_recipe(base)
    config = recipe.ablation
    wanted = points(recipe)
    first = {name: [*extra, f"grpo.seed={config.seeds[0]}"] for name, extra in wanted.items()}
    merged = tuple((dropped, kept, why) for kept, dropped, why in equal_arms(compose_variants(base, first)))
    kept = {name: extra for name, extra in wanted.items() if name not in {dropped for dropped, *_ in merged}}
    members = {_arm(name, seed, config.seeds): (name, seed) for name in kept for seed in config.seeds}
    variants = {arm: [*kept[name], f"grpo.seed={seed}"] for arm, (name, seed) in members.items()}
    arms = {arm: keep_suite_out(composed) for arm, composed in compose_variants(base, variants).items()}
    shown = recipe.model_copy(update={"arms": variants})
    return Ablation(Run(shown, arms, build_graph(arms), tuple(overrides), members), merged)


def points(recipe: Recipe) -> dict[str, list[str]]:
    """Return the overrides of every point of ``recipe.ablation`` by its name, which holds what varies.

    Raises:
        ConfigError: nothing varies, or a weight names no component of the recipe.
    """
    axes = [axis for axis in _axes(recipe) if axis]
    if not axes and len(recipe.ablation.seeds) == 1:
        raise ConfigError(
            "ablation: there is nothing to compare; give weights=[...], simplex=STEPS, gate=[true,false], "
            "aggregation=[...], scoring=[...], judge_samples=[...], variants={...} or seeds=[...]"
        )
    found: dict[str, list[str]] = {}
    for choices in itertools.product(*axes):
        varying = [name for (name, _), axis in zip(choices, axes, strict=True) if len(axis) > 1]
        found["-".join(varying) or recipe.name] = [override for _, extra in choices for override in extra]
    return found


def _arm(point: str, seed: int, seeds: Sequence[int]) -> str:
    return f"{point}-s{seed}" if len(seeds) > 1 else point


def _axes(recipe: Recipe) -> Iterator[list[Choice]]:
    config, components = recipe.ablation, recipe.rewards.components
    yield [_weighting(recipe, weights) for weights in [*config.weights, *_simplex(config)]]
    ungated = [f"rewards.components.{name}.gate=null" for name, c in components.items() if c.gate is not None]
    yield [("gated", []) if kept else ("ungated", ungated) for kept in config.gate]
    yield [(name, [f"rewards.aggregation={name}"]) for name in config.aggregation]
    checklists = [name for name, c in components.items() if c.kind == "checklist"]
    yield [(kind, [f"rewards.components.{name}.scoring={kind}" for name in checklists]) for kind in config.scoring]
    judges = [name for name, c in components.items() if getattr(c, "judge", None) is not None]
    if config.judge_samples and not judges:
        raise ConfigError("ablation.judge_samples: no component of this recipe has a judge; remove it, or add one")
    yield [
        (f"judge{n}", [f"rewards.components.{name}.judge.samples={n}" for name in judges]) for n in config.judge_samples
    ]
    yield [(name, list(extra)) for name, extra in (config.variants or {}).items()]


def _weighting(recipe: Recipe, weights: Mapping[str, float]) -> Choice:
    known = recipe.rewards.components
    for name in weights:
        if name not in known:
            raise ConfigError(f"ablation.weights: no component is named '{name}'{nearest(name, known)}")
    label = "_".join(f"{name}{weight:g}" for name, weight in weights.items())
    return label, [f"rewards.components.{name}.weight={weight:g}" for name, weight in weights.items()]


def _simplex(config: AblationConfig) -> list[dict[str, float]]:
    return [] if config.simplex is None else list(_compositions(config.simplex))


def _compositions(simplex: SimplexConfig) -> Iterator[dict[str, float]]:
    """Yield every way to share ``steps`` units among the components, as shares of the whole."""
    names, steps = simplex.components, simplex.steps
    for bars in itertools.combinations(range(steps + len(names) - 1), len(names) - 1):
        edges = (-1, *bars, steps + len(names) - 1)
        yield {name: (b - a - 1) / steps for name, a, b in zip(names, edges, edges[1:], strict=False)}
