"""An ablation: points of a grid, each with every seed, as the arms of one run. No torch.

adhere ablate recipe=quickstart 'weights=[{checklist: 0},{checklist: 0.5},{checklist: 1}]' gate=[true,false] seeds=[0,1]
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adhere.rewards.errors import ConfigError, nearest
from adhere.train.ablation.halving import check_rungs
from adhere.train.config.ablation import name_problem, override_key
from adhere.train.config.compose import compose_recipe, compose_variants
from adhere.train.config.named_stages import BASE, ON_POLICY, last_models
from adhere.train.config.schema import Recipe
from adhere.train.config.suites import override_value
from adhere.train.plan.rewards import equal_arms
from adhere.train.run.graph import PlannedStage
from adhere.train.run.run import Run, plan_stages

Choice = tuple[str, list[str]]
"""A value of an axis: its part of a point's name, and the overrides that make it."""

MOST = 1000
"""Arms of an ablation: a mistyped axis is found before a minute of composing and a folder of links."""


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
    base = [*overrides, *([] if "~arms" in overrides else ["~arms"])]
    recipe = compose_recipe(base)
    config = recipe.ablation
    wanted = points(recipe)
    _at_most(len(wanted) * len(config.seeds))
    last = last_models(recipe.stages) if config.judge_by is None else [config.judge_by]
    if len(last) > 1:
        raise ConfigError(
            f"ablation.judge_by: a point is its last model, and the stages end in {' and '.join(last)}; name one of "
            f"them, leave out all but one, or merge them"
        )
    trained = [name for name, stage in recipe.stages.items() if stage.kind == "grpo"]
    if config.halving is not None and trained != last:
        raise ConfigError(
            f"ablation.halving: ends the last stage of a point early, of kind grpo, where it is the only one of that "
            f"kind; the stages of kind grpo are {', '.join(trained) or 'none'}, the last is {', '.join(last) or 'none'}"
        )
    first = compose_variants(base, {name: [*extra, f"grpo.seed={config.seeds[0]}"] for name, extra in wanted.items()})
    merged = tuple((dropped, kept, why) for kept, dropped, why in equal_arms(first))
    stands_in = {dropped: kept for dropped, kept, _ in merged}
    kept = {name: extra for name, extra in wanted.items() if name not in stands_in}
    for name in kept if config.judge_by is None else ():
        if len(ends := last_models(first[name].stages)) != 1:
            raise ConfigError(
                f"ablation.methods: {name} ends in {' and '.join(ends) or 'no model'}; a point is its last model, so "
                f"let its stages end in one"
            )
    # A wrong name is found before training, because it is read only after it.
    models, reference = [name for name in [BASE, *recipe.stages] if name not in last], config.reference
    if reference is not None and reference not in (*kept, *models):
        why = (
            f"'{reference}' was merged; name '{stands_in[reference]}', which stands for it"
            if reference in stands_in
            else f"there is no point '{reference}'{nearest(reference, [*kept, *models])}; --plan lists them"
        )
        raise ConfigError(f"ablation.reference: {why}")
    if config.halving is not None:
        check_rungs(config.halving, recipe.grpo.max_steps, recipe.grpo.logging_steps, len(kept))
    several = len(config.seeds) > 1
    members = {f"{name}-s{seed}" if several else name: (name, seed) for name in kept for seed in config.seeds}
    variants = {arm: [*kept[name], f"grpo.seed={seed}"] for arm, (name, seed) in members.items()}
    others = {arm: variants[arm] for arm, (_, seed) in members.items() if seed != config.seeds[0]}
    composed = compose_variants(base, others)
    arms = {arm: composed[arm] if arm in composed else first[name] for arm, (name, _) in members.items()}
    graph = plan_stages(base, arms, variants)
    lengths = {stage.recipe.grpo.max_steps for stage in graph.stages.values() if stage.kind == "grpo"}
    if config.halving is not None and lengths != {recipe.grpo.max_steps}:
        raise ConfigError(
            f"ablation.halving: compares points at the same step, and grpo.max_steps is "
            f"{', '.join(map(str, sorted(lengths)))} in the stages and {recipe.grpo.max_steps} in the recipe; use one "
            f"length, or set halving to null"
        )
    made: dict[tuple[str, ...], str] = {}
    for arm in arms:
        keys = tuple(sorted(stage.key for stage in graph.stages.values() if arm in stage.arms))
        if keys in made:
            raise ConfigError(
                f"ablation: '{made[keys]}' and '{arm}' come to the same stages; a stage's with: sets what they differ "
                f"in"
            )
        made[keys] = arm
    shown = recipe.model_copy(update={"arms": variants})
    return Ablation(Run(shown, arms, graph, tuple(overrides), members), merged)


def _at_most(arms: int) -> None:
    if arms > MOST:
        raise ConfigError(
            f"ablation: the axes and seeds make {arms:,} arms, and {MOST:,} are the most; list fewer values, or look "
            f"with adhere reweight which of them are worth a run"
        )


