"""Reward components: one file a kind, each a registered class with its keys and its score."""

from adhere.rewards.components.base import COMPONENTS, Component, Context, reward_component

# The order in which messages and the reference list the kinds.
# isort: off
from adhere.rewards.components.math import MathComponent
from adhere.rewards.components.checklist import ChecklistComponent, ProgramConfig
from adhere.rewards.components.format import FormatComponent
from adhere.rewards.components.length import LengthComponent
from adhere.rewards.components.random import RandomComponent
from adhere.rewards.components.judge import JudgeComponent
from adhere.rewards.components.python import PythonComponent
from adhere.rewards.components.reward_model import RewardModelComponent
from adhere.rewards.components.http import HttpComponent
# isort: on

__all__ = [
    "COMPONENTS",
    "ChecklistComponent",
    "Component",
    "Context",
    "FormatComponent",
    "HttpComponent",
    "JudgeComponent",
    "LengthComponent",
    "MathComponent",
    "ProgramConfig",
    "PythonComponent",
    "RandomComponent",
    "RewardModelComponent",
    "reward_component",
]
