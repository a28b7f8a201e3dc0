"""Rewards for models that reason and follow instructions: verdicts, checks, components, composites.

Pure Python: importing anything below this package needs neither torch, transformers nor TRL. The names below are what
rewards of your own are written with; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adhere.rewards.components.base import Component, Context, reward_component
    from adhere.rewards.judge.config import JudgeConfig
    from adhere.rewards.rollout import Rollout
    from adhere.rewards.segments import Segments
    from adhere.rewards.verdict import Status, Verdict

__all__ = ["Component", "Context", "JudgeConfig", "Rollout", "Segments", "Status", "Verdict", "reward_component"]

_HOMES = {
    "Component": "components",
    "Context": "components",
    "JudgeConfig": "judge.config",
    "Rollout": "rollout",
    "Segments": "segments",
    "Status": "verdict",
    "Verdict": "verdict",
    "reward_component": "components",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
