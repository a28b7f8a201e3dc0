"""Checklists: an instruction as a weighted list of small checkable requirements (RLCF, arXiv 2507.18624)."""

from rewards.checklist.requirement import Requirement, RuleCheck, parse_checklist
from rewards.checklist.scoring import ChecklistScoring, costly_calls, score_checklist

__all__ = ["ChecklistScoring", "Requirement", "RuleCheck", "costly_calls", "parse_checklist", "score_checklist"]
