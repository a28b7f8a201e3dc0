"""Suites: the prompt items that models are measured on; ours and those of plug-ins are in one registry."""

from __future__ import annotations

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
from adhere.evaluation.suites import ifbench as _ifbench  # noqa: F401
from adhere.evaluation.suites import ifeval as _ifeval  # noqa: F401
from adhere.evaluation.suites.mathif import mathif
from adhere.evaluation.suites.prompts import prompt_file

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
