"""Aggregations: how the components' values of a rollout become its reward, each one registered under a recipe's name.

Arrays say their axes in their names: ``values_G_N_K`` holds G groups of N completions, scored by the K components of
``config.components`` in order, gates applied. NaN stands for what does not count: not scored, or of weight 0.
``weights_G_K`` are the components' weights in each group, which a schedule moves from step to step.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from adhere.rewards.errors import ConfigError
from adhere.rewards.registry import Registry

if TYPE_CHECKING:
    from adhere.rewards.config import RewardConfig

SETTINGS = ("std_floor", "saturation_gamma")
"""Keys under ``rewards`` that an aggregation may read beside the components."""

WeightMeaning = Literal["factor", "exponent", "switch", "rank", "own"]

FINEST = 100
"""Levels that ``lexicographic`` divides two components' scores into; a finer tie-break would be lost when scaled."""

MOST_SHARED = 12
"""Components up to which the parts of an aggregation that only says its reward are worked out: 2^K rewards are."""


class Aggregation:
    """One way to join the components; a subclass says what it computes in its docstring, and defines one method or two.

    ``rewards`` defaults to the sum of ``parts``, and ``parts`` to the Shapley values of ``rewards``. Rollouts without
    any value may stand in the arrays; what is returned for them is not read.
    """

    groupwise: ClassVar[bool] = False
    """Whether it needs whole groups; its rewards are then whitened over the batch instead of scaled by the group."""

    batchwise: ClassVar[bool] = False
    """Whether it needs all groups of one generation, over all ranks: it then gets one generation at a time."""

    gates_on_primary: ClassVar[bool] = False
    """Whether every other component counts only where the primary one passed."""

    needs_primary: ClassVar[bool] = False
    """Whether the primary component has another role than the others."""

    weight_is: ClassVar[WeightMeaning] = "own"
    """What a weight means, so that ``plan`` can say which weights train the same model: a ``factor`` (a common one is
    scaled away), an ``exponent``, a ``switch`` (its size is not read), a ``rank`` (as a switch, and the order of the
    components counts), or something of its ``own``."""

    settings: ClassVar[tuple[str, ...]] = ()
    """Those of `SETTINGS` that it reads."""

    @property
    def summed(self) -> bool:
        """Whether the reward is that of ``weighted_sum``, so that TRL itself makes it out of the columns."""
        return type(self).rewards is Aggregation.rewards and type(self).parts is WeightedSum.parts

    def rewards(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return the rewards (G, N)."""
        total: np.ndarray = np.nansum(self.parts(values_G_N_K, weights_G_K, config), axis=2)
        return total

    def parts(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return what each component adds to the reward, (G, N, K), up to a constant; NaN counts as 0.

        Here it is each component's Shapley value in the reward, a component that is left out being not scored, and a
        rollout without any value being worth 0.
        """
        scored = ~np.isnan(values_G_N_K)
        players = [k for k in range(scored.shape[2]) if scored[:, :, k].any()]
        n = len(players)
        if n > MOST_SHARED:
            raise ConfigError(
                f"rewards.aggregation: {config.aggregation} has no method parts, without which the shares of {n} "
                f"components take too long; define it, or leave at most {MOST_SHARED} components with a weight"
            )
        worth: dict[tuple[int, ...], np.ndarray] = {}
        for chosen in itertools.chain.from_iterable(itertools.combinations(players, size) for size in range(n + 1)):
            there = scored & np.isin(np.arange(scored.shape[2]), chosen)
            found = self.rewards(np.where(there, values_G_N_K, np.nan), weights_G_K, config)
            worth[chosen] = np.where(there.any(axis=2), found, 0.0)
        parts_G_N_K = np.zeros(values_G_N_K.shape)
        for chosen, without in worth.items():
            for k in set(players) - set(chosen):
                share = math.factorial(len(chosen)) * math.factorial(n - len(chosen) - 1) / math.factorial(n)
                parts_G_N_K[:, :, k] += share * (worth[tuple(sorted((*chosen, k)))] - without)
        return parts_G_N_K


def _problem(name: str, thing: type[Aggregation]) -> str | None:
    if not (isinstance(thing, type) and issubclass(thing, Aggregation)):
        return "is not a subclass of adhere.rewards.aggregation.Aggregation"
    if not (thing.__doc__ or "").strip():
        return "has no docstring; it says what the reward is"
    if thing.rewards is Aggregation.rewards and thing.parts is Aggregation.parts:
        return "defines neither rewards nor parts"
    if unknown := [key for key in thing.settings if key not in SETTINGS]:
        return f"names a setting '{unknown[0]}'; there are {', '.join(SETTINGS)}"
    return None


AGGREGATIONS: Registry[type[Aggregation]] = Registry("aggregation", _problem)
"""Aggregations by the name that ``rewards.aggregation`` gives them."""


@AGGREGATIONS.register("weighted_sum")
class WeightedSum(Aggregation):
    """Σ w·r, then scaled."""

    weight_is = "factor"

    def parts(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return w·r."""
        return weights_G_K[:, None] * values_G_N_K


@AGGREGATIONS.register("normalize_then_sum")
class NormalizeThenSum(Aggregation):
    """Σ w·(r − mean)/max(std, floor), each component by its own mean and deviation in the group (GDPO, 2601.05242).

    GDPO itself has no floor: without one, a judge's noise of 0.02 in an otherwise perfect group weighs as much as a
    failure.
    """

    groupwise = True
    weight_is = "factor"
    settings: ClassVar[tuple[str, ...]] = ("std_floor",)

    def parts(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return the weighted standardised values; the deviation is that of the sample."""
        scored = ~np.isnan(values_G_N_K)
        counts_G_1_K = scored.sum(axis=1, keepdims=True)
        means_G_1_K = np.nansum(values_G_N_K, axis=1, keepdims=True) / np.maximum(1, counts_G_1_K)
        distances_G_N_K = values_G_N_K - means_G_1_K
        squares_G_1_K = np.nansum(distances_G_N_K**2, axis=1, keepdims=True)
        deviations_G_1_K = np.sqrt(squares_G_1_K / np.maximum(1, counts_G_1_K - 1))
        loudness_G_1_K = weights_G_K[:, None] * self.dampening(means_G_1_K, config)
        parts: np.ndarray = loudness_G_1_K * distances_G_N_K / np.maximum(deviations_G_1_K, max(config.std_floor, 1e-6))
        return parts

    def dampening(self, means_G_1_K: np.ndarray, config: RewardConfig) -> np.ndarray | float:
        """Return the factor on each component's weight in a group, from the component's mean there."""
        return 1.0


@AGGREGATIONS.register("saturation_aware")
class SaturationAware(NormalizeThenSum):
    """``normalize_then_sum`` with each weight times (1 − s)^γ, s the component's mean in the group.

    The group's mean, because standardising is what makes a nearly saturated component loud, and it happens within the
    group. Scores lie in [0, 1], so 1 − s does too.
    """

    settings: ClassVar[tuple[str, ...]] = ("std_floor", "saturation_gamma")

    def dampening(self, means_G_1_K: np.ndarray, config: RewardConfig) -> np.ndarray | float:
        """Return (1 − s)^γ."""
        factor: np.ndarray = np.maximum(0.0, 1.0 - means_G_1_K) ** config.saturation_gamma
        return factor


@AGGREGATIONS.register("saturation_batch")
class SaturationBatch(SaturationAware):
    """``saturation_aware`` with s the component's mean over the generation batch of all ranks (SA-MRPO, 2608.16072).

    Each component has one factor for the whole batch. Rollouts that it does not score are left out of its mean.
    """

    batchwise = True

    def parts(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return the weighted standardised values times (1 − s)^γ."""
        counts_K = (~np.isnan(values_G_N_K)).sum(axis=(0, 1))
        means_K = np.nansum(values_G_N_K, axis=(0, 1)) / np.maximum(1, counts_K)
        standardised_G_N_K = NormalizeThenSum.parts(self, values_G_N_K, weights_G_K, config)
        parts: np.ndarray = standardised_G_N_K * np.maximum(0.0, 1.0 - means_K) ** config.saturation_gamma
        return parts

    def dampening(self, means_G_1_K: np.ndarray, config: RewardConfig) -> float:
        """Return 1: the groups' means do not count."""
        return 1.0


@AGGREGATIONS.register("gated")
class Gated(WeightedSum):
    """A weighted sum whose every other component counts only where the primary passed; the values are gated already."""

    gates_on_primary = True
    needs_primary = True


@AGGREGATIONS.register("product")
class Product(Aggregation):
    """Π r^w."""

    weight_is: ClassVar[WeightMeaning] = "exponent"

    def factors(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray) -> np.ndarray:
        """Return what is multiplied, (G, N, K), 1 where a component does not count."""
        return np.where(np.isnan(values_G_N_K), 1.0, values_G_N_K ** weights_G_K[:, None])

    def rewards(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return the product."""
        product: np.ndarray = self.factors(values_G_N_K, weights_G_K).prod(axis=2)
        return product

    def parts(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return the Shapley value of each factor in the product, a factor that is absent being 1; the sum is Π x − 1.

        From the product's multilinear extension (Owen 1972), the integral over t in [0, 1] of
        (x_k − 1) Π_{j≠k} (1 + t (x_j − 1)): a polynomial in t, which Gauss's rule integrates exactly.
        """
        excess_G_N_K = self.factors(values_G_N_K, weights_G_K) - 1.0
        nodes, shares = np.polynomial.legendre.leggauss(excess_G_N_K.shape[2] // 2 + 1)
        parts_G_N_K = np.zeros(excess_G_N_K.shape)
        for t, share in zip((nodes + 1.0) / 2.0, shares / 2.0, strict=True):
            # t is below 1, and so no factor is 0.
            factors_G_N_K = 1.0 + t * excess_G_N_K
            parts_G_N_K += share * excess_G_N_K * factors_G_N_K.prod(axis=2, keepdims=True) / factors_G_N_K
        return parts_G_N_K


@AGGREGATIONS.register("all")
class All(Product):
    """1.0 where every weighted component that applies is 1.0, else 0.0."""

    weight_is = "switch"

    def factors(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray) -> np.ndarray:
        """Return 1 where a component passed or does not count."""
        return (np.isnan(values_G_N_K) | (values_G_N_K == 1.0)).astype(float)


@AGGREGATIONS.register("lexicographic")
class Lexicographic(Aggregation):
    """A reward in [0, 1] whose order is that of the primary's score, ties by the next component.

    Scores are rounded to R levels (`levels`) and written as the digits of a number in base R + 1, the primary component
    first, divided by the largest such number: one level of a component is worth more than all later ones together. So,
    within a group, the order of the rewards *is* the lexicographic order of the rounded scores. A component without a
    value is passed over; the next one takes its place.
    """

    needs_primary = True
    weight_is = "rank"

    def parts(self, values_G_N_K: np.ndarray, weights_G_K: np.ndarray, config: RewardConfig) -> np.ndarray:
        """Return each component's digit at its place."""
        names = list(config.components)
        order = sorted(range(len(names)), key=lambda k: names[k] != config.primary_name)
        scored = ~np.isnan(values_G_N_K)
        digits_G_N_1 = scored.sum(axis=2, keepdims=True)
        later_G_N_K = np.empty(scored.shape, dtype=np.int64)
        later_G_N_K[:, :, order] = np.maximum(0, digits_G_N_1 - np.cumsum(scored[:, :, order], axis=2))
        levels_G_1_1 = np.array([levels(int(n)) for n in (weights_G_K > 0.0).sum(axis=1)])[:, None, None]
        base_G_1_1 = levels_G_1_1 + 1
        largest_G_N_1 = np.maximum(1, base_G_1_1**digits_G_N_1 - 1)
        parts_G_N_K = np.floor(values_G_N_K * levels_G_1_1 + 0.5) * base_G_1_1**later_G_N_K / largest_G_N_1
        return np.where(digits_G_N_1 == 1, values_G_N_K, parts_G_N_K)


def levels(components: int) -> int:
    """Return how many levels ``lexicographic`` divides each score into: 100 for two components, 10 for three, 5, 3, …

    Each position of the reward is one component. The last one's whole span has to stay far above the 1e-4 that TRL
    adds to the deviation it divides by, so more components mean fewer levels; 1 / levels is the stated resolution.
    """
    return FINEST if components < 3 else round(FINEST ** (1 / (components - 1)))
