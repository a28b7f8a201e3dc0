"""Suites: the prompt items that models are measured on; ours and those of plug-ins are in one registry."""

from __future__ import annotations

import importlib

from adhere.evaluation.suites.base import (
    BAD_GOLD,
    COMMA_IN_GOLD,
    SUITES,
    TWIN_SUFFIX,
    UNSATISFIABLE,
    Suite,
    SuiteKind,
    SuiteSource,
    prompt_suite,
    suite,
)
from adhere.evaluation.suites.mathif import mathif
from adhere.evaluation.suites.prompts import prompt_file

# Each file enters its suites into the registry when it is imported.
_FOLLOWING = ("ifeval", "ifbench", "muldimif", "followbench", "reasonif", "complexbench", "healthbench")
_MADE_HERE = ("abstention", "logicif", "ood", "alchemy")
_MATHS = ("gsm8k", "math500", "aime", "amc", "minerva", "olympiad")
for _name in (*_FOLLOWING, *_MADE_HERE, *_MATHS):
    importlib.import_module(f"adhere.evaluation.suites.{_name}")

__all__ = [
    "BAD_GOLD",
    "COMMA_IN_GOLD",
    "SUITES",
    "TWIN_SUFFIX",
    "UNSATISFIABLE",
    "Suite",
    "SuiteKind",
    "SuiteSource",
    "mathif",
    "prompt_file",
    "prompt_suite",
    "suite",
]
