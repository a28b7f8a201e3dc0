"""What a recipe's numbers come to: completions, prompts and passes, in words."""

from __future__ import annotations

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
