"""What decides how checklists are generated; each key is an argument of ``adhere checklist generate``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from adhere.rewards.checklist.generation.prompts import VERSION
from adhere.rewards.strict import Root, Strict

Method = Literal["direct", "candidates", "rar"]

ITEMS: dict[Method, tuple[int, int]] = {"direct": (1, 7), "candidates": (1, 7), "rar": (7, 20)}
"""The fewest and the most requirements of a checklist, as the two papers have them."""


class GenerationConfig(Strict):
    """How checklists are asked for, and from whom."""

    base_url: Root
    """Address of an OpenAI-compatible endpoint, for example ``http://127.0.0.1:8000/v1``."""

    model: str
    """Name of the model that writes the checklists, as the endpoint knows it."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; it may be unset for local servers."""

    method: Method = "direct"
    """``direct``: only from the instruction; ``candidates``: from responses of varied quality as well (RLCF's
    default); ``rar``: categories instead of weights, and with the reference answer."""

    candidates: int = Field(default=4, ge=2, le=16)
    """Responses that ``candidates`` looks at. Rows that carry ``candidates`` of their own use those."""

    candidate_models: list[str] = Field(default_factory=list)
    """Models at the same endpoint that write the candidates, in turn; empty: ``model`` at rising temperatures."""

    candidate_tokens: int = Field(default=512, ge=16)
    """Most tokens of one candidate."""

    universal: bool = False
    """Add RLCF's universal requirement, as two atomic ones of weight 50."""

    contradictions: bool = False
    """Ask the model, with one more call for a checklist, which of its requirements exclude each other."""

    min_items: int | None = Field(default=None, ge=1)
    """Fewest requirements; null: 1, and 7 for ``rar``."""

    max_items: int | None = Field(default=None, ge=1)
    """Most requirements; null: 7, and 20 for ``rar``."""

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """Sampling temperature of the checklist."""

    max_tokens: int = Field(default=2048, ge=64)
    """Most tokens of one reply."""

    concurrency: int = Field(default=8, ge=1, le=512)
    """Rows that are worked on at once."""

    timeout: float = Field(default=120.0, gt=0.0)
    """Seconds that one try of one call may take."""

    deadline: float = Field(default=600.0, gt=0.0)
    """Seconds that one call may take with all its retries."""

    retries: int = Field(default=4, ge=0)
    """Further tries of a call that met a dead connection, a timeout, 408, 409, 425, 429, 5xx or an unreadable reply."""

    prompt_price: float = Field(default=0.0, ge=0.0)
    """Price of a million prompt tokens, in any currency, for the cost at the end."""

    completion_price: float = Field(default=0.0, ge=0.0)
    """Price of a million completion tokens."""

    @field_validator("candidate_models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name for name in value.split(",") if name] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _bounds(self) -> GenerationConfig:
        low, high = self.items
        if low > high:
            raise ValueError(f"min_items: {low} is more than max_items, {high}")
        if self.candidate_models and self.method != "candidates":
            raise ValueError(f"candidate_models: has no meaning for method={self.method}; remove it")
        return self

    @property
    def items(self) -> tuple[int, int]:
        """The fewest and the most requirements of a checklist."""
        low, high = ITEMS[self.method]
        return self.min_items or low, self.max_items or high

    def provenance(self) -> dict[str, Any]:
        """Return what a generated checklist depends on; rows that differ in it do not belong in one file."""
        made: dict[str, Any] = {
            "method": self.method,
            "model": self.model,
            "prompt": VERSION,
            "temperature": self.temperature,
            "items": list(self.items),
            "universal": self.universal,
            "contradictions": self.contradictions,
        }
        if self.method == "candidates":
            made |= {"candidates": self.candidates, "candidate_models": self.candidate_models or [self.model]}
        return made
