"""What a model's ``config.json`` says of its size: enough to count weights, activations and cache. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adhere.rewards.errors import ConfigError
from adhere.train.config.model_files import model_config
from adhere.train.config.schema import ModelConfig

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Decoders whose layers are counted here: RMS norms, rotary attention with shared heads, a gated MLP."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a decoder; lengths in elements, ``queries`` and ``keys`` per token and layer over all heads."""

    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int | None = None
    query_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False

    @property
    def queries(self) -> int:
        """Width of the query projection."""
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        """Width of the key projection, and of the value projection."""
        return self.kv_heads * self.head_dim

    @property
    def head_norms(self) -> bool:
        """Whether queries and keys are normalised per head."""
        return self.family == "qwen3"

    @property
    def embedding(self) -> int:
        """Weights of the embedding, and of the head where it is not tied."""
        return self.vocabulary * self.hidden

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's seven linear maps: q, k, v, o, gate, up, down."""
        h, q, k, i = self.hidden, self.queries, self.keys, self.intermediate
        return [(h, q), (h, k), (h, k), (q, h), (h, i), (h, i), (i, h)]

    @property
    def layer(self) -> int:
        """Weights of one layer."""
        biases = self.query_bias * (self.queries + 2 * self.keys) + self.output_bias * self.hidden
        biases += self.mlp_bias * (2 * self.intermediate + self.hidden)
        norms = 2 * self.hidden + 2 * self.head_dim * self.head_norms
        return sum(a * b for a, b in self.linears) + biases + norms

    @property
    def parameters(self) -> int:
        """Weights of the whole model; a tied head counts once."""
        return self.embedding * (1 if self.tied else 2) + self.layers * self.layer + self.hidden

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters of ``rank`` on every linear map of the layers."""
        return self.layers * sum(rank * (a + b) for a, b in self.linears)


def architecture_of(config: dict[str, Any]) -> Architecture:
    """Read the sizes out of the content of a ``config.json``.

    Raises:
        ConfigError: the family is not one that can be counted, or a size is missing.
    """
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ConfigError(f"model_type '{family}' is not one of {', '.join(FAMILIES)}, whose memory can be estimated")
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        return Architecture(
            family=family,
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=int(config.get("head_dim") or (128 if family == "qwen3" else hidden // heads)),
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", family == "smollm3")),
            context=config.get("max_position_embeddings"),
            query_bias=family == "qwen2" or bool(config.get("attention_bias")),
            output_bias=family != "qwen2" and bool(config.get("attention_bias")),
            mlp_bias=bool(config.get("mlp_bias")),
        )
    except KeyError as error:
        raise ConfigError(f"its config.json names no {error.args[0]}") from error


def read_architecture(model: ModelConfig) -> Architecture:
    """Find and read the model's ``config.json``: in its folder, or in the local cache of the hub. Nothing is fetched.

    Raises:
        ConfigError: there is none here, or it cannot be counted; says what to do.
    """
    content = model_config(model)
    try:
        return architecture_of(content)
    except ConfigError as error:
        raise ConfigError(f"config.json of '{model.path}': {error}") from error
