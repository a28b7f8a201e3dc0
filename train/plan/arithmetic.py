"""What a recipe's numbers come to: completions, prompts and passes, in words."""

from __future__ import annotations

from collections.abc import Mapping

from train.config.schema import Recipe


def grpo_arithmetic(recipe: Recipe) -> str:
    """Say how many completions and prompts one GRPO step has."""
    grpo, ranks, completions = recipe.grpo, recipe.launcher.processes, recipe.completions_per_step
    prompts = completions // grpo.group_size
    per_step = f"{prompts} {'prompt' if prompts == 1 else 'prompts'} × {grpo.group_size} completions"
    return (
        f"{grpo.max_steps} steps × {completions} completions ({grpo.per_device_batch_size} per device × {ranks} "
        f"{'rank' if ranks == 1 else 'ranks'} × {grpo.gradient_accumulation} accumulated) = {per_step} a step, "
        f"at most {grpo.max_completion_length} tokens each"
    )


def sft_arithmetic(recipe: Recipe) -> str:
    """Say how long SFT is."""
    sft, ranks = recipe.sft, recipe.launcher.processes
    batch = sft.per_device_batch_size * ranks * sft.gradient_accumulation
    length = f"{sft.max_steps} steps" if sft.max_steps > 0 else f"{sft.epochs:g} passes over the data"
    factors = f"{sft.per_device_batch_size} per device × {ranks} × {sft.gradient_accumulation}"
    return f"{length} of {batch} sequences ({factors})"


def weight_ratios(recipe: Recipe) -> dict[str, float]:
    """Return each component's weight over the largest one: under group scaling only these ratios matter."""
    weights = {name: component.weight for name, component in recipe.rewards.components.items()}
    largest = max(weights.values())
    return {name: weight / largest for name, weight in weights.items()}


def equal_arms(recipes: Mapping[str, Recipe]) -> list[tuple[str, str]]:
    """Return pairs of arms that train the same thing: they differ in nothing but the scale of their weights."""
    seen: dict[str, str] = {}
    pairs = []
    for arm, recipe in recipes.items():
        ratios = weight_ratios(recipe)
        scaled = recipe.rewards.scale == "none" or recipe.rewards.aggregation not in (
            "weighted_sum",
            "normalize_then_sum",
        )
        content = recipe.model_dump(mode="json", exclude={"arms", "run", "name"})
        if not scaled:
            for name, ratio in ratios.items():
                content["rewards"]["components"][name]["weight"] = ratio
        key = repr(content)
        if key in seen:
            pairs.append((seen[key], arm))
        seen.setdefault(key, arm)
    return pairs
