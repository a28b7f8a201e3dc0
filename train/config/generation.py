"""How GRPO's rollouts are generated: the keys of ``grpo.vllm``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from adhere.rewards.strict import Server, Strict

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

    base_url: Server | None = None
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
