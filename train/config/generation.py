"""How GRPO's rollouts are generated: the keys of ``grpo.vllm``, and what does not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from adhere.rewards.config import Strict

if TYPE_CHECKING:
    from adhere.train.config.schema import Recipe

COLOCATED_MEMORY, SERVED_MEMORY = 0.3, 0.9
"""Shares of a GPU that vLLM takes where none is given: beside training, and on GPUs of its own."""

SERVER_KEYS = ("gpus", "base_url", "port", "group_port", "start_seconds", "options")
OPERATIONAL = frozenset({"gpu_memory_utilization", "sleep", *SERVER_KEYS})
"""Keys that say where vLLM runs and how much it may take, not what it generates."""


class VllmConfig(Strict):
    """vLLM as back end of the rollouts, inside the training processes or as a server of its own."""

    gpu_memory_utilization: float | None = Field(default=None, gt=0.0, le=1.0)
    """Share of a GPU's memory that vLLM may take; ``None`` is 0.3 beside training and 0.9 on GPUs of its own."""

    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that one copy of the model is split over; divides the ranks (colocate) or ``gpus`` (server)."""

    max_model_length: int | None = Field(default=None, ge=1)
    """Prompt plus completion in tokens that the engine has room for; ``None`` is the model's context."""

    sleep: bool = False
    """Colocate: free vLLM's weights and cache while the optimizer works; costs a copy of the weights each step."""

    gpus: int = Field(default=1, ge=1)
    """Server: GPUs of the server that the launcher starts; ranks take the machine's first GPUs, the server the last."""

    base_url: str | None = Field(default=None, pattern=r"^https?://[^/\s@]+/?$")
    """Server: root of one that runs already, such as ``http://node7:8000``, without ``/v1``; ``None`` starts one."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Server: port of the started one; ``None`` takes a free one."""

    group_port: int | None = Field(default=None, ge=1, le=65535)
    """Server: port on which the first rank hands out weights; ``None`` is a free one, or TRL's 51216 with base_url."""

    start_seconds: float = Field(default=900.0, gt=0.0)
    """Server: seconds that it may take to load the model before the stage fails."""

    options: list[str] = Field(default_factory=list)
    """Server: further arguments of ``vllm serve``, as they are."""


def vllm_settings(config: VllmConfig, generation: str) -> dict[str, Any]:
    """Return what of ``config`` decides the rollouts, for a stage's key; nothing where vLLM does not generate them."""
    return config.model_dump(exclude=set(OPERATIONAL)) if generation.startswith("vllm") else {}


def generation_problems(recipe: Recipe) -> list[str]:
    """Return what of the recipe's generation settings cannot work together, one message each."""
    if "grpo" not in recipe.stages:
        return []
    checks = {"vllm_colocate": _colocate, "vllm_server": _server}
    generation = recipe.grpo.generation
    return [*checks[generation](recipe), *_length(recipe)] if generation in checks else []


def _colocate(recipe: Recipe) -> Iterator[str]:
    config, ranks = recipe.grpo.vllm, recipe.launcher.processes
    for key in _given(config, SERVER_KEYS):
        yield f"grpo.vllm.{key}: is for a server, grpo.generation is vllm_colocate; leave it out, or use vllm_server"
    if ranks % config.tensor_parallel:
        yield (
            f"grpo.vllm.tensor_parallel: {config.tensor_parallel} does not divide the {ranks} ranks "
            f"(launcher.processes); choose a divisor"
        )


def _server(recipe: Recipe) -> Iterator[str]:
    config, launcher = recipe.grpo.vllm, recipe.launcher
    if config.sleep:
        yield "grpo.vllm.sleep: a server has GPUs of its own and never sleeps; leave it out, or use vllm_colocate"
    if launcher.device == "cpu":
        yield "grpo.generation: vllm_server receives weights over NCCL, so it needs GPUs; use vllm_colocate on a CPU"
    if config.base_url is not None:
        for key in _given(config, ("gpus", "port", "options", "tensor_parallel", "gpu_memory_utilization")):
            yield f"grpo.vllm.{key}: is for a server that the launcher starts, and base_url names one that runs"
        return
    if config.gpus % config.tensor_parallel:
        yield (
            f"grpo.vllm.tensor_parallel: {config.tensor_parallel} does not divide the server's {config.gpus} GPUs "
            f"(grpo.vllm.gpus); choose a divisor"
        )
    if launcher.kind == "local" and launcher.nodes > 1:
        yield (
            f"grpo.vllm.base_url: training on {launcher.nodes} nodes started by hand, every node has to find the same "
            f"server; start it and name its address, or use launcher=slurm"
        )


def _length(recipe: Recipe) -> Iterator[str]:
    room, completion = recipe.grpo.vllm.max_model_length, recipe.grpo.max_completion_length
    prompt = recipe.data.max_prompt_tokens or 1
    if room is not None and completion + prompt > room:
        yield (
            f"grpo.vllm.max_model_length: {room} has no room for {prompt} prompt tokens (data.max_prompt_tokens) and "
            f"{completion} of completion (grpo.max_completion_length); raise it, or lower one of them"
        )


def _given(config: VllmConfig, keys: tuple[str, ...]) -> list[str]:
    """Return those of ``keys`` that are not at their default; a composed recipe names every key."""
    default = VllmConfig()
    return [key for key in keys if getattr(config, key) != getattr(default, key)]