def method_overrides(recipe: Recipe, name: str) -> list[str]:
    """Return the overrides that make ``recipe`` the method ``name``, measured as all methods are."""
    method = recipe.ablation.methods[name]
    stages = method.stages
    if method.overrides:
        stages = {
            stage: config.model_dump(exclude_defaults=True)
            | ({"with": [*config.overrides, *method.overrides]} if config.kind == "grpo" else {})
            for stage, config in recipe.stages.items()
        }
    own = [] if stages is None else [f"stages={override_value(stages)}"]
    return [*recipe.ablation.compared_by, *own]


def budget(stages: Iterable[PlannedStage]) -> int:
    """Return the tokens that the policy generates to train on in ``stages``, at most."""
    total = 0
    for stage in stages:
        recipe = stage.recipe
        if stage.kind in ON_POLICY:
            completions = recipe.grpo.max_steps * recipe.completions_per_step / recipe.grpo.iterations
            total += round(completions * recipe.grpo.max_completion_length)
        elif stage.kind == "pairs":
            total += (recipe.pairs.prompts or 0) * recipe.pairs.samples * recipe.pairs.max_completion_length
    return total


def points(recipe: Recipe) -> dict[str, list[str]]:
    """Return the overrides of every point of ``recipe.ablation`` by its name, which holds what varies.

    Raises:
        ConfigError: nothing varies, a weight names no component of the recipe, there are more than ``MOST`` points, two
            would have one name, one overrides a key twice, or a name cannot be that of a file.
    """
    config, components = recipe.ablation, recipe.rewards.components
    weightings = list(config.weights)
    if (simplex := config.simplex) is not None:
        names, last = simplex.components, simplex.steps + len(simplex.components) - 1
        _at_most(math.comb(last, simplex.steps))
        # Bars between the units that a component gets: every way to share them, as shares of the whole.
        for bars in itertools.combinations(range(last), len(names) - 1):
            edges = (-1, *bars, last)
            shares = [(b - a - 1) / simplex.steps for a, b in itertools.pairwise(edges)]
            weightings.append(dict(zip(names, shares, strict=True)))
    for weights in weightings:
        if not weights:
            raise ConfigError("ablation.weights: an empty map changes nothing; name a component and its weight")
        for name in weights:
            if name not in components:
                raise ConfigError(f"ablation.weights: no component is named '{name}'{nearest(name, components)}")

    def label(weights: Mapping[str, float], digits: str) -> str:
        return "_".join(f"{name}{weight:{digits}}" for name, weight in weights.items())

    # A weighting's name has six digits, or all where fewer do not tell it apart.
    exact = {str(weights): weights for weights in weightings}
    short = Counter(label(weights, "g") for weights in exact.values())
    weighted = [
        (
            label(weights, "g" if short[label(weights, "g")] == 1 else ""),
            [f"rewards.components.{name}.weight={weight}" for name, weight in weights.items()],
        )
        for weights in exact.values()
    ]
    ungated = [f"rewards.components.{name}.gate=null" for name, c in components.items() if c.gate is not None]
    checklists = [name for name, c in components.items() if c.kind == "checklist"]
    judges = [name for name, c in components.items() if getattr(c, "judge", None) is not None]
    if config.judge_samples and not judges:
        raise ConfigError("ablation.judge_samples: no component of this recipe has a judge; remove it, or add one")
    every: list[list[Choice]] = [
        weighted,
        [("gated", []) if kept else ("ungated", ungated) for kept in config.gate],
        [(name, [f"rewards.aggregation={name}"]) for name in config.aggregation],
        [(kind, [f"rewards.components.{name}.scoring={kind}" for name in checklists]) for kind in config.scoring],
        [(f"judge{n}", [f"rewards.components.{j}.judge.samples={n}" for j in judges]) for n in config.judge_samples],
        [(name, method_overrides(recipe, name)) for name in config.method],
        [(name, list(extra)) for name, extra in (config.variants or {}).items()],
    ]
    axes = [axis for axis in every if axis]
    if not axes and len(recipe.ablation.seeds) == 1:
        raise ConfigError(
            "ablation: there is nothing to compare; give weights=[...], simplex=STEPS, gate=[true,false], "
            "aggregation=[...], scoring=[...], judge_samples=[...], method=[...], variants={...} or seeds=[...]"
        )
    _at_most(math.prod(len(axis) for axis in axes))
    found: dict[str, list[str]] = {}
    for choices in itertools.product(*axes):
        varying = [name for (name, _), axis in zip(choices, axes, strict=True) if len(axis) > 1]
        name = "-".join(varying) or recipe.name
        overrides = [override for _, extra in choices for override in extra]
        if problem := name_problem(name):
            raise ConfigError(f"ablation: the point's name '{name}' {problem}")
        if found.get(name, overrides) != overrides:
            raise ConfigError(f"ablation: two points would be called '{name}'; give the variants other names")
        keys = Counter(override_key(override) for override in overrides)
        if twice := [key for key, count in keys.items() if count > 1]:
            raise ConfigError(f"ablation: {name} sets {twice[0]} twice, and the last would win; leave one of them out")
        found[name] = overrides
    return found
