"""The judge: a language model behind an OpenAI-compatible endpoint that grades responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adhere.rewards.judge.config import JudgeConfig

if TYPE_CHECKING:
    from adhere.rewards.judge.judge import Judge

__all__ = ["JudgeConfig", "load_judge"]


def load_judge(config: JudgeConfig) -> Judge:
    """Return the judge; nothing is connected before the first question.

    Raises:
        ConfigError: the named environment variable holds no key.
    """
    from adhere.rewards.judge.judge import Judge

    return Judge(config)
