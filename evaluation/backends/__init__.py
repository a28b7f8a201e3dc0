"""Generation back ends: transformers, vLLM, and any OpenAI-compatible endpoint.

Importing this package loads none of them; `load_generator` imports the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from adhere.evaluation.generation import Generator
from adhere.rewards.errors import ConfigError

Backend = Literal["transformers", "vllm", "openai"]
"""Back ends that load a model; ``replay`` (`evaluation.backends.replay`) needs the suite's items instead."""


def load_generator(
    backend: Backend,
    model: str,
    *,
    base_url: str | None = None,
    batch_size: int = 64,
    device: str = "auto",
    name: str | None = None,
    chat_template: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Generator:
    """Load ``model`` (a folder, a hub id, or the name an endpoint knows it by) behind a back end.

    ``batch_size`` counts prompts a batch for ``transformers`` and requests in flight for ``openai``; vLLM
    schedules by itself. ``base_url`` is the endpoint of ``openai``. ``name`` is what tables call the model.
    ``chat_template`` replaces the tokenizer's own for ``vllm``; ``chat_template_kwargs`` go to ``openai``'s endpoint.

    Raises:
        ConfigError: the back end is not installed, lacks its endpoint, or cannot load the model.
    """
    if backend == "transformers":
        from adhere.evaluation.backends.transformers import TransformersGenerator

        return TransformersGenerator.load(model, batch_size=batch_size, device=device, name=name)
    if backend == "vllm":
        from adhere.evaluation.backends.vllm import VllmGenerator

        return VllmGenerator(model, name=name, chat_template=chat_template)
    if base_url is None:
        raise ConfigError("base_url: the openai back end needs an endpoint, for example http://127.0.0.1:8000/v1")
    from adhere.evaluation.backends.openai import OpenAIGenerator

    return OpenAIGenerator(
        model, base_url=base_url, concurrency=batch_size, name=name, chat_template_kwargs=chat_template_kwargs
    )
