"""Remedies: ways to answer that need no training, one file each; ours and those of plug-ins are in one registry."""

from __future__ import annotations

from adhere.evaluation.remedies.base import (
    REMEDIES,
    Asked,
    Model,
    Remedied,
    Remedy,
    parse_remedy,
    remedy,
    remedy_report,
)
from adhere.evaluation.remedies.bridge import Bridge
from adhere.evaluation.remedies.budget_forcing import BudgetForcing
from adhere.evaluation.remedies.classifier import ClassifierSelective
from adhere.evaluation.remedies.few_shot import FewShot
from adhere.evaluation.remedies.repeat import Repeat
from adhere.evaluation.remedies.selective import Direct, SelfSelective
from adhere.evaluation.remedies.self_reflection import SelfReflection
from adhere.evaluation.remedies.sft_as_context import SftAsContext
from adhere.evaluation.remedies.steering import Steering
from adhere.evaluation.remedies.thinking_intervention import ThinkingIntervention

__all__ = [
    "REMEDIES",
    "Asked",
    "Bridge",
    "BudgetForcing",
    "ClassifierSelective",
    "Direct",
    "FewShot",
    "Model",
    "Remedied",
    "Remedy",
    "Repeat",
    "SelfReflection",
    "SelfSelective",
    "SftAsContext",
    "Steering",
    "ThinkingIntervention",
    "parse_remedy",
    "remedy",
    "remedy_report",
]
