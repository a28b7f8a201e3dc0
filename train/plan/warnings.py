"""What a recipe asks for that runs and is probably not meant, or that a worker would only find out later. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from adhere.rewards.errors import ConfigError
from adhere.train.config.generation import VllmConfig
from adhere.train.config.kinds import kind_of
from adhere.train.config.named_stages import ON_POLICY
from adhere.train.config.schema import Recipe
from adhere.train.launch.serve.servers import judge_servers, judges_of, visible_gpus
from adhere.train.plan.architecture import read_architecture
from adhere.train.plan.history import History


def warnings(recipes: Iterable[Recipe], history: History) -> list[str]:
    """Return one sentence for each doubt about ``recipes``, those of a run's stages, each once."""
    found: dict[str, None] = {}
    for recipe in recipes:
        launcher = recipe.launcher
        if launcher.strategy in ("zero2", "zero3", "fsdp2") and launcher.processes == 1:
            text = f"{launcher.strategy} has one rank, so that nothing is shared; raise it"
            found[f"launcher.processes: {text}"] = None
        if launcher.processes > 1 and "evaluate" in recipe.kinds:
            idle = launcher.processes - 1
            found[f"evaluations run on one process; {idle} of the devices are idle meanwhile"] = None
        found |= dict.fromkeys((*_lengths(recipe), *_rollouts(recipe)))
        # A job has to be told early enough to end its step and write a checkpoint.
        for kind in sorted(recipe.kinds) if launcher.kind == "slurm" else ():
            earlier = history.timed(kind, recipe) if kind_of(kind).distributed else None
            if earlier is None or earlier.longest is None:
                continue
            notice, needed = launcher.slurm.notice_seconds, earlier.longest + earlier.checkpoint
            if needed > notice:
                found[
                    f"launcher.slurm.notice_seconds: {notice}, but a step of {kind} took up to {earlier.longest:.0f} s "
                    f"and a checkpoint {earlier.checkpoint:.0f} s in {earlier.name}; set it to at least "
                    f"{math.ceil(1.5 * needed)}, or work is lost"
                ] = None
    return list(found)


def _lengths(recipe: Recipe) -> Iterator[str]:
    """Lengths beyond the context that the model's own config states; one that the recipe states is checked before."""
    try:
        context = read_architecture(recipe.model).context
    except ConfigError:
        return
    if context is None or recipe.model.context is not None:
        return
    wanted = {"grpo.max_completion_length": recipe.grpo.max_completion_length} if recipe.kinds & ON_POLICY else {}
    if "evaluate" in recipe.kinds:
        wanted["evaluation.sampling.max_new_tokens"] = recipe.evaluation.sampling.max_new_tokens
    prompt = recipe.data.max_prompt_tokens
    for key, length in wanted.items():
        if length + (prompt or 1) > context:
            said = f"with data.max_prompt_tokens {prompt} it" if prompt else "with any prompt it"
            yield f"{key}: {length}; {said} exceeds the model's context of {context} tokens; lower it"


def _rollouts(recipe: Recipe) -> Iterator[str]:
    if not recipe.kinds & ON_POLICY:
        return
    config, generation, launcher = recipe.grpo.vllm, recipe.grpo.generation, recipe.launcher
    if not generation.startswith("vllm"):
        default = VllmConfig()
        given = [key for key in VllmConfig.model_fields if getattr(config, key) != getattr(default, key)]
        if given:
            keys = ", ".join(f"grpo.vllm.{key}" for key in given)
            yield f"{keys}: nothing reads {'it' if len(given) == 1 else 'them'}, grpo.generation is {generation}"
    if not generation.startswith("vllm"):
        gathers = launcher.strategy == "zero3" and recipe.grpo.trl.get("ds3_gather_for_generation", True)
        sharded = {"fsdp2": "FSDP2", "zero3": "ZeRO-3 without ds3_gather_for_generation"}.get(launcher.strategy)
        if sharded is not None and not gathers:
            yield (
                f"grpo.generation: {generation} under {sharded} gathers every layer from all ranks for every token, "
                f"which takes most of the time; use grpo.generation=vllm_colocate or vllm_server"
            )
    if launcher.kind != "local" or launcher.device == "cpu":
        return
    wanted = {"grpo.vllm": config.gpus} if generation == "vllm_server" and config.base_url is None else {}
    wanted |= {server.keys[0]: server.gpus for server in judge_servers(judges_of("grpo", recipe)) if server.gpus}
    seen = len(visible_gpus()) if wanted else 0
    if seen and launcher.processes + sum(wanted.values()) > seen:
        parts = ", ".join(f"{gpus} for {key}" for key, gpus in wanted.items())
        yield (
            f"launcher.processes: {launcher.processes} ranks leave {max(0, seen - launcher.processes)} of the {seen} "
            f"GPUs here, and servers need {parts}; lower launcher.processes"
        )
