"""Load models and tokenizers the one way that every stage shares."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from adhere.rewards.errors import ConfigError

if TYPE_CHECKING:
    from peft import LoraConfig

    from adhere.train.config.schema import AdapterConfig, ModelConfig


OURS_BEGINS, OURS_ENDS = "{#- adhere: variables -#}", "{#- adhere: end -#}"
"""What stands around the variables that a recipe sets, at the head of a chat template."""


def compute_dtype(config: ModelConfig) -> torch.dtype:
    """Return the type of the arithmetic: as written, or bfloat16 on a GPU that has it and float32 elsewhere."""
    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32


def load_tokenizer(config: ModelConfig, path: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer at ``path``, with the recipe's chat template if it names one.

    Raises:
        ConfigError: there is no model at ``path``, or it has neither a chat template nor an end-of-sequence token.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path, revision=_revision(config, path), trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ConfigError(_missing(path, error)) from error
    if config.chat_template is not None:
        tokenizer.chat_template = Path(config.chat_template).read_text(encoding="utf-8")
    if tokenizer.chat_template is None:
        raise ConfigError(f"model.chat_template: the tokenizer of '{path}' has none; name a Jinja file with one")
    if config.chat_template_kwargs:
        tokenizer.chat_template = with_variables(tokenizer.chat_template, config.chat_template_kwargs)
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"model.path: the tokenizer of '{path}' has no end-of-sequence token, so no response would end"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def with_variables(template: str, variables: Mapping[str, bool | int | float | str]) -> str:
    """Return a chat template that sets ``variables`` itself, in place of those that an earlier call has set.

    So they hold wherever the tokenizer goes: training, rollouts of every back end, checks, suites, the saved model.

    Raises:
        ConfigError: the template does not look at one of them, or it is what transformers gives to every template.
    """
    rest = re.sub(re.escape(OURS_BEGINS) + ".*?" + re.escape(OURS_ENDS), "", template, count=1, flags=re.DOTALL)
    for name in variables:
        if name in ("messages", "add_generation_prompt", "tools", "documents") or not name.isidentifier():
            raise ConfigError(f"model.chat_template_kwargs.{name}: is not a variable that a recipe can set")
        if not re.search(rf"\b{name}\b", rest):
            raise ConfigError(
                f"model.chat_template_kwargs.{name}: the chat template does not look at '{name}', so it would change "
                f"nothing; leave it out, or name a template that does"
            )
    lines = "".join(f"{{%- set {name} = {json.dumps(value)} -%}}" for name, value in sorted(variables.items()))
    return f"{OURS_BEGINS}{lines}{OURS_ENDS}{rest}"


def load_for_training(config: ModelConfig, path: str, *, merge: bool = False) -> PreTrainedModel:
    """Load the model at ``path``: full weights, or a base with the adapter that ``path`` holds.

    Weights that are trained are float32, whatever the arithmetic: at a learning rate of 1e-6 most updates are smaller
    than bfloat16 can add. A base under adapters is frozen and keeps the type of the arithmetic. An adapter is loaded to
    be trained on, which gives a PeftModel around the base; with ``merge`` it becomes part of the weights.

    Raises:
        ConfigError: there is no model at ``path``; ``qlora`` without bitsandbytes.
    """
    full = config.adapter.kind == "none"
    base = _base(config, path)
    arguments = _load_arguments(config, base, torch.float32 if full else compute_dtype(config))
    if config.adapter.kind == "qlora":
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError("model.adapter.kind: qlora needs bitsandbytes: pip install 'adhere[qlora]', or use lora")
        from transformers import BitsAndBytesConfig

        # Stored as numbers of the arithmetic's type, as what shards a model flattens all weights together.
        dtype = compute_dtype(config)
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_quant_storage=dtype
        )
    model = _load(base, path, arguments, trainable=not merge)
    if full and merge:
        model.requires_grad_(True)  # PEFT froze the base for the adapter that is now part of it
    return model


def load_for_inference(config: ModelConfig, path: str, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Load the model at ``path`` unquantised, adapters merged; without a ``dtype`` in the type of the arithmetic.

    Raises:
        ConfigError: there is no model at ``path``.
    """
    base = _base(config, path)
    return _load(base, path, _load_arguments(config, base, dtype or compute_dtype(config)), trainable=False)


def _base(config: ModelConfig, path: str) -> str:
    """Return where the full weights are: the recipe's model where ``path`` holds an adapter."""
    return config.path if (Path(path) / "adapter_config.json").exists() else path


def _load(base: str, path: str, arguments: dict[str, Any], *, trainable: bool) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(base, **arguments)
    except (OSError, ValueError) as error:
        raise ConfigError(_missing(base, error)) from error
    module: Any
    for module in model.modules():
        # bitsandbytes packs 4-bit weights anew to generate on some CPUs; after that they pass no gradient on.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if base == path:
        return model
    from peft import PeftModel

    adapted: Any = PeftModel.from_pretrained(model, path, is_trainable=trainable)
    loaded: PreTrainedModel = adapted if trainable else adapted.merge_and_unload()
    return loaded


def _load_arguments(config: ModelConfig, path: str, dtype: torch.dtype) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "dtype": dtype,
        "revision": _revision(config, path),
        "trust_remote_code": config.trust_remote_code,
        "use_safetensors": True,
    }
    if config.attention is not None:
        arguments["attn_implementation"] = config.attention
    if config.kernels:
        if importlib.util.find_spec("kernels") is None:
            raise ConfigError("model.kernels: the package `kernels` is not installed; install it, or leave this out")
        arguments["use_kernels"] = True
    return arguments


def lora_config(adapter: AdapterConfig) -> LoraConfig | None:
    """Return PEFT's configuration of new adapters, or ``None`` where every weight is trained."""
    if adapter.kind == "none":
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.target_modules,
        task_type="CAUSAL_LM",
    )


def context_length(config: ModelConfig, path: str) -> int | None:
    """Return the model's context in tokens: the recipe's, else what its configuration says, else ``None``.

    Raises:
        ConfigError: there is no model at ``path``.
    """
    if config.context is not None:
        return config.context
    try:
        loaded = AutoConfig.from_pretrained(
            path, revision=_revision(config, path), trust_remote_code=config.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ConfigError(_missing(path, error)) from error
    return getattr(loaded, "max_position_embeddings", None)


def check_context(config: ModelConfig, length: int, what: str) -> None:
    """Check that sequences of ``length`` tokens are within the context of the recipe's model.

    Raises:
        ConfigError: they are not; its text is ``what`` with the model's context in tokens for ``{context}``.
    """
    context = context_length(config, config.path)
    if context is not None and length > context:
        raise ConfigError(what.format(context=context))


def _revision(config: ModelConfig, path: str) -> str | None:
    return config.revision if path == config.path else None


def _missing(path: str, error: Exception) -> str:
    return (
        f"model.path: no model could be loaded from '{path}' ({' '.join(str(error).split())[:200]}); name a folder "
        f"that save_pretrained wrote, or a hub id that is reachable (log in with `hf auth login` if it is gated)"
    )
