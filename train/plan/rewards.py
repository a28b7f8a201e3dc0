"""What the rewards of a recipe's arms come to: a table of effective weights, and arms that train the same model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adhere.rewards.aggregation import resolution
from adhere.rewards.config import GROUPWISE, SUMMED, RewardConfig
from adhere.rewards.schedules import WeightSchedule
from adhere.train.config.schema import Recipe

Weights = Mapping[str, float]

WHY_EQUAL = {
    "product": "an exponent changes no score that is 0 or 1",
    "all": "a weight counts or does not, its size is nothing",
    "lexicographic": "weights say which components count, and their order in the recipe says the rest",
}


@dataclass(frozen=True, slots=True)
class WeightsOverTraining:
    """A reward with its weights at every optimizer step; one step stands for all where nothing is scheduled."""

    config: RewardConfig
    total: int
    steps: Sequence[Weights]

    @property
    def counted(self) -> list[str]:
        """Components that have a weight at some step, in order."""
        return [name for name in self.config.components if any(weights[name] > 0.0 for weights in self.steps)]

    @property
    def reference(self) -> str:
        """The component that ratios are taken to: the one with a weight for the most steps, the primary if it ties."""
        names = [self.config.primary_name, *self.config.components]
        return max(names, key=lambda name: sum(weights[name] > 0.0 for weights in self.steps))

    @property
    def moments(self) -> list[Weights]:
        """The weights at the start, in the middle and at the end of training."""
        return [self.steps[0], self.steps[len(self.steps) // 2], self.steps[-1]]

    @property
    def scale_free(self) -> bool:
        """Whether a common factor of all weights is divided away, by the group's or the batch's deviation."""
        return self.config.aggregation in SUMMED | GROUPWISE and self.config.scale != "none"


def over_training(recipe: Recipe) -> WeightsOverTraining:
    """Return the weights of ``recipe`` at every step of its GRPO stage."""
    config, total = recipe.rewards, recipe.grpo.max_steps
    steps = [config.weights(step, total) for step in range(total if config.scheduled else 1)]
    return WeightsOverTraining(config, total, steps)


def reward_lines(recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the table of effective weights, one row an arm, and what there is to warn of."""
    arms = {arm: over_training(recipe) for arm, recipe in recipes.items()}
    warnings = [f"{arm}: {problem}" for arm, weights in arms.items() for problem in _warnings(weights)]
    warnings += [f"arms '{a}' and '{b}' are equivalent: {why}" for a, b, why in equal_arms(recipes)]
    return [*_table(arms), *(f"warning: {text}" for text in warnings)]


