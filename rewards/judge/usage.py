"""What a judge has done and cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class JudgeUsage:
    """Counters of a judge; one *call* is one sample of one question that the cache did not know.

    ``retries`` counts further tries of calls; ``unparsed``, ``errors`` and ``timeouts`` count calls that gave no score;
    tokens are as the endpoint reports them; ``cost`` is in the unit of the configured prices; ``seconds`` is wall time.
    """

    calls: int = 0
    cache_hits: int = 0
    retries: int = 0
    unparsed: int = 0
    errors: int = 0
    timeouts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """Return the counters by name."""
        return asdict(self)

    def __add__(self, other: JudgeUsage) -> JudgeUsage:
        mine, theirs = asdict(self), asdict(other)
        return JudgeUsage(**{name: mine[name] + theirs[name] for name in mine})

    def __sub__(self, other: JudgeUsage) -> JudgeUsage:
        mine, theirs = asdict(self), asdict(other)
        return JudgeUsage(**{name: mine[name] - theirs[name] for name in mine})
