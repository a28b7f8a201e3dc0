"""Checklists: an instruction as a weighted list of small checkable requirements (RLCF, arXiv 2507.18624)."""

from rewards.checklist.requirement import Requirement, RuleCheck, parse_checklist
from rewards.checklist.scoring import ChecklistScoring, score_checklist

__all__ = ["ChecklistScoring", "Requirement", "RuleCheck", "parse_checklist", "score_checklist"]