def _table(arms: Mapping[str, WeightsOverTraining]) -> list[str]:
    names = list(dict.fromkeys(name for weights in arms.values() for name in weights.config.components))
    rows = [["arm", "aggregation", *names]]
    for arm, weights in arms.items():
        cells = [_cell(weights, name) if name in weights.config.components else "" for name in names]
        rows.append([arm, _aggregation(weights), *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    moments = "at the start, middle and end of training" if any(w.config.scheduled for w in arms.values()) else ""
    title = f"rewards  weights{', ' + moments if moments else ''}"
    return [title, *("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)]


def _aggregation(weights: WeightsOverTraining) -> str:
    """Return the aggregation, and what the numbers of its row are."""
    name = weights.config.aggregation
    if weights.scale_free:
        return f"{name}, ratio to {weights.reference}"
    if name == "lexicographic":
        levels = resolution({n: 1.0 for n in weights.counted})
        return f"{name}, rank" if len(weights.counted) < 2 else f"{name}, rank, {levels} levels"
    return {"product": f"{name}, exponent", "all": name}.get(name, f"{name}, as written")


def _cell(weights: WeightsOverTraining, name: str) -> str:
    config = weights.config
    if name not in weights.counted:
        return "metric"
    if config.aggregation == "all":
        figure = "counts"
    elif config.aggregation == "lexicographic":
        order = sorted(weights.counted, key=lambda n: n != config.primary_name)
        figure = str(order.index(name) + 1)
    elif weights.scale_free:
        reference = weights.reference
        figure = _over_time([w[name] / w[reference] if w[reference] else w[name] for w in weights.moments])
    else:
        figure = _over_time([w[name] for w in weights.moments])
    gate = config.gate_of(name)
    return f"{figure} if {gate}" if gate else figure


def _over_time(figures: Sequence[float]) -> str:
    return " → ".join(f"{figure:.3g}" for figure in (figures if len(set(figures)) > 1 else figures[:1]))


def _warnings(weights: WeightsOverTraining) -> Iterator[str]:
    """Yield what is allowed but can hardly be meant: schedules past the end, steps without weight, idle settings."""
    config, total = weights.config, weights.total
    for name, component in config.components.items():
        weight = component.weight
        if isinstance(weight, WeightSchedule) and not weight.ends_within(total):
            yield (
                f"rewards.components.{name}.weight: the schedule goes on to step {weight.last_place(total)}, "
                f"but training ends after {total}"
            )
    idle = [step for step, now in enumerate(weights.steps) if not any(now.values())]
    if idle:
        yield f"every weight is 0 in {len(idle)} of {total} steps, first in step {idle[0]}: they teach nothing"
    counted = weights.counted
    sized = [n for n in counted if config.components[n].weight != 1.0]
    if config.aggregation in ("all", "lexicographic") and sized:
        yield f"{config.aggregation} does not read the size of a weight: {', '.join(sized)} may as well weigh 1"
    if config.aggregation == "product" and counted and sized == counted and all(_binary(config, n) for n in counted):
        yield f"product: {WHY_EQUAL['product']}, so these weights may as well be 1"
    yield from _idle_settings(config, counted)


def _idle_settings(config: RewardConfig, counted: Sequence[str]) -> Iterator[str]:
    """Yield settings that nothing reads as they stand."""
    if config.aggregation == "lexicographic" and config.primary_name not in counted:
        yield (
            f"lexicographic: the primary '{config.primary_name}' has weight 0, so '{counted[0]}' ranks first; name it "
            f"in rewards.primary, or give '{config.primary_name}' a weight"
        )
    readers: dict[str, list[str]] = {"std_floor": [*sorted(GROUPWISE)], "saturation_gamma": ["saturation_aware"]}
    for key, aggregations in readers.items():
        if config.aggregation not in aggregations and getattr(config, key) != RewardConfig.model_fields[key].default:
            yield (
                f"rewards.{key} is read by {' and '.join(aggregations)} alone, not by {config.aggregation}; leave it "
                f"out, or set rewards.aggregation"
            )
    for name, component in config.components.items():
        judge = getattr(component, "judge", None)
        if judge is not None and judge.deadline < judge.timeout:
            yield (
                f"rewards.components.{name}.judge: a batch may take deadline, {judge.deadline:g} s, and one try "
                f"timeout, {judge.timeout:g} s: a call that hangs ends its batch untried again; set timeout well below"
            )


def equal_arms(recipes: Mapping[str, Recipe]) -> list[tuple[str, str, str]]:
    """Return pairs of arms that train the same model though they are written differently, and why that is so.

    Rewards that differ by a positive factor and a constant have the same advantages once they are scaled.
    """
    seen: dict[str, str] = {}
    pairs = []
    for arm, recipe in recipes.items():
        content = recipe.model_dump(mode="json", exclude={"arms", "run", "name", "rewards"})
        key = repr((content, _canonical(over_training(recipe))))
        if key in seen:
            pairs.append((seen[key], arm, _why(recipes[seen[key]].rewards, recipe.rewards)))
        seen.setdefault(key, arm)
    return pairs


def _why(one: RewardConfig, other: RewardConfig) -> str:
    if one.aggregation != other.aggregation:
        return f"{one.aggregation} and {other.aggregation} are one reward for these components"
    if {n: c.weight for n, c in one.components.items()} == {n: c.weight for n, c in other.components.items()}:
        return "they differ in nothing that is trained on"
    return WHY_EQUAL.get(one.aggregation, "the ratios of their weights are the same, and only they matter")


def _canonical(weights: WeightsOverTraining) -> object:
    """Return what the advantages depend on, in one form for all rewards that are equivalent."""
    config, counted = weights.config, weights.counted
    aggregation = "weighted_sum" if config.aggregation == "gated" else config.aggregation
    if len(counted) == 1 and config.scale != "none" and _is_its_component(weights, counted[0]):
        aggregation = "weighted_sum"
    settings: dict[str, object] = {"scale": config.scale, "max_error_share": config.max_error_share}
    if aggregation in GROUPWISE:
        settings["std_floor"] = config.std_floor
    if aggregation == "saturation_aware":
        settings["saturation_gamma"] = config.saturation_gamma
    order = sorted(counted, key=lambda n: n != config.primary_name) if aggregation == "lexicographic" else []
    gates = {name: config.gate_of(name) for name in sorted(counted)}
    used = sorted({*counted, *(gate for gate in gates.values() if gate)})
    components = {name: config.components[name].model_dump(exclude={"weight", "gate"}) for name in used}
    steps = [sorted(_effective(weights, aggregation, now).items()) for now in weights.steps]
    varying = steps if any(now != steps[0] for now in steps) else steps[:1]
    return aggregation, settings, order, gates, components, varying


def _is_its_component(weights: WeightsOverTraining, name: str) -> bool:
    """Whether the reward, with ``name`` as the only component that counts, is that component's value times a factor."""
    aggregation = weights.config.aggregation
    if aggregation == "product":
        return _binary(weights.config, name) or all(now[name] in (0.0, 1.0) for now in weights.steps)
    return aggregation == "lexicographic" or (aggregation == "all" and _binary(weights.config, name))


def _effective(weights: WeightsOverTraining, aggregation: str, now: Weights) -> dict[str, float]:
    """Return one step's weights without what the aggregation does not see."""
    positive = {name: weight for name, weight in now.items() if weight > 0.0}
    if aggregation in ("all", "lexicographic"):
        return dict.fromkeys(positive, 1.0)
    if aggregation == "product":
        return {name: 1.0 if _binary(weights.config, name) else weight for name, weight in positive.items()}
    if weights.config.scale != "none" and positive:
        largest = max(positive.values())
        return {name: round(weight / largest, 9) for name, weight in positive.items()}
    return positive


def _binary(config: RewardConfig, name: str) -> bool:
    """Whether the component scores 0 or 1 and nothing between."""
    return config.components[name].binary
