"""What the rewards of a recipe's arms come to: a table of effective weights, and arms that train the same model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rewards.aggregation import resolution
from rewards.config import ChecklistComponent, ComponentConfig, FormatComponent, MathComponent, RewardConfig
from rewards.schedules import WeightSchedule
from train.config.schema import Recipe

BY_RATIO = ("weighted_sum", "gated", "normalize_then_sum", "saturation_aware")
"""Aggregations in which a common factor of all weights is divided away, by the group's or the batch's deviation."""

WHY_EQUAL = {
    "product": "an exponent changes no score that is 0 or 1",
    "all": "a weight counts or does not, its size is nothing",
    "lexicographic": "weights say which components count, their order in the recipe says the rest",
}


def reward_lines(recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the table of effective weights, one row an arm, and the warnings about it."""
    width = max(len(arm) for arm in recipes)
    rows = [f"  {arm:<{width}}  {_arm(recipe)}" for arm, recipe in recipes.items()]
    warnings = [f"{arm}: {problem}" for arm, recipe in recipes.items() for problem in reward_warnings(recipe)]
    warnings += [f"arms '{a}' and '{b}' are equivalent: {why}" for a, b, why in equal_arms(recipes)]
    return ["rewards", *rows, *(f"warning: {text}" for text in warnings)]


def _arm(recipe: Recipe) -> str:
    config = recipe.rewards
    cells = [_component(recipe, name) for name in config.components]
    return f"{config.aggregation} of {', '.join(cells)}{_note(recipe)}"


def _component(recipe: Recipe, name: str) -> str:
    """Return one component with its weight, its effective ratio where ratios are what counts, and its gate."""
    config = recipe.rewards
    component = config.components[name]
    moments = [config.weights(step, recipe.grpo.max_steps) for step in moments_of(recipe)]
    if not any(weights[name] for weights in _every_step(recipe)):
        return f"{name} (metric)"
    gate = f" gated on {config.gate_of(name)}" if config.gate_of(name) else ""
    if config.aggregation in ("all", "lexicographic"):
        return f"{name}{gate}"
    weight = f"{component.weight:g}" if isinstance(component.weight, float) else str(component.weight)
    if not _ratios_matter(config):
        over = f" ({_over_time([w[name] for w in moments])})" if isinstance(component.weight, WeightSchedule) else ""
        return f"{name} {weight}{over}{gate}"
    reference = reference_of(recipe)
    ratios = [w[name] / w[reference] for w in moments if w[reference] > 0.0]
    return f"{name} {weight} (ratio {_over_time(ratios)}){gate}"


def _note(recipe: Recipe) -> str:
    config = recipe.rewards
    if config.aggregation == "lexicographic":
        counted = {n: max(w[n] for w in _every_step(recipe)) for n in config.components}
        return f", in this order from {config.primary_name}, scores in {resolution(counted)} levels"
    if not _ratios_matter(config):
        return ", weights as written" if config.aggregation == "weighted_sum" else ""
    reference = reference_of(recipe)
    scheduled = ", at the start, middle and end of training" if config.scheduled else ""
    return f"; ratios to {reference}{scheduled}"


def reward_warnings(recipe: Recipe) -> Iterator[str]:
    """Yield what is allowed but can hardly be meant: schedules past the end, steps without any weight, idle weights."""
    config, total = recipe.rewards, recipe.grpo.max_steps
    for name, component in config.components.items():
        weight = component.weight
        if isinstance(weight, WeightSchedule) and weight.last_place(total) > total:
            yield (
                f"rewards.components.{name}.weight: the schedule goes on to step {weight.last_place(total)}, but "
                f"training ends after {total}"
            )
        elif isinstance(weight, WeightSchedule) and weight.schedule == "step" and weight.last_place(total) == total:
            yield f"rewards.components.{name}.weight: its last value would begin at step {total}, the end of training"
    idle = [step for step, weights in enumerate(_every_step(recipe)) if not any(weights.values())]
    if idle:
        yield f"in {len(idle)} of {total} steps, the first of them step {idle[0]}, every weight is 0: nothing is learned"
    counted = {n for weights in _every_step(recipe) for n, w in weights.items() if w > 0.0}
    if config.aggregation in ("all", "lexicographic"):
        sized = [n for n in counted if config.components[n].weight != 1.0]
        if sized:
            yield f"the size of a weight is nothing under {config.aggregation}: {', '.join(sorted(sized))} just counts"
    if config.aggregation in ("product", "all", "lexicographic", "gated") and len(counted) == 1:
        yield f"only {counted.pop()} has a weight, so {config.aggregation} combines nothing"


