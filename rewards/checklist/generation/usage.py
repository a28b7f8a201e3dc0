"""Counting calls, tokens and what they cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    """Calls that were answered and their tokens; ``uncounted`` calls came back without a token count."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0

    def add(self, other: Usage) -> None:
        """Add what ``other`` has counted."""
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.uncounted += other.uncounted

    def cost(self, prompt_price: float, completion_price: float) -> float:
        """Return the cost at these prices of a million tokens."""
        return (self.prompt_tokens * prompt_price + self.completion_tokens * completion_price) / 1e6

    def to_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return {
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "uncounted": self.uncounted,
        }
