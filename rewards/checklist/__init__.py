"""Checklists: an instruction as a weighted list of small checkable requirements (RLCF, arXiv 2507.18624)."""

from adhere.rewards.checklist.judge_protocol import Decider, JudgeQuestion, OverallQuestion
from adhere.rewards.checklist.requirement import (
    CATEGORY_WEIGHTS,
    AndCheck,
    Category,
    ChainCheck,
    Check,
    JudgeCheck,
    ProgramCheck,
    Requirement,
    RuleCheck,
    SelectCheck,
    SuiteCheck,
    parse_check,
    parse_checklist,
)
from adhere.rewards.checklist.sandbox import ProgramCall, ProgramRunner, Sandbox, SandboxLimits, shared_sandbox
from adhere.rewards.checklist.scoring import (
    ChecklistScoring,
    excluded_programs,
    require_judge,
    score_batch,
    score_checklist,
)

__all__ = [
    "CATEGORY_WEIGHTS",
    "AndCheck",
    "Category",
    "ChainCheck",
    "Check",
    "ChecklistScoring",
    "Decider",
    "JudgeCheck",
    "JudgeQuestion",
    "OverallQuestion",
    "ProgramCall",
    "ProgramCheck",
    "ProgramRunner",
    "Requirement",
    "RuleCheck",
    "Sandbox",
    "SandboxLimits",
    "SelectCheck",
    "SuiteCheck",
    "excluded_programs",
    "parse_check",
    "parse_checklist",
    "require_judge",
    "score_batch",
    "score_checklist",
    "shared_sandbox",
]
