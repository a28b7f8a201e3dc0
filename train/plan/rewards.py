"""What the rewards of a recipe's arms come to: a table of effective weights, and arms that train the same model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adhere.rewards.aggregation import AGGREGATIONS, SETTINGS, All, Lexicographic, Product, WeightedSum, levels
from adhere.rewards.config import RewardConfig
from adhere.rewards.schedules import WeightSchedule
from adhere.train.config.schema import Recipe

Weights = Mapping[str, float]

WHY_EQUAL = {
    "exponent": "an exponent changes no score that is 0 or 1",
    "switch": "a weight counts or does not, its size is nothing",
    "rank": "weights say which components count, and their order in the recipe says the rest",
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
        return self.weight_is == "factor" and self.config.scale != "none"

    @property
    def weight_is(self) -> str:
        """What a weight means to the aggregation; see `rewards.aggregation.Aggregation`."""
        return self.config.aggregator.weight_is

    @property
    def ranking(self) -> list[str]:
        """The components that count, the primary one first."""
        return sorted(self.counted, key=lambda name: name != self.config.primary_name)


def over_training(recipe: Recipe) -> WeightsOverTraining:
    """Return the weights of ``recipe`` at every step of its GRPO stage."""
    config, total = recipe.rewards, recipe.grpo.max_steps
    steps = [config.weights(step, total) for step in range(total if config.scheduled else 1)]
    return WeightsOverTraining(config, total, steps)


def reward_lines(recipes: Mapping[str, Recipe], stages: Mapping[str, str] | None = None) -> list[str]:
    """Return the table of effective weights, one row for each of ``recipes``, and what there is to warn of.

    ``stages`` names the stage of each row: rows of different stages start from different models, and are never equal.
    """
    arms = {arm: over_training(recipe) for arm, recipe in recipes.items()}
    warnings = [f"{arm}: {problem}" for arm, weights in arms.items() for problem in _warnings(weights)]
    warnings += [
        f"arms '{a}' and '{b}' are equivalent: {why}"
        for a, b, why in equal_arms(recipes)
        if stages is None or stages[a] == stages[b]
    ]
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
    match weights.weight_is:
        case "rank":
            counted = len(weights.counted)
            return f"{name}, rank" if counted < 2 else f"{name}, rank, {levels(counted)} levels"
        case "exponent":
            return f"{name}, exponent"
        case "switch":
            return name
    return f"{name}, as written"


def _cell(weights: WeightsOverTraining, name: str) -> str:
    config = weights.config
    if name not in weights.counted:
        return "metric"
    if weights.weight_is == "switch":
        figure = "counts"
    elif weights.weight_is == "rank":
        figure = str(weights.ranking.index(name) + 1)
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
    """Yield what is allowed but hardly intended: schedules past the end, steps without weight, idle settings."""
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
    if weights.weight_is in ("switch", "rank") and sized:
        yield f"{config.aggregation} does not read the size of a weight: {', '.join(sized)} may as well weigh 1"
    if weights.weight_is == "exponent" and counted == sized != [] and all(_binary(config, n) for n in counted):
        yield f"{config.aggregation}: {WHY_EQUAL['exponent']}, so these weights may as well be 1"
    # Settings that nothing reads as they stand.
    if weights.weight_is == "rank" and config.primary_name not in counted:
        yield (
            f"{config.aggregation}: the primary '{config.primary_name}' has weight 0, so '{counted[0]}' ranks first; "
            f"name it in rewards.primary, or give '{config.primary_name}' a weight"
        )
    for key in SETTINGS:
        if key not in config.aggregator.settings and getattr(config, key) != RewardConfig.model_fields[key].default:
            *most, last = (name for name, aggregation in AGGREGATIONS.items() if key in aggregation.settings)
            readers = " and ".join(filter(None, (", ".join(most), last)))
            yield (
                f"rewards.{key} is read only by {readers}, not by {config.aggregation}; leave it out, or set "
                f"rewards.aggregation"
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
    return WHY_EQUAL.get(one.aggregator.weight_is, "the ratios of their weights are the same, and only they matter")


def _canonical(weights: WeightsOverTraining) -> object:
    """Return what the advantages depend on, in one form for all rewards that are equivalent."""
    config, counted = weights.config, weights.counted
    rule, name = config.aggregator, config.aggregation
    if rule.summed or (config.scale != "none" and len(counted) == 1 and _is_its_component(weights, counted[0])):
        rule, name = WeightedSum(), "weighted_sum"

    def effective(now: Weights) -> dict[str, float]:
        """Return one step's weights without what the aggregation does not see."""
        positive = {name: weight for name, weight in now.items() if weight > 0.0}
        if rule.weight_is in ("switch", "rank"):
            return dict.fromkeys(positive, 1.0)
        if rule.weight_is == "exponent":
            return {name: 1.0 if _binary(config, name) else weight for name, weight in positive.items()}
        if rule.weight_is == "factor" and config.scale != "none" and positive:
            largest = max(positive.values())
            return {name: round(weight / largest, 9) for name, weight in positive.items()}
        return positive

    settings = {key: getattr(config, key) for key in ("scale", "max_error_share", *rule.settings)}
    order = weights.ranking if rule.needs_primary else []
    if rule.weight_is == "own":
        order = [config.primary_name, *counted]
    gates = {name: config.gate_of(name) for name in sorted(counted)}
    used = sorted({*counted, *(gate for gate in gates.values() if gate)})
    components = {name: config.components[name].model_dump(exclude={"weight", "gate"}) for name in used}
    steps = [sorted(effective(now).items()) for now in weights.steps]
    varying = steps if any(now != steps[0] for now in steps) else steps[:1]
    return name, settings, order, gates, components, varying


def _is_its_component(weights: WeightsOverTraining, name: str) -> bool:
    """Whether the reward, with ``name`` as the only component that counts, is that component's value times a factor.

    Of an aggregation that is not ours, nothing is known.
    """
    rule, binary = type(weights.config.aggregator), _binary(weights.config, name)
    if rule is Product:
        return binary or all(now[name] in (0.0, 1.0) for now in weights.steps)
    return rule is Lexicographic or (rule is All and binary)


def _binary(config: RewardConfig, name: str) -> bool:
    """Whether the component scores 0 or 1 and nothing between."""
    return config.components[name].binary