def moments_of(recipe: Recipe) -> list[int]:
    """Return the steps at which scheduled weights are shown: the first, the middle and the last one."""
    total = recipe.grpo.max_steps
    return [0, total // 2, total - 1] if recipe.rewards.scheduled else [0]


def reference_of(recipe: Recipe) -> str:
    """Return the component that ratios are taken to: the primary, or the first one whose weight is never 0.

    Where every component's weight is 0 at some time, it is the one that counts for the most steps.
    """
    config = recipe.rewards
    steps = list(_every_step(recipe))
    names = [config.primary_name, *(n for n in config.components if n != config.primary_name)]
    return max(names, key=lambda name: sum(weights[name] > 0.0 for weights in steps))


def _ratios_matter(config: RewardConfig) -> bool:
    return config.aggregation in BY_RATIO and config.scale != "none"


def _over_time(figures: list[float]) -> str:
    return " → ".join(f"{figure:.3g}" for figure in figures) if len(set(figures)) > 1 else f"{figures[0]:.3g}"


def _every_step(recipe: Recipe) -> Iterator[dict[str, float]]:
    config, total = recipe.rewards, recipe.grpo.max_steps
    return (config.weights(step, total) for step in (range(total) if config.scheduled else range(1)))


def equal_arms(recipes: Mapping[str, Recipe]) -> list[tuple[str, str, str]]:
    """Return pairs of arms that train the same model though they are written differently, and why that is so.

    Rewards that differ by a positive factor and a constant have the same advantages once they are scaled.
    """
    seen: dict[str, str] = {}
    pairs = []
    for arm, recipe in recipes.items():
        content = recipe.model_dump(mode="json", exclude={"arms", "run", "name", "rewards"})
        key = repr((content, _canonical(recipe)))
        if key in seen:
            pairs.append((seen[key], arm, _why(recipes[seen[key]], recipe)))
        seen.setdefault(key, arm)
    return pairs


def _why(one: Recipe, other: Recipe) -> str:
    first, second = one.rewards, other.rewards
    if first == second:
        return "they are written alike"
    if first.aggregation != second.aggregation:
        return f"{first.aggregation} and {second.aggregation} are the same reward for these components"
    if first.model_dump(exclude={"components"}) != second.model_dump(exclude={"components"}):
        return "they differ in settings that this aggregation does not read"
    return WHY_EQUAL.get(first.aggregation, "only ratios of weights matter")


def _canonical(recipe: Recipe) -> object:
    """Return what the advantages of ``recipe`` depend on, in one form for all rewards that are equivalent."""
    config = recipe.rewards
    steps = [{n: w for n, w in weights.items() if w > 0.0} for weights in _every_step(recipe)]
    counted = [n for n in config.components if any(n in weights for weights in steps)]
    aggregation = "weighted_sum" if config.aggregation == "gated" else config.aggregation
    single = len(counted) == 1
    if single and config.scale != "none" and _binary(config.components[counted[0]]):
        aggregation = "weighted_sum" if aggregation in ("product", "all", "lexicographic") else aggregation
    used = {"aggregation": aggregation, "scale": config.scale, "max_error_share": config.max_error_share}
    if aggregation in ("normalize_then_sum", "saturation_aware"):
        used |= {"std_floor": config.std_floor}
    if aggregation == "saturation_aware":
        used |= {"gamma": config.saturation_gamma}
    order = [config.primary_name, *counted] if aggregation == "lexicographic" else sorted(counted)
    gates = {n: config.gate_of(n) for n in counted}
    names = {*counted, *(gate for gate in gates.values() if gate)}
    settings = {n: config.components[n].model_dump(exclude={"weight", "gate"}) for n in sorted(names)}
    trajectory: list[dict[str, float]] = []
    for weights in steps:
        effective = _effective(config, aggregation, weights)
        if len(steps) > 1 or not trajectory:
            trajectory.append(effective)
    flat = trajectory[:1] if all(w == trajectory[0] for w in trajectory) else trajectory
    return used, order, sorted(gates.items()), settings, [sorted(weights.items()) for weights in flat]


def _effective(config: RewardConfig, aggregation: str, weights: Mapping[str, float]) -> dict[str, float]:
    """Return one step's weights with what the aggregation does not see taken out."""
    if aggregation in ("all", "lexicographic"):
        return dict.fromkeys(weights, 1.0)
    if aggregation == "product":
        return {n: 1.0 if _binary(config.components[n]) else w for n, w in weights.items()}
    if aggregation in BY_RATIO and config.scale != "none" and weights:
        largest = max(weights.values())
        return {n: round(w / largest, 9) for n, w in weights.items()}
    return dict(weights)


def _binary(component: ComponentConfig) -> bool:
    """Whether the component scores 0 or 1 and nothing between."""
    if isinstance(component, ChecklistComponent):
        return component.scoring == "all"
    return isinstance(component, (MathComponent, FormatComponent))
