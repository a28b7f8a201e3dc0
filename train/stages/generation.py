"""The back ends of GRPO's rollouts: TRL's fields for each, and the seed that TRL does not pass on to vLLM."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from adhere.evaluation.backends.decoding import Decoding, can_decode
from adhere.rewards.errors import ConfigError, StageError
from adhere.train.config.generation import COLOCATED_MEMORY
from adhere.train.launch.serve.servers import engine_seed

if TYPE_CHECKING:
    from transformers import Trainer
    from trl import GRPOTrainer

    from adhere.train.config.stage import StageSpec

PAGE, PROMPT_TOKENS = 32, 512
"""Tokens in a page of continuous batching's cache on a CPU, and in a prompt where the recipe sets no limit."""


def generation_arguments(spec: StageSpec) -> dict[str, Any]:
    """Return TRL's fields for the recipe's back end.

    Raises:
        ConfigError: the stage was not started by the launcher, so no server's address is known.
    """
    config = spec.recipe.grpo.vllm
    match spec.recipe.grpo.generation:
        case "transformers":
            return {}
        case "continuous_batching":
            return {"use_transformers_continuous_batching": True} | _small_cache(spec)
        case "vllm_colocate":
            return {
                **_correction(spec),
                "vllm_mode": "colocate",
                "vllm_gpu_memory_utilization": config.gpu_memory_utilization or COLOCATED_MEMORY,
                "vllm_tensor_parallel_size": config.tensor_parallel,
                "vllm_max_model_length": config.max_model_length,
                "vllm_enable_sleep_mode": config.sleep,
            }
        case "vllm_server":
            if config.base_url is None:
                raise ConfigError(
                    "grpo.vllm.base_url: no server runs for this stage; adhere train starts one, elsewhere name it"
                )
            return {
                **_correction(spec),
                "vllm_mode": "server",
                "vllm_server_base_url": config.base_url.rstrip("/"),
                "vllm_server_timeout": config.start_seconds,
                **({} if config.group_port is None else {"vllm_group_port": config.group_port}),
            }


def _correction(spec: StageSpec) -> dict[str, Any]:
    """Return how the difference between vLLM's probabilities and the trainer's is corrected: token by token.

    TRL's default weighs a rollout by the product of its tokens' ratios and leaves it out above 3. Small independent
    differences of deviation s make that product log-normal of deviation s·√T: the longer a rollout of T tokens, the
    more often it is left out, and the smaller its median weight exp(-s²T/2). Ratios cut off at 3 token by token weigh
    all lengths alike.
    """
    mode = {} if spec.recipe.grpo.exact_trl else {"vllm_importance_sampling_mode": "token_truncate"}
    return {"use_vllm": True, **mode}


def _small_cache(spec: StageSpec) -> dict[str, Any]:
    """Return a cache for one generation of this rank, on a CPU: by itself the engine fills half of the host's memory.

    No seed: each generation makes a new engine, which draws its seed from this rank's generator. A fixed one would give
    every generation of a run the same noise.
    """
    if torch.cuda.is_available() and spec.recipe.launcher.device != "cpu":
        return {}
    config = spec.recipe.grpo
    length = config.max_completion_length + (spec.recipe.data.max_prompt_tokens or PROMPT_TOKENS)
    sequences = config.per_device_batch_size * config.gradient_accumulation
    pages = sequences * (2 + length // PAGE)
    return {
        "transformers_continuous_batching_config": {"page_size": PAGE, "num_blocks": pages, "max_batch_tokens": 2048}
    }


@contextlib.contextmanager
def seeded_engine(seed: int) -> Iterator[None]:
    """While the trainer is built, let a colocated vLLM engine start from the recipe's seed.

    TRL 1.16 seeds it with the number of the rank's tensor-parallel group alone (trl#7040), so that all seeds of an
    ablation would draw the same noise; worse, an engine inside the trainer's process resets that process's generators
    with it. The group's number stays a part of the seed: its ranks must draw alike, and groups must not.

    A seed in the requests (``generation_kwargs``) does not help: TRL sends one request per completion, so that all
    completions of a prompt would be the same one, and every step would repeat the noise of the first.
    """
    from trl.generation import vllm_generation

    engine = getattr(vllm_generation, "LLM", None)
    if engine is None:
        yield  # vLLM is not installed; where it is asked for, TRL says so
        return

    def build(*arguments: Any, **settings: Any) -> Any:
        if not torch.cuda.is_available():
            _keep_loadable()
        return engine(*arguments, **(settings | {"seed": engine_seed(seed, settings["seed"])}))

    vllm_generation.LLM = build
    try:
        yield
    finally:
        vllm_generation.LLM = engine


def _keep_loadable() -> None:
    """Let vLLM keep plain weights on a CPU: it packs them for oneDNN and drops the originals, so none could follow."""
    from vllm import _custom_ops

    _custom_ops._supports_onednn = False


def decoding_of(trainer: GRPOTrainer) -> Decoding | None:
    """Return how adhere's loop draws the rollouts of ``trainer``, or ``None`` where TRL's own path has to.

    TRL's own path is for another back end than transformers; for images and tools; for options of ``generate`` that the
    loop does not have (``generation_kwargs``, ``repetition_penalty``, ``cache_implementation``); for ZeRO-3 whose
    weights are not gathered (``ds3_gather_for_generation=false``); and for models whose state is not a cache.
    """
    arguments: Any = trainer.args
    assert trainer.max_completion_length is not None
    theirs = (
        arguments.use_vllm
        or arguments.use_transformers_continuous_batching
        or arguments.generation_kwargs
        or arguments.cache_implementation is not None
        or arguments.repetition_penalty != 1.0
        or trainer._is_vlm
        or trainer.tools
        or trainer.rollout_func is not None
        or not arguments.ds3_gather_for_generation
        or not can_decode(trainer.accelerator.unwrap_model(trainer.model))
    )
    if theirs:
        return None
    return Decoding(
        limit=trainer.max_completion_length,
        end_ids=tuple(trainer.eos_token_ids),
        temperature=trainer.temperature,
        top_p=trainer.top_p,
        top_k=trainer.top_k,
        min_p=trainer.min_p,
    )


def drawing_of(trainer: Trainer) -> Callable[[bool], bool]:
    """Return what says whether any rank still draws, where the ranks of ``trainer`` share weights token by token."""
    if not trainer.is_fsdp_enabled:
        return bool

    def anywhere(here: bool) -> bool:
        mine = torch.tensor([int(here)], device=trainer.accelerator.device)
        found: Any = trainer.accelerator.gather(mine)
        return bool(found.any())

    return anywhere


def check_generated(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> None:
    """Check that every prompt of this rank has a completion of one token or more.

    transformers' continuous batching returns what it has when its engine fails, and TRL pairs prompts and completions
    by position: one that is missing would give every later completion to another prompt.

    Raises:
        StageError: one is missing or empty; an engine that failed says why in the lines above.
    """
    missing = len(prompts) - len(completions)
    empty = sum(not completion for completion in completions)
    if missing or empty:
        raise StageError(
            f"grpo.generation: of {len(prompts)} completions {missing} are missing and {empty} empty: the engine has "
            f"failed; its reason is above. Nothing was trained on them; use grpo.generation=transformers if it repeats"
        )
