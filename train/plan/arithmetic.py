"""What a recipe's numbers come to: completions, prompts and passes, in words."""

from __future__ import annotations

from adhere.train.config.schema import Recipe


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


def generation_arithmetic(recipe: Recipe) -> str:
    """Say how many completions are generated at once, and how many optimizer steps they feed."""
    grpo, ranks = recipe.grpo, recipe.launcher.processes
    micro = int(grpo.trl.get("steps_per_generation") or grpo.gradient_accumulation)
    passes = int(grpo.trl.get("num_iterations") or 1)
    batch = grpo.per_device_batch_size * ranks * micro
    steps = micro * passes / grpo.gradient_accumulation
    feeds = f"feeds {steps:g} {'step' if steps == 1 else 'steps'}"
    tokens = grpo.max_steps / steps * batch * grpo.max_completion_length
    return (
        f"{batch} completions generated at once ({grpo.per_device_batch_size * micro} per device), which {feeds}; "
        f"at most {tokens / 1e6:,.1f} M tokens generated in all"
    )


def sft_arithmetic(recipe: Recipe) -> str:
    """Say how long SFT is."""
    sft, ranks = recipe.sft, recipe.launcher.processes
    batch = sft.per_device_batch_size * ranks * sft.gradient_accumulation
    length = f"{sft.max_steps} steps" if sft.max_steps > 0 else f"{sft.epochs:g} passes over the data"
    factors = f"{sft.per_device_batch_size} per device × {ranks} × {sft.gradient_accumulation}"
    return f"{length} of {batch} sequences ({factors})"
